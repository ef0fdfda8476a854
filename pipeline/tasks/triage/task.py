"""The task `triage` for the engine: options, rows, and answers from vectors."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import UNSET

from ....schemas.messages import Category, TriageOptions, TriageOutput
from ...errors import BlankText, WrongType
from ...runtime.model import Row
from ..base import Ask, Finished
from ..digests import digest_of
from ..options import checked_options
from ..pooling import Tokenizes, pool
from ..text import NOTHING_TO_READ, TextTask
from .classifier import Classifier, Routing
from .confidence import softmax

CODE_VERSION: Final = b"triage 2"  # must change when this code gives another answer to the same vectors
NONE: Final = "none"
DEFAULTS: Final = TriageOptions()
UNREADABLE: Final = (
    "The model cannot read most of this text: it knows neither the words nor the signs. A human must look."
)
DECIMALS: Final = 4  # of a confidence; further digits depend on the other rows of the batch


class UnreadableRow(Row):
    """A row of a text that the model cannot read for the most part; `Triage.finish` says so in the answer."""


class Triage(TextTask):
    """The task `triage`, see `tasks/base.Task`."""

    name = "triage"

    def __init__(
        self,
        model: str,
        tokenizer: Tokenizes,
        encoder_digest: bytes,
        classifier: Classifier,
        routing: Routing,
        clean: str = NONE,
    ) -> None:
        """Serve ``classifier`` under the name ``model``; ``clean`` is for requests that do not say it."""
        self.model = model
        self._tokenizer = tokenizer
        self._clean = clean
        self._labels = classifier.labels
        self._routing = routing
        scale = np.float32(1 / classifier.temperature)
        self._weights = np.column_stack([classifier.weights * scale, routing.urgency]).astype(np.float32)
        self._bias = np.append(classifier.bias * scale, np.float32(0)).astype(np.float32)
        decided_by = (classifier.digest, routing.digest, str(routing.threshold).encode(), clean.encode())
        self.digest = digest_of(CODE_VERSION, encoder_digest, *decided_by)
        self.version = self.digest.hex()[:12]

    def options(self, given: Mapping[str, Any]) -> TriageOptions:
        """The checked options. Raises UnknownOption or WrongType."""
        if not given:
            return DEFAULTS
        options = checked_options(self.name, given, TriageOptions)
        if options.threshold is not None and not 0 <= options.threshold <= 1:
            raise WrongType(f"The option 'threshold' must lie between 0 and 1, not {options.threshold}.")
        if options.runners_up < 0:
            raise WrongType(f"The option 'runners_up' must be 0 or more, not {options.runners_up}.")
        return options

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[list[Row]]:
        """The windows of each text, see `runtime/tokenizer`. Raises BlankText or TooLarge."""
        read = [self._cleaned(ask.content, ask.options.clean or self._clean) for ask in asks]
        encoded = self._tokenizer.encode(read, max_tokens)
        return [self._rows(text, windows) for text, windows in zip(read, encoded, strict=True)]

    def _cleaned(self, text: str, kind: str) -> str:
        if kind == NONE:
            return text
        from ..mail.cleaning import cleaned  # lxml is loaded only where it is asked for

        return cleaned(text, kind)

    def _rows(self, text: str, windows: list[Sequence[int]]) -> list[Row]:
        reading = self._tokenizer.reading(text, windows)
        if reading == "nothing":
            raise BlankText(NOTHING_TO_READ)
        kind = Row if reading == "most" else UnreadableRow
        return [kind(window) for window in windows]

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        """The JSON of a TriageOutput for each request."""
        windows = [len(one.outputs) for one in finished]
        vectors = [vector for one in finished for vector in one.outputs]
        lengths = [row.length for one in finished for row in one.rows]
        scores = pool(vectors, lengths, windows) @ self._weights + self._bias
        confidences = softmax(scores[:, :-1])
        order = np.argsort(-confidences, axis=1, kind="stable")
        urgent = scores[:, -1] > self._routing.margin
        rows = zip(
            finished, confidences.tolist(), order.tolist(), urgent.tolist(), windows, strict=True
        )  # lists, because for the few numbers of a reply they are faster than arrays
        return [self._answer(*row) for row in rows]

    def _answer(
        self, one: Finished, confidences: list[float], order: list[int], urgent: bool, windows: int
    ) -> bytes:
        labels = self._labels
        routing = self._routing
        options = one.options
        best = order[0]
        unreadable = any(isinstance(row, UnreadableRow) for row in one.rows[:1])
        if unreadable:  # the scores are those of the unknown token: they say nothing
            confidences = [1 / len(labels)] * len(labels)
        confidence = round(confidences[best], DECIMALS)
        threshold = routing.threshold if options.threshold is None else options.threshold
        level = min(routing.levels[best] + urgent, len(routing.priorities) - 1)
        return msgspec.json.encode(
            TriageOutput(
                category=labels[best],
                confidence=confidence,
                priority=routing.priorities[level],
                route=routing.routes[best],
                needs_human=unreadable or confidence < threshold,
                runners_up=[
                    Category(labels[i], round(confidences[i], DECIMALS))
                    for i in order[1 : 1 + options.runners_up]
                ],
                windows=windows,
                note=UNREADABLE if unreadable else UNSET,
                text_blocks=self._text_blocks(best, unreadable) if options.text_blocks else UNSET,
            )
        )

    def _text_blocks(self, best: int, unreadable: bool) -> list[str]:
        """Those of the category; none if the category says nothing about the ticket."""
        blocks = self._routing.text_blocks
        return list(blocks[best]) if blocks and not unreadable else []
