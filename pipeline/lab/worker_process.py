"""A worker in a process of its own, for the demo, the benchmark, chaos runs and tests."""

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

from ..errors import BrokerError, InferstreamError

HOST: Final = "127.0.0.1"
POLL_S: Final = 0.05
TIMEOUT_S: Final = 120.0
PAGE_TIMEOUT_S: Final = 5.0
ADDRESS: Final = re.compile(rf"http://{re.escape(HOST)}:(\d+)")
REPLY_METRICS: Final = ("inferstream_answers_total", "inferstream_failures_total")
IN_FLIGHT_METRICS: Final = ("inferstream_in_flight",)


def serve_task(task: str, *arguments: str) -> list[str]:
    """Arguments for Python that run `inferstream worker`, with its web pages on a free port."""
    program = ["-m", "inferstream.pipeline.cli.main", "worker", task]
    return [*program, "--web-host", HOST, "--web-port", "0", *arguments]


class WorkerProcess:
    """Runs ``program`` with ``arguments``; its output is appended to ``log``. ``with`` kills it at the end.

    Its standard input is a pipe that closes when this process ends. ``home`` is its
    INFERSTREAM_HOME. With ``own_session``, Ctrl-C in the terminal does not reach it.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        log: Path,
        home: Path | None = None,
        own_session: bool = False,
        program: str = sys.executable,
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "INFERSTREAM_HOME": str(home)} if home else None,
                start_new_session=own_session,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """All that the process has printed so far."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if the process runs."""
        if self.running:
            self._process.send_signal(number)

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        """The exit status; negative: the signal that ended it. Raises subprocess.TimeoutExpired."""
        status = self._process.wait(timeout_s)
        if self._process.stdin:
            self._process.stdin.close()
        return status

    def kill(self) -> None:
        """End the process at once. May be called after it has ended."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait_ready(self, timeout_s: float = TIMEOUT_S) -> None:
        """Return when its page /readyz says that it reads requests.

        Raises InferstreamError when the process ends first, BrokerError after ``timeout_s``.
        """
        self._until(lambda: self.page("/readyz") is not None, timeout_s, "is not ready")

    def wait_for(self, words: str, timeout_s: float = TIMEOUT_S) -> None:
        """Return when its output contains ``words``. Raises as `wait_ready` does."""
        self._until(lambda: words in self.output, timeout_s, f"has not printed {words!r}")

    def check(self) -> None:
        """Raise InferstreamError with the last line of its output if it has ended, but not well."""
        if not self.running and (status := self.wait()):
            raise InferstreamError(f"A process ended with status {status}: {self.last_line()}")

    def page(self, path: str) -> str | None:
        """A page of its web server; None when there is none or its status is not 200."""
        address = ADDRESS.search(self.output)
        if address is None:
            return None
        connection = http.client.HTTPConnection(HOST, int(address[1]), timeout=PAGE_TIMEOUT_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.read().decode() if response.status == http.client.OK else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def replies(self) -> int:
        """The number of replies in its metrics; 0 without the page."""
        return self._metric(REPLY_METRICS)

    def in_flight(self) -> int:
        """The number of requests that it has read and not yet answered; 0 without the page."""
        return self._metric(IN_FLIGHT_METRICS)

    def _metric(self, names: tuple[str, ...]) -> int:
        """The sum of all values whose names begin so."""
        lines = (self.page("/metrics") or "").splitlines()
        return round(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(names)))

    def _until(self, condition: Callable[[], bool], timeout_s: float, late: str) -> None:
        end = time.monotonic() + timeout_s
        while True:
            running = self.running  # read first: the process may print and end at once
            if condition():
                return
            if not running:
                raise InferstreamError(f"A worker ended with status {self.wait(0)}: {self.last_line()}")
            if time.monotonic() > end:
                raise BrokerError(f"A worker {late} after {timeout_s:g} s: {self.last_line()}")
            time.sleep(POLL_S)

    def last_line(self) -> str:
        """The last line of its output, which usually says why it ended."""
        lines = self.output.strip().splitlines()
        return lines[-1] if lines else "it printed nothing."
