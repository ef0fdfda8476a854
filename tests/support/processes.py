"""The processes of one test: programs of `support` that run beside it."""

import subprocess
import sys

PATIENCE_S = 120.0


class Processes:
    """Starts programs, and ends all of them with the test."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start ``support.program`` with these arguments."""
        self._started.append(subprocess.Popen([sys.executable, "-m", f"support.{program}", *arguments]))
        return self._started[-1]

    def stop(self) -> None:
        """Let all end as after SIGTERM."""
        for process in self._started:
            process.terminate()
        for process in self._started:
            process.wait(PATIENCE_S)

    def kill(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()
