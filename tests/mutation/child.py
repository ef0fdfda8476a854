"""Runs pytest in forked processes: each begins with the libraries imported and without the code that is tested."""

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn

import pytest

FAST: Final = "not kafka and not containers and not optimize"


class Child:
    """A forked process, which may send one JSON value before it ends."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()  # whatever the tests start ends with it
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
        else:
            os.close(self._writing)
            os.set_blocking(self._reading, False)

    def end(self, status: int, found: Any) -> NoReturn:
        """In the child: send, and end without what else would happen at an exit."""
        with os.fdopen(self._writing, "w") as pipe:
            json.dump(found, pipe)
        os._exit(status)

    def result(self, timeout_s: float) -> tuple[str, Any]:
        """In the parent: the exit status, or "timeout", and what was sent."""
        end = time.monotonic() + timeout_s
        received = b""
        try:
            while True:
                done, status = os.waitpid(self.pid, os.WNOHANG)
                with suppress(BlockingIOError):
                    while piece := os.read(self._reading, 1 << 20):
                        received += piece
                if done:
                    return str(os.waitstatus_to_exitcode(status)), json.loads(received or b"null")
                if time.monotonic() > end:
                    os.killpg(self.pid, signal.SIGKILL)
                    os.waitpid(self.pid, 0)
                    return "timeout", None
                time.sleep(0.01)
        except KeyboardInterrupt:
            os.killpg(self.pid, signal.SIGKILL)
            raise
        finally:
            os.close(self._reading)


def run_tests(folders: Sequence[str], examples: int, *plugins: Any) -> int:
    from hypothesis import HealthCheck, Phase, settings

    # The same examples each time; a failing one need not be made smaller.
    settings.register_profile(
        "mutation",
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutation")
    options = ["-x", "-p", "no:cacheprovider", "-p", "no:terminal", "-o", "addopts="]
    options += ["--import-mode=importlib", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*options, "-m", FAST, *folders], [*plugins]))
