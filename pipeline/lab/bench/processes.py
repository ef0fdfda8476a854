"""The processes under measurement: started by a command line, paused, measured and ended by their ids."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil

from ...errors import InferstreamError, UsageError
from ..worker_process import WorkerProcess

END_S: Final = 30.0
MB: Final = 1e6


class SystemProcess:
    """Runs a command line; its output goes to the file ``log``.

    Ctrl-C in the terminal does not reach it: `end_all` ends it.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        program, *arguments = command
        self._process = WorkerProcess(arguments, program=program, log=log, own_session=True)
        self._statistics = psutil.Process(self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raise InferstreamError with the last line of its output if the process has ended."""
        if not self._process.running:
            status = self._process.wait()
            raise InferstreamError(
                f"A measured process ended with status {status}: {self._process.last_line()}"
            )

    def pause(self) -> None:
        """Stop the process; it uses no CPU time until `resume`."""
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after `pause`."""
        self._process.signal(signal.SIGCONT)

    def cpu_s(self) -> float:
        """CPU seconds used since the start, in user and kernel mode."""
        return cpu_s(self._statistics)

    def resident_mb(self) -> float:
        """Resident memory, in MB."""
        return float(self._statistics.memory_info().rss / MB)

    def page(self, path: str) -> str | None:
        """A page of its web server, see `WorkerProcess.page`."""
        return self._process.page(path)

    def ask_to_end(self) -> None:
        """Send SIGTERM, also to a paused process."""
        self._process.signal(signal.SIGTERM)
        self.resume()

    def wait_or_kill(self, timeout_s: float = END_S) -> None:
        """Return when the process has ended; kill it after ``timeout_s``."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()


class ProcessGroup:
    """Several processes that are measured as one."""

    def __init__(self, processes: Sequence[SystemProcess]) -> None:
        self.processes = processes

    def check(self) -> None:
        """See `SystemProcess.check`."""
        for process in self.processes:
            process.check()

    def pause(self) -> None:
        """Stop all of them."""
        for process in self.processes:
            process.pause()

    def resume(self) -> None:
        """Continue all of them."""
        for process in self.processes:
            process.resume()

    def cpu_s(self) -> float:
        """CPU seconds of all of them."""
        return sum(process.cpu_s() for process in self.processes)

    def resident_mb(self) -> float:
        """Resident memory of the largest one, in MB."""
        return max(process.resident_mb() for process in self.processes)


def end_all(processes: Sequence[SystemProcess]) -> None:
    """End all of them; they drain at the same time."""
    for process in processes:
        process.ask_to_end()
    for process in processes:
        process.wait_or_kill()


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds of a process since its start, in user and kernel mode."""
    times = process.cpu_times()
    return float(times.user + times.system)


def brokers() -> list[psutil.Process]:
    """The Kafka brokers that this process has started."""
    return [child for child in psutil.Process().children(recursive=True) if child.name() == "java"]


def module_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of this folder."""
    return [sys.executable, "-m", f"{__package__}.{module}", *arguments]


def find_executable(path: Path) -> Path:
    """The `inferstream` executable at ``path``: the file itself, or the one in a checkout or an environment.

    Raises UsageError where there is none.
    """
    for candidate in (path, path / ".venv/bin/inferstream", path / "bin/inferstream"):
        if candidate.is_file():
            return candidate.absolute()
    raise UsageError(
        f"{path} has no inferstream executable: give the executable, or a checkout with its .venv."
    )
