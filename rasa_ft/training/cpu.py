"""Settings of the process that make torch fast on a CPU."""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_all_cores() -> None:
    """One torch thread a core, unless OMP_NUM_THREADS says otherwise; and keep freed memory for the next tensor.

    glibc returns blocks above 32 MB to the system at once, and faulting them in again for the next activation costs
    about a tenth of a training step (docs/log.md).
    """
    import torch

    # Gradients of well-learned tokens are denormal numbers, with which a CPU is ten times slower (docs/log.md).
    torch.set_flush_denormal(True)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(cores())
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_MAX, 0)
            mallopt(_M_TRIM_THRESHOLD, 1 << 30)
            mallopt(_M_TOP_PAD, 1 << 26)
