"""The memory that this process may still take: of the machine, and within the limits of its control groups."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..errors import UsageError
from .control_groups import MEMBERSHIP, MOUNTS, group_folders

MACHINE: Final = Path("/proc/meminfo")
GB: Final = 1e9


def memory_left(machine: Path = MACHINE, membership: Path = MEMBERSHIP, mounts: Path = MOUNTS) -> int | None:
    """In bytes; None where the system does not tell it.

    Args:
        machine: what the kernel says of the memory, as /proc/meminfo.
        membership: the groups of this process, see `group_folders`; ``mounts``: where they are.
    """
    folders = group_folders("memory", membership, mounts)
    found = [*_available(machine), *(left for folder in folders for left in _left_of(folder))]
    return min(found, default=None)


class NoMemory(UsageError):
    """There is no memory for what a model needs beside its weights."""


def check_memory(needed: int, what: str, advice: str) -> None:
    """Raise NoMemory if there is less memory: the kernel would end the process when it uses the last page."""
    left = memory_left()
    if left is not None and needed > left:
        raise NoMemory(
            f"{what} need {needed / GB:.1f} GB of memory, and {left / GB:.1f} GB are left: {advice}."
        )


def _available(machine: Path) -> Iterator[int]:
    try:
        lines = machine.read_text().splitlines()
        yield next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration, IndexError):
        return


def _left_of(folder: Path) -> Iterator[int]:
    """What is left of the limit of one group, in version 2 or 1. What it caches of files can be taken from it."""
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        try:
            most = int((folder / limit).read_text())
            taken = int((folder / used).read_text())
        except (OSError, ValueError):  # no such file, or "max", which means no limit
            continue
        yield max(0, most - taken + _cached(folder))


def _cached(folder: Path) -> int:
    try:
        counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(counts.get("inactive_file", 0))
    except (OSError, ValueError):
        return 0
