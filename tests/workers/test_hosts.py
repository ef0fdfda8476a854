"""Both hosts as processes of their own: a drain ends them well, whatever else ends them shows in the exit status."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE_S = 60
SERVING = "Serving 1 partitions."


class Process:
    """An echo worker, hosted by ``host``, with the fault of that name."""

    def __init__(self, host: str, fault: str, directory: Path) -> None:
        arguments = [sys.executable, "-m", "support.echo_worker", host, fault, str(directory)]
        self._process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []

    def wait_for(self, words: str) -> None:
        """Read the log until a line holds ``words``."""
        assert self._process.stderr
        for line in self._process.stderr:
            self.lines.append(line)
            if words in line:
                return
        raise AssertionError(f"no {words!r} in {self.lines}")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> int:
        """The exit status; `lines` has all that was said."""
        assert self._process.stderr
        self.lines += self._process.stderr
        return self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(params=["faust", "alone"])
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(host: str, tmp_path: Path) -> Iterator["Start"]:
    start = Start(host, tmp_path)
    yield start
    for process in start.processes:
        process.kill()


class Start:
    def __init__(self, host: str, directory: Path) -> None:
        self._host, self._directory = host, directory
        self.processes: list[Process] = []

    def __call__(self, fault: str) -> Process:
        self.processes.append(Process(self._host, fault, self._directory))
        return self.processes[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_status_is_0(start: Start, number: signal.Signals) -> None:
    process = start("none")
    process.wait_for(SERVING)
    process.signal(number)
    assert process.end() == 0
    assert "Traceback" not in "".join(process.lines)


@pytest.mark.parametrize("fault", ["broker", "both"])
def test_a_dead_background_task_ends_the_process_with_one_sentence(start: Start, fault: str) -> None:
    process = start(fault)
    assert process.end() == 1
    assert process.lines[-1] == "Error: The disk is full: free some space.\n"
    assert "Traceback" not in "".join(process.lines)


def test_a_defect_ends_the_process_and_shows_where_it_is(start: Start) -> None:
    process = start("defect")
    assert process.end() == 1
    assert process.lines[-1] == "RuntimeError: a defect\n"
    assert "Traceback" in "".join(process.lines)


def test_a_device_that_hangs_does_not_outlive_the_drain(start: Start) -> None:
    process = start("hang")
    process.wait_for("The device hangs")
    process.signal(signal.SIGTERM)
    assert process.end() == 1
    assert "The drain was not over in" in process.lines[-1]


def test_a_second_signal_ends_a_long_drain_at_once(start: Start) -> None:
    process = start("hang")
    process.wait_for("The device hangs")
    process.signal(signal.SIGTERM)
    process.wait_for("Draining: 1 requests")
    process.wait_for("not finished in time")
    process.signal(signal.SIGTERM)
    assert process.end() == 128 + signal.SIGTERM


def test_a_failed_worker_whose_device_hangs_ends_all_the_same(start: Start) -> None:
    process = start("fail and hang")
    assert process.end() == 1
    assert "could not close in 5 s" in process.lines[-1]
