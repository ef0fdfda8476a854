"""Tries grammars in a process of its own, see `grammar_trial`."""

import json
import os
import subprocess
import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

from ...errors import BadRequest, Overloaded

PROGRAM: Final = Path(__file__).with_name("grammar_trial.py")
PATIENCE_S: Final = 20.0
"""For one grammar, which has 0.3 s of a CPU that others may keep busy, and for the start before the first one."""
REMEMBERED: Final = 256


class Verdict(NamedTuple):
    """``reason``: why a grammar cannot be used; empty if it can. It took ``kb`` of memory and ``ms`` of a CPU."""

    reason: str
    kb: int
    ms: float


class GrammarTrials:
    """One process for a model. It is started for the first grammar, and again when it has ended."""

    def __init__(self, tokenizer: Path | str, ends: Sequence[int], limits: Mapping[str, Any]) -> None:
        start = {"tokenizer": str(tokenizer), "ends": list(ends), "limits": dict(limits)}
        self._start = json.dumps(start) + "\n"
        self._process: subprocess.Popen[str] | None = None
        self._ending: weakref.finalize[Any, GrammarTrials] | None = None
        self._running = threading.Lock()
        self._verdicts: OrderedDict[bytes, Verdict] = OrderedDict()

    def verdict(self, grammar: str, before: Callable[[], None] = lambda: None) -> Verdict:
        """Blocks while the grammar is tried; those that were tried lately are known. Raises Overloaded, or BadRequest
        where the system cannot fork: compiled untried, a grammar of 100 KB can end this process.

        ``before``: is called before a grammar that is not known is tried.
        """
        if not hasattr(os, "fork"):
            raise BadRequest(
                "The worker's system cannot try a grammar in a fork: leave out `json_schema` and `regex`, or send the "
                "request to a worker on Linux or macOS."
            )
        key = blake2b(grammar.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        with self._running:
            verdict = self._verdicts.pop(key, None)
            if verdict is None:
                before()
                verdict = self._tried(grammar)
            self._verdicts[key] = verdict
            if len(self._verdicts) > REMEMBERED:
                self._verdicts.popitem(last=False)
        return verdict

    def _tried(self, grammar: str) -> Verdict:
        process = self._started()
        timer = threading.Timer(PATIENCE_S, process.kill)
        timer.daemon = True
        timer.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(grammar) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = ""
        finally:
            timer.cancel()
        if not answer:
            self.close()
            raise Overloaded("The grammar could not be compiled now: send the request again later.")
        return Verdict(*json.loads(answer))

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            self.close()
            # A session of its own: Ctrl-C is for the worker. When the worker ends, its input does, and so it.
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
            self._ending = weakref.finalize(self, _end, self._process)
            assert self._process.stdin is not None
            self._process.stdin.write(self._start)
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._ending is not None:
            self._ending()
        self._process = None


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        with suppress(OSError):  # what was still to be written is not wanted any more
            stream.close()
