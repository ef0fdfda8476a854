"""The counts of suspects: several processes change them, and no change is lost."""

import errno
import fcntl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from inferstream.pipeline.engine.suspects import LOOK_S, SuspectFile

CHANGES = 60
CHANGER = """
import sys
from pathlib import Path
from inferstream.pipeline.engine.suspects import SuspectFile
file, number = SuspectFile(Path(sys.argv[1])), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.read()  # all begin at the same time

def accuse(counts):
    counts[shared] = counts.get(shared, 0) + 1
    counts[bytes([number, change])] = 1

def acquit(counts):
    counts.pop(bytes([number, change - 1]), None)

shared = b"shared"
for change in range(int(sys.argv[3])):
    file.change(accuse)
    if change % 2:
        file.change(acquit)
"""


def changed_by(processes: int, path: Path) -> dict[bytes, int]:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", CHANGER, str(path), str(number), str(CHANGES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for number in range(processes)
    ]
    for process in running:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
    for process in running:
        assert process.stdin
        process.stdin.close()
    for process in running:
        assert process.wait(60) == 0
        assert process.stdout
        process.stdout.close()
    return dict(SuspectFile(path).counts)


def test_changes_of_several_processes_are_all_kept(tmp_path: Path) -> None:
    counts = changed_by(3, tmp_path / "suspects.json")
    assert counts.pop(b"shared") == 3 * CHANGES
    assert counts == {bytes([number, change]): 1 for number in range(3) for change in range(1, CHANGES, 2)}


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_without_file_locks_in_the_folder_the_folder_for_temporary_files_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    folder, temporary = tmp_path / "folder", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    flock: Callable[[IO[bytes], int], None] = fcntl.flock

    def no_locks_here(file: IO[bytes], operation: int) -> None:
        if Path(f"/proc/self/fd/{file.fileno()}").readlink().is_relative_to(folder):
            raise OSError(code, "no locks")
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", no_locks_here)
    suspects = SuspectFile(folder / "suspects.json")
    with suspects.locked():
        (lock,) = temporary.iterdir()
        with lock.open() as other, pytest.raises(BlockingIOError):
            flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    suspects.change(lambda counts: counts.update({b"k": 1}))
    assert SuspectFile(folder / "suspects.json").counts == {b"k": 1}


def test_without_any_file_locks_the_change_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(file: IO[bytes], operation: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    suspects = SuspectFile(tmp_path / "suspects.json")
    suspects.change(lambda counts: counts.update({b"k": 1}))
    assert SuspectFile(tmp_path / "suspects.json").counts == {b"k": 1}


def test_a_suspect_of_another_process_is_known_after_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1_000.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    ours, other = SuspectFile(tmp_path / "suspects.json"), SuspectFile(tmp_path / "suspects.json")
    assert not ours.recent
    other.change(lambda counts: counts.update({b"key": 1}))
    now_s += 2 * LOOK_S
    assert ours.recent == {b"key": 1}


def test_a_change_of_this_process_is_known_at_once(tmp_path: Path) -> None:
    ours = SuspectFile(tmp_path / "suspects.json")
    assert not ours.recent
    ours.change(lambda counts: counts.update({b"key": 1}))
    assert ours.recent == {b"key": 1}
