"""A process whose files cannot grow beyond a size, as on a full disk."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable


def with_files_of_at_most(n_bytes: int, action: Callable[[], object]) -> bool:
    """Whether `action` returns in a process of its own that can write files of `n_bytes` alone."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
            action()
            code = 0
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
