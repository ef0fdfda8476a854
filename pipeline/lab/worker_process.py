"""A worker as a process of its own, as `inferstream worker` starts it, watched through its web server."""

import asyncio
import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from ..errors import BrokerError, InferstreamError

HOST: Final = "127.0.0.1"
LOOK_AGAIN_S: Final = 0.05
ANSWER_S: Final = 2.0
REPLIES: Final = ("inferstream_answers_total", "inferstream_failures_total")


class WorkerProcess:
    """Serves ``task`` with the further ``arguments`` of `inferstream worker`; what it says goes to ``log``."""

    def __init__(self, task: str, arguments: Sequence[str], *, port: int, log: Path) -> None:
        self._port, self._log = port, log
        command = [sys.executable, "-m", "inferstream.pipeline.cli.main", "worker", task, *arguments]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, "--web-host", HOST, "--web-port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    async def ready(self, timeout_s: float) -> None:
        """Return when it reads requests. Raises InferstreamError when it ends before, or takes longer."""
        end = time.monotonic() + timeout_s
        while await asyncio.to_thread(self._get, "/readyz") is None:
            if self._process.poll() is not None:
                raise InferstreamError(
                    f"A worker ended with status {self._process.returncode}: {self._last_words()}"
                )
            if time.monotonic() > end:
                raise BrokerError(f"A worker is not ready after {timeout_s:g} s: {self._last_words()}")
            await asyncio.sleep(LOOK_AGAIN_S)

    def replies(self) -> int:
        """How many replies it gave; 0 when it does not say."""
        lines = (self._get("/metrics") or "").splitlines()
        return round(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(REPLIES)))

    def ask_to_end(self) -> None:
        """Let it finish what it began, and leave."""
        self._process.send_signal(signal.SIGTERM)

    async def ended(self, timeout_s: float) -> int:
        """Its exit status. Raises subprocess.TimeoutExpired."""
        return await asyncio.to_thread(self._process.wait, timeout_s)

    def _get(self, path: str) -> str | None:
        """The page, None where there is none or it tells of trouble."""
        connection = http.client.HTTPConnection(HOST, self._port, timeout=ANSWER_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.read().decode() if response.status == http.client.OK else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing."
