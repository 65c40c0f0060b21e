"""Hook points: named places in a network where activations can be read and changed, with
TransformerLens' names and signatures."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

HookFunction = Callable[..., Tensor | None]
"""`fn(activation, hook=hook_point)`; what it returns, unless None, takes the activation's place."""
Names = str | Sequence[str] | Callable[[str], bool] | None
"""One name, several, or a predicate; None is all."""
Direction = Literal["fwd", "bwd"]


class HookPoint(nn.Module):
    """The identity, at a place with a name. Functions hung on it see, and may replace, what passes.

    Networks pass activations through it only while some function hangs on some hook point (or a
    cache is asked for).
    """

    def __init__(self) -> None:
        super().__init__()
        self.name: str = ""
        self.ctx: dict[str, Any] = {}
        self._functions: dict[Direction, list[HookFunction]] = {"fwd": [], "bwd": []}

    @property
    def has_hooks(self) -> bool:
        return bool(self._functions["fwd"] or self._functions["bwd"])

    def layer(self) -> int:
        """The layer that the point lies in. Raises ValueError for a point outside the layers."""
        for part in self.name.split("."):
            if part.isdigit():
                return int(part)
        raise ValueError(f"{self.name} lies in no layer.")

    def add_hook(self, function: HookFunction, dir: Direction = "fwd") -> None:
        """Call `function` with each activation ("fwd") or with its gradient ("bwd")."""
        if dir not in self._functions:
            raise ValueError(f"dir is {dir!r}, must be 'fwd' or 'bwd'.")
        self._functions[dir].append(function)

    def remove_hooks(self, dir: Literal["fwd", "bwd", "both"] = "both") -> None:
        for direction, functions in self._functions.items():
            if dir in (direction, "both"):
                functions.clear()

    def forward(self, x: Tensor) -> Tensor:
        for function in self._functions["fwd"]:
            changed = function(x, hook=self)
            if changed is not None:
                x = changed
        if self._functions["bwd"] and x.requires_grad:
            functions = tuple(self._functions["bwd"])
            x.register_hook(lambda gradient: self._backward(gradient, functions))
        return x

    def _backward(self, gradient: Tensor, functions: Iterable[HookFunction]) -> Tensor:
        for function in functions:
            changed = function(gradient, hook=self)
            if changed is not None:
                gradient = changed
        return gradient


class ActivationCache(dict[str, Tensor]):
    """Activations by the name of their hook point; `cache["pattern", 0]` stands for
    `cache["blocks.0.attn.hook_pattern"]`, `cache["embed"]` for `cache["hook_embed"]`.

    With the extra `openpfn[interp]` installed, networks that TransformerLens can read give its own
    ActivationCache instead.
    """

    def __getitem__(self, key: Any) -> Tensor:
        if isinstance(key, str):
            return super().__getitem__(key if key in self else self.full_name(key))
        return super().__getitem__(self.full_name(*key))

    def full_name(self, name: str, layer: int | None = None) -> str:
        """The one name in the cache that ends like `name`, in `layer`. Raises KeyError unless there
        is one."""
        if layer is not None and layer < 0:
            layer += 1 + max(
                (int(part) for key in self for part in key.split(".") if part.isdigit()), default=-1
            )
        found = [
            key
            for key in self
            if key.rpartition(".")[2] in (name, f"hook_{name}")
            and (layer is None or f".{layer}." in key)
        ]
        if len(found) != 1:
            place = "" if layer is None else f" of layer {layer}"
            raise KeyError(
                f"{name!r}{place} stands for {' and '.join(found) or 'nothing'} in this cache. It"
                f" holds: {', '.join(self)}."
            )
        return found[0]


class HookedModule(nn.Module):
    """A network with hook points, each called by its path in the network."""

    @property
    def hook_dict(self) -> dict[str, HookPoint]:
        """Hook points by name."""
        points = self.__dict__.get("_hook_dict")
        if points is None:
            points = {
                name: module
                for name, module in self.named_modules()
                if isinstance(module, HookPoint)
            }
            for name, point in points.items():
                point.name = name
            self.__dict__["_hook_dict"] = points  # no submodule: the points have a place already
        return points

    @property
    def is_hooked(self) -> bool:
        """Whether a function hangs on any hook point; a compiled network takes none."""
        return not torch.compiler.is_compiling() and any(
            point.has_hooks for point in self.hook_dict.values()
        )

    def hook_points(self) -> list[HookPoint]:
        return list(self.hook_dict.values())

    def add_hook(self, name: Names, function: HookFunction, dir: Direction = "fwd") -> None:
        """Hang `function` on the hook points that `name` stands for, until `reset_hooks`.

        Raises KeyError where it stands for none.
        """
        for point in self._points(name):
            point.add_hook(function, dir)

    def reset_hooks(self) -> None:
        """Take all functions off all hook points."""
        for point in self.hook_dict.values():
            point.remove_hooks()

    @contextmanager
    def hooks(
        self,
        fwd_hooks: Iterable[tuple[Names, HookFunction]] = (),
        bwd_hooks: Iterable[tuple[Names, HookFunction]] = (),
    ) -> Iterator[HookedModule]:
        """Within the context, these functions hang on the hook points; those that hung there before
        stay."""
        before = [
            (point, list(point._functions["fwd"]), list(point._functions["bwd"]))
            for point in self.hook_points()
        ]
        try:
            for name, function in fwd_hooks:
                self.add_hook(name, function)
            for name, function in bwd_hooks:
                self.add_hook(name, function, dir="bwd")
            yield self
        finally:
            for point, forward, backward in before:
                point._functions = {"fwd": forward, "bwd": backward}

    def run_with_hooks(
        self,
        *args: Any,
        fwd_hooks: Iterable[tuple[Names, HookFunction]] = (),
        bwd_hooks: Iterable[tuple[Names, HookFunction]] = (),
        reset_hooks_end: bool = True,
        **kwargs: Any,
    ) -> Any:
        """The network's answer to `args` with the functions of `fwd_hooks`, pairs (name or
        predicate, function), at work.

        Functions of `bwd_hooks` see gradients: keep them with `reset_hooks_end=False`, or call
        backward within `hooks(...)`.
        """
        if not reset_hooks_end:
            for name, function in fwd_hooks:
                self.add_hook(name, function)
            for name, function in bwd_hooks:
                self.add_hook(name, function, dir="bwd")
            return self(*args, **kwargs)
        with self.hooks(fwd_hooks, bwd_hooks):
            return self(*args, **kwargs)

    def run_with_cache(
        self,
        *args: Any,
        names_filter: Names = None,
        return_cache_object: bool = True,
        remove_batch_dim: bool = False,
        device: torch.device | str | None = None,
        **kwargs: Any,
    ) -> tuple[Any, Any]:
        """The network's answer to `args`, and the activations at the hook points that
        `names_filter` keeps (all, if None).

        Activations are detached. `remove_batch_dim` drops the leading axis, which must have one
        element; `return_cache_object=False` gives a plain dictionary.
        """
        kept: dict[str, Tensor] = {}

        def keep(activation: Tensor, hook: HookPoint) -> None:
            value = activation.detach().to(device or activation.device)
            if remove_batch_dim:
                if len(value) != 1:
                    raise ValueError(
                        f"remove_batch_dim needs a batch of one; {hook.name} has {len(value)}."
                    )
                value = value[0]
            kept[hook.name] = value

        with self.hooks([(names_filter, keep)]):
            answer = self(*args, **kwargs)
        return answer, self.make_cache(kept, not remove_batch_dim) if return_cache_object else kept

    def make_cache(self, activations: dict[str, Tensor], has_batch_dim: bool) -> Any:
        """Return these activations as `run_with_cache` gives them."""
        return ActivationCache(activations)

    def _points(self, name: Names) -> list[HookPoint]:
        points = self.hook_dict
        if name is None:
            return list(points.values())
        if callable(name):
            found = [point for key, point in points.items() if name(key)]
            if not found:
                raise KeyError(
                    f"the predicate accepts no hook point. There are: {', '.join(points)}."
                )
        else:
            names = [name] if isinstance(name, str) else name
            unknown = [key for key in names if key not in points]
            if unknown:
                raise KeyError(
                    f"no hook point {', '.join(unknown)}. There are: {', '.join(points)}."
                )
            found = [points[key] for key in names]
        return found


def transformer_lens_cache(
    activations: dict[str, Tensor], model: nn.Module, has_batch_dim: bool
) -> Any:
    """TransformerLens' ActivationCache where that library is installed, else our own."""
    if importlib.util.find_spec("transformer_lens") is None:
        return ActivationCache(activations)
    return importlib.import_module("transformer_lens").ActivationCache(
        activations, model, has_batch_dim=has_batch_dim
    )
