"""The open files of this process."""

from contextlib import suppress
from pathlib import Path

import pytest

has_proc = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="the open files of a process are read from /proc"
)


def open_files_in(folder: Path) -> list[str]:
    """The open files of this process that lie in the folder."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists the folder
            found.append(str(link.readlink()))
    return [path for path in found if path.startswith(str(folder))]
