"""Measured processes end with the run, whatever state they are in, and their errors are reported."""

import os
import sys
import time
from pathlib import Path

import pytest

from inferstream.pipeline.errors import InferstreamError, UsageError
from inferstream.pipeline.lab.bench.processes import SystemProcess, end_all, find_executable

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_running_and_paused_processes_are_ended(tmp_path: Path) -> None:
    processes = [SystemProcess(SLEEP, tmp_path / name) for name in "ab"]
    processes[1].pause()
    end_all(processes)
    assert not [process.pid for process in processes if exists(process.pid)]
    end_all(processes)


def test_a_process_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = f"import pathlib, signal, time; signal.signal(15, signal.SIG_IGN); pathlib.Path({str(ready)!r}).touch()"
    process = SystemProcess([sys.executable, "-S", "-c", f"{code}; time.sleep(60)"], tmp_path / "log")
    while not ready.exists():
        time.sleep(0.01)
    process.ask_to_end()
    process.wait_or_kill(timeout_s=0.1)
    assert not exists(process.pid)


def test_a_process_that_ended_is_reported_with_its_last_line(tmp_path: Path) -> None:
    process = SystemProcess(["sh", "-c", "echo first; echo There is no such task.; exit 2"], tmp_path / "log")
    process.wait_or_kill()
    with pytest.raises(InferstreamError, match=r"ended with status 2: There is no such task\."):
        process.check()


@pytest.mark.parametrize("given", ["", ".venv", ".venv/bin/inferstream"])
def test_the_executable_of_a_checkout_is_found(tmp_path: Path, given: str) -> None:
    executable = tmp_path / ".venv/bin/inferstream"
    executable.parent.mkdir(parents=True)
    executable.touch()
    assert find_executable(tmp_path / given) == executable


def test_a_folder_without_an_executable_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no inferstream executable"):
        find_executable(tmp_path)
