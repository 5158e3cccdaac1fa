"""The memory of the machine that trains: reserved memory of the GPU, or resident memory of the process on a CPU."""

from __future__ import annotations

import sys
from dataclasses import dataclass

_GIB = 2**30


@dataclass(frozen=True)
class MemoryUse:
    """What a training took of its device, in GiB.

    ``total_gib`` is all that the device has; ``before_gib`` was in use before the first step, with the model loaded;
    ``peak_gib`` is the most that was in use at any time.
    """

    device: str
    total_gib: float
    before_gib: float
    peak_gib: float

    @property
    def training_gib(self) -> float:
        """What training took on top of the loaded model."""
        return round(max(0.0, self.peak_gib - self.before_gib), 2)

    def figures(self) -> dict[str, str | float]:
        """All figures, with the shares of the device in percent, as they are reported."""
        return {
            "device": self.device,
            "memory_gib": self.total_gib,
            "memory_before_gib": self.before_gib,
            "memory_peak_gib": self.peak_gib,
            "memory_training_gib": self.training_gib,
            "memory_peak_percent": round(100 * self.peak_gib / self.total_gib, 1),
            "memory_training_percent": round(100 * self.training_gib / self.total_gib, 1),
        }


def in_use() -> MemoryUse:
    """The GPU by its name, or the CPU with the cores that this process may use, and its memory as it is now."""
    import psutil
    import torch

    from rasa_ft.training.cpu import cores

    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(torch.cuda.current_device())
        return MemoryUse(card.name, _gib(card.total_memory), used_gib(), peak_gib())
    return MemoryUse(f"CPU, {cores()} cores", _gib(psutil.virtual_memory().total), used_gib(), peak_gib())


def used_gib() -> float:
    """What torch has reserved on the GPU, or what of this process is resident."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return _gib(torch.cuda.memory_reserved())
    return _gib(psutil.Process().memory_info().rss)


def peak_gib() -> float:
    """The highest `used_gib` since the process began."""
    import torch

    return _gib(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else max(_peak_resident(), used_gib())


def _peak_resident() -> float:
    if sys.platform == "win32":
        import psutil

        return _gib(psutil.Process().memory_info().peak_wset)
    import resource

    # In KiB, on macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return _gib(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def _gib(size: float) -> float:
    return round(size / _GIB, 2)
