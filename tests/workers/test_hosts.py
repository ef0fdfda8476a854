"""Both hosts as processes: a drain ends them with status 0, any other end shows in the exit status."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferstream.pipeline.lab.worker_process import WorkerProcess

SERVING = "Serving 1 partitions."


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
    """Starts processes with one host and one directory."""

    """Starts an echo worker in this host, with the fault of a name."""

    def __init__(self, host: str, directory: Path) -> None:
        self._host = host
        self._directory = directory
        self.processes: list[WorkerProcess] = []

    def __call__(self, fault: str) -> WorkerProcess:
        arguments = ["-m", "support.echo_worker", self._host, fault, str(self._directory)]
        self.processes.append(WorkerProcess(arguments, log=self._directory / "log"))
        return self.processes[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_status_is_0(start: Start, number: signal.Signals) -> None:
    process = start("none")
    process.wait_for(SERVING)
    process.signal(number)
    assert process.wait() == 0
    assert "Traceback" not in process.output


@pytest.mark.parametrize("fault", ["broker", "both"])
def test_a_dead_background_task_ends_the_process_with_one_sentence(start: Start, fault: str) -> None:
    process = start(fault)
    assert process.wait() == 1
    assert process.output.splitlines()[-1] == "Error: The disk is full: free some space."
    assert "Traceback" not in process.output


def test_a_defect_ends_the_process_and_shows_where_it_is(start: Start) -> None:
    process = start("defect")
    assert process.wait() == 1
    assert process.output.splitlines()[-1] == "RuntimeError: a defect"
    assert "Traceback" in process.output


def test_a_device_that_hangs_does_not_outlive_the_drain(start: Start) -> None:
    process = start("hang")
    process.wait_for("The device hangs")
    process.signal(signal.SIGTERM)
    assert process.wait() == 1
    assert "The drain was not over in" in process.output.splitlines()[-1]


def test_a_second_signal_ends_a_long_drain_at_once(start: Start) -> None:
    process = start("hang")
    process.wait_for("The device hangs")
    process.signal(signal.SIGTERM)
    process.wait_for("Draining: 1 requests")
    process.wait_for("not finished in time")
    process.signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM


def test_a_failed_worker_whose_device_hangs_ends_all_the_same(start: Start) -> None:
    process = start("fail and hang")
    assert process.wait() == 1
    assert "could not close in 5 s" in process.output.splitlines()[-1]
