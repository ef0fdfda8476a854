"""The cores that this process may use: by its affinity, and by the CPU quotas of its control groups."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from .control_groups import MEMBERSHIP, MOUNTS, group_folders


def usable_cores(membership: Path = MEMBERSHIP, mounts: Path = MOUNTS) -> int:
    """The number of whole cores, at least 1.

    A quota of any group above this process limits it: containers, Kubernetes and systemd slices set
    them at different levels.

    Args:
        membership: the groups of this process, as /proc/self/cgroup has them.
        mounts: where the control groups are mounted, in version 2, in version 1, or both.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min(_quotas(membership, mounts), default=math.inf)
    return max(1, math.floor(min(allowed, quota)))


def _quotas(membership: Path, mounts: Path) -> Iterator[float]:
    """The quota of each group of this process that has one, in cores."""
    for folder in group_folders("cpu", membership, mounts):
        yield from _quota(folder, ["cpu.max"])
        yield from _quota(folder, ["cpu.cfs_quota_us", "cpu.cfs_period_us"])


def _quota(folder: Path, names: list[str]) -> Iterator[float]:
    """Quota divided by period: both in one file (version 2), or in two (version 1)."""
    try:
        quota, period = " ".join((folder / name).read_text() for name in names).split()
        if int(quota) > 0 and int(period) > 0:  # -1 means no quota in version 1
            yield int(quota) / int(period)
    except (OSError, ValueError):  # no such file, or "max", which means no quota in version 2
        return
