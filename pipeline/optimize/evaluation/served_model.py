"""A model as it is served: what a worker makes of it, without the queue before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ....schemas.messages import Request
from ...errors import BadRequest, UsageError
from ...runtime.model import Model as RunsRows
from ...runtime.model import More, Row
from ...tasks.base import Ask, Finished, Task
from ...tasks.pooling import BATCH_TOKENS, pack

CHUNK = 256  # texts that are prepared at once

Ended = Finished | bytes | BadRequest
"""What is known of a text: the outputs of its rows, or its answer, if that needed no device, or why it has none."""


@dataclass(frozen=True)
class ServedModel:
    """What is measured.

    Attributes:
        name: of the variant or the fitted model.
        version: of what decides its answers.
        use: of the judgement, see `models/metrics`.
        task: makes rows of texts, and answers of outputs.
        model: runs the rows, in the session that serves.
        provider: of that session.
        files: all that is read to serve it.
    """

    name: str
    version: str
    use: str
    task: Task
    model: RunsRows | None
    provider: str
    files: tuple[Path, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Of its files."""
        return sum(path.stat().st_size for path in self.files)

    def ended(self, texts: Sequence[str], batch_tokens: int = BATCH_TOKENS) -> list[Ended]:
        """The outputs for each text, in batches of rows of similar length."""
        found: list[Ended] = []
        for start in range(0, len(texts), CHUNK):
            found += self._chunk(texts[start : start + CHUNK], batch_tokens)
        return found

    def answers(self, ended: Sequence[Ended]) -> list[bytes | None]:
        """The JSON of each answer; None where the task refuses the text."""
        finished = [one for one in ended if isinstance(one, Finished)]
        made = iter(self.task.finish(finished) if finished else ())
        return [next(made) if isinstance(one, Finished) else _given(one) for one in ended]

    def answer(self, text: str) -> bytes | None:
        """The answer to a text that comes alone."""
        return self.answers(self._chunk([text], 1))[0]

    def rows_of(self, text: str) -> list[Row]:
        """The rows of a text; none if it needs no device."""
        (prepared,) = self._prepared([text])
        return prepared if isinstance(prepared, list) else []

    def _chunk(self, texts: Sequence[str], batch_tokens: int) -> list[Ended]:
        prepared = self._prepared(texts)
        options = self.task.options({})
        rows = list(chain.from_iterable(one for one in prepared if isinstance(one, list)))
        outputs: dict[int, Any] = {}
        for batch in pack([row.tokens for row in rows], batch_tokens):
            outputs |= self._run([rows[i] for i in batch])
        return [
            Finished([outputs[id(row)] for row in one], one, options) if isinstance(one, list) else one
            for one in prepared
        ]

    def _prepared(self, texts: Sequence[str]) -> list[list[Row] | bytes | BadRequest]:
        try:
            options = self.task.options({})
            made = self.task.prepare([Ask(self.task.read(Request(text=text)), options) for text in texts])
            return [one if isinstance(one, bytes) else list(one) for one in made]
        except BadRequest as error:
            if len(texts) == 1:
                return [error]
            return [one for text in texts for one in self._prepared([text])]

    def _run(self, rows: Sequence[Row]) -> dict[int, Any]:
        if self.model is None:
            raise UsageError(f"{self.name} has rows to run, and no model that runs them.")
        outputs = self.model.step(rows)
        if any(isinstance(output, More) for output in outputs):
            raise UsageError(f"{self.name} takes several steps for a row: it is measured as a decoder.")
        return {id(row): output for row, output in zip(rows, outputs, strict=True)}


def _given(one: bytes | BadRequest | Finished) -> bytes | None:
    return one if isinstance(one, bytes) else None
