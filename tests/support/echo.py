"""The task `echo`: its answer is its text. A row is code points, so that every answer can be checked."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from inferstream.pipeline.engine.job import Job
from inferstream.pipeline.errors import UnknownOption
from inferstream.pipeline.runtime.model import Row
from inferstream.pipeline.tasks.base import Ask, Finished
from inferstream.pipeline.tasks.text import TextTask
from inferstream.schemas.messages import Request


class EchoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    shout: bool = False


class Echo(TextTask):
    """A task over a `FakeSession`. A text of more than ``max_tokens`` becomes several rows."""

    name = "echo"

    def __init__(self, model: str = "echo-small", *, max_tokens: int = 32, unreadable: str = "\0") -> None:
        self.model = model
        self.version = f"{model}-1"
        self.digest = model.encode()
        self._max_tokens = max_tokens
        self._unreadable = unreadable
        self.prepared: list[str] = []

    def options(self, given: Mapping[str, Any]) -> EchoOptions:
        try:
            return msgspec.convert(dict(given), EchoOptions)
        except msgspec.ValidationError as error:
            raise UnknownOption(f"{error}: leave it out.") from error

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[list[Row]]:
        texts = [ask.content for ask in asks]
        if any(self._unreadable in text for text in texts):
            raise ValueError("a text that cannot be tokenized")
        self.prepared.extend(texts)
        return [self._windows([ord(char) for char in text]) for text in texts]

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        return [self._answer(one) for one in finished]

    def _windows(self, ids: list[int]) -> list[Row]:
        return [Row(ids[start : start + self._max_tokens]) for start in range(0, len(ids), self._max_tokens)]

    def _answer(self, one: Finished) -> bytes:
        text = "".join(
            chr(int(code))
            for output, row in zip(one.outputs, one.rows, strict=True)
            for code in output[: row.length]
        )
        if "\x07" in text:
            raise ValueError("an output that cannot be read")
        return json.dumps({"echo": text.upper() if one.options.shout else text}).encode()


def echoed(text: str) -> bytes:
    """The output for ``text``."""
    return json.dumps({"echo": text}).encode()


def asked(text: str) -> Ask:
    """The text as a task has read it."""
    return Ask(text, EchoOptions())


def a_job(text: str, **more: Any) -> Job:
    """A job of the task `echo`; ``options`` are those of the request."""
    return Job("echo", Request(text=text, options=more.pop("options", {})), **more)
