"""The task `embed` for the engine: options, rows, and vectors as answers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from ....schemas.messages import EmbedOptions, EmbedOutput
from ...errors import BlankText, WrongType
from ...models.manifest import Manifest
from ...runtime.model import Row
from ..base import Ask, Finished
from ..digests import digest_of
from ..pooling import Floats, Tokenizes, mean, unit
from ..text import NOTHING_TO_READ, TextTask

CODE_VERSION: Final = b"embed 1"  # must change when this code gives another answer to the same vectors
DECIMALS: Final = 7  # as many as a float32 has; a sixth of the bytes that all digits of a float64 take


class Embed(TextTask):
    """The task `embed`, see `tasks/base.Task`."""

    name = "embed"
    option_type = EmbedOptions

    def __init__(self, model: str, manifest: Manifest, tokenizer: Tokenizes) -> None:
        """Serve the encoder of ``manifest`` under the name ``model``."""
        self.model = model
        self._width = manifest.dimensions
        self._shorter = manifest.matryoshka_dimensions
        self._tokenizer = tokenizer
        self.digest = digest_of(CODE_VERSION, manifest.digest)
        self.version = self.digest.hex()[:12]

    def options(self, given: Mapping[str, Any]) -> EmbedOptions:
        """The checked options. Raises UnknownOption or WrongType."""
        options: EmbedOptions = super().options(given)
        dimensions = options.dimensions
        if dimensions is None or dimensions == self._width or dimensions in self._shorter:
            return options
        if not self._shorter:
            raise WrongType(
                f"The vectors of {self.model} have {self._width} dimensions and cannot be shortened: leave the "
                "option 'dimensions' out."
            )
        allowed = ", ".join(map(str, sorted({*self._shorter, self._width})))
        raise WrongType(
            f"The option 'dimensions' must be one of {allowed} with {self.model}, not {dimensions}."
        )

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[list[Row]]:
        """The windows of each text, see `runtime/tokenizer`. Raises BlankText or TooLarge."""
        texts = [ask.content for ask in asks]
        encoded = self._tokenizer.encode(texts, max_tokens)
        return [self._rows(text, windows) for text, windows in zip(texts, encoded, strict=True)]

    def _rows(self, text: str, windows: list[Sequence[int]]) -> list[Row]:
        if self._tokenizer.reading(text, windows) == "nothing":
            raise BlankText(NOTHING_TO_READ)
        return [Row(window) for window in windows]

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        """The JSON of an EmbedOutput for each request."""
        windows = [len(one.outputs) for one in finished]
        vectors = [vector for one in finished for vector in one.outputs]
        lengths = [row.length for one in finished for row in one.rows]
        means = mean(vectors, lengths, windows)
        return [
            _answer(vector, one.options, count)
            for vector, one, count in zip(means, finished, windows, strict=True)
        ]


def _answer(vector: Floats, options: EmbedOptions, windows: int) -> bytes:
    if options.dimensions is not None:
        vector = vector[: options.dimensions]
    if options.normalize:
        (vector,) = unit(vector[None])
    numbers = np.round(vector.astype(np.float64), DECIMALS).tolist()
    return msgspec.json.encode(EmbedOutput(numbers, len(numbers), windows))
