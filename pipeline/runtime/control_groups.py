"""The control groups of this process: they bound what it may use of a machine."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

MEMBERSHIP: Final = Path("/proc/self/cgroup")
MOUNTS: Final = Path("/sys/fs/cgroup")


def group_folders(controller: str, membership: Path = MEMBERSHIP, mounts: Path = MOUNTS) -> Iterator[Path]:
    """The folders of the groups of this process that limit what ``controller`` controls, from its own up to the root.

    Args:
        membership: the groups of this process, as /proc/self/cgroup has them.
        mounts: where the control groups are mounted, in version 2, in version 1, or both.
    """
    yield mounts  # also without /proc: the root of a container
    try:
        lines = membership.read_text().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        roots = (
            [mounts, mounts / "unified"] if not controllers else [mounts / controllers, mounts / controller]
        )
        if controllers and controller not in controllers.split(","):
            continue
        # In a container the path may be the host's, of which only the root is mounted here.
        group = PurePosixPath(path.lstrip("/"))
        for root in roots:
            for inner in (group, *group.parents):
                if ".." not in inner.parts:
                    yield root / inner
