"""`TabSTARModel`: the network of TabSTAR with its text encoder inside, ready for token ids."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from openpfn.configs.text import TEXT_PRESETS, TextConfig
from openpfn.models.text.network import TextTableNetwork
from openpfn.text.encoders import load_encoder


class TabSTARModel(TextTableNetwork):
    """Network of TabSTAR (Arazi et al. 2025) around a text encoder, for the batches of
    `TabSTARDataLoader`.

    `config` is by default that of the preset "tabstar". `encoder` is what `load_encoder` takes:
    "auto" is e5-small-v2 where it is on disk, else MiniLM. The last `unfrozen_layers` of it are
    trained, or all where it has fewer. Nothing is downloaded unless `allow_download` is true.

    >>> model = TabSTARModel()    # doctest: +SKIP
    >>> logits = model(**{k: v for k, v in batch.items() if k in ARGUMENTS})    # doctest: +SKIP
    """

    def __init__(
        self,
        config: TextConfig | None = None,
        encoder: str | Path | Any = "auto",
        *,
        allow_download: bool = False,
    ) -> None:
        config = TEXT_PRESETS["tabstar"] if config is None else config
        found: Any = load_encoder(encoder, allow_download=allow_download)
        module_of = getattr(found, "torch_module", None)
        if module_of is None:
            raise ValueError(
                f"the text encoder {found.fingerprint} reads no token ids. Choose 'minilm' or 'e5'"
                ' (pip install "openpfn[text]"), or read embeddings with TextTableNetwork.'
            )
        module = module_of()
        n_layers = int(module.backbone.config.num_hidden_layers)
        settled = replace(
            config,
            d_text=found.width,
            encoder=found.name,
            encoder_fingerprint=found.fingerprint,
            unfrozen_layers=min(config.unfrozen_layers, n_layers),
        )
        super().__init__(settled, module)
        self.tokenizer = found.tokenizer
