"""Keeping what an assistant's code prints out of our results: stdout is for data."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_lock = threading.Lock()
_users = 0
_stdout: TextIO | None = None


@contextmanager
def kept_off_stdout() -> Iterator[None]:
    """Inside the block `print` writes to stderr. Blocks may overlap in any way; the last to end puts stdout back."""
    global _users, _stdout
    with _lock:
        _users += 1
        if _users == 1:
            _stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and _stdout is not None:
                sys.stdout, _stdout = _stdout, None
