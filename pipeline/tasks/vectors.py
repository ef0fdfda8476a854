"""The parts of a task whose answer follows from the vector of its text."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self

import msgspec

from ..errors import BlankText
from ..models.manifest import ENCODER, Manifest
from ..models.registry import ModelRegistry
from ..runtime.graph import Graph
from ..runtime.model import Row
from ..runtime.tokenizer import Tokenizer
from .base import Ask, Finished
from .digests import digest_of
from .pooling import Floats, Tokenizes, embed, mean
from .text import NOTHING_TO_READ, TextTask


class TextEncoder(NamedTuple):
    """An encoder of the registry, without its device."""

    manifest: Manifest
    tokenizer: Tokenizes

    @classmethod
    def of(cls, registry: ModelRegistry, name: str, kind: str = ENCODER, use: str = "") -> Self:
        """Raises UnknownModel, ModelError for a damaged one or a closed gate, UsageError for one of another kind.

        ``use``: what for, as the judgements on it say.
        """
        manifest = registry.load(name, kind, use)
        return cls(manifest, Tokenizer(manifest.tokenizer_path, manifest.max_tokens, manifest.pad_id))

    def vectors(self, texts: Sequence[str], graph: Graph) -> Floats:
        """Unit vectors of shape (texts, dimensions), for what a task computes once, when it is loaded."""
        return embed(texts, self.tokenizer, graph)


class VectorTask(TextTask, ABC):
    """A task whose answer follows from the vector of its text. See `tasks/base.Task`.

    A subclass has `name`, `option_type` and `answer`.
    """

    code_version: ClassVar[bytes] = b"1"
    """Must change when the code gives another answer to the same vector: cached answers would stay."""

    def __init__(self, model: str, encoder: TextEncoder, decided_by: bytes = b"") -> None:
        """Serve ``encoder`` under the name ``model``. ``decided_by``: of the settings, what decides an answer."""
        self.model = model
        self.encoder = encoder
        self.digest = digest_of(self.name.encode(), self.code_version, encoder.manifest.digest, decided_by)
        self.version = self.digest.hex()[:12]

    @property
    def dimensions(self) -> int:
        """Of the vectors."""
        return self.encoder.manifest.dimensions

    @abstractmethod
    def answer(self, vector: Floats, options: Any, windows: int) -> Any:
        """The output for the vector of a text, a struct or what else msgspec encodes.

        ``vector`` is float32 (dimensions), of an encoder of length 1; that of a long text is the mean of ``windows``
        pieces, and shorter.
        """

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[list[Row]]:
        """The windows of each text, see `runtime/tokenizer`. Raises BlankText or TooLarge."""
        texts = [ask.content for ask in asks]
        encoded = self.encoder.tokenizer.encode(texts, max_tokens)
        return [self._rows(text, windows) for text, windows in zip(texts, encoded, strict=True)]

    def _rows(self, text: str, windows: list[Sequence[int]]) -> list[Row]:
        if self.encoder.tokenizer.reading(text, windows) == "nothing":
            raise BlankText(NOTHING_TO_READ)
        return [Row(window) for window in windows]

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        """The JSON of `answer` for each request."""
        windows = [len(one.outputs) for one in finished]
        vectors = [vector for one in finished for vector in one.outputs]
        lengths = [row.length for one in finished for row in one.rows]
        means = mean(vectors, lengths, windows)
        return [
            msgspec.json.encode(self.answer(vector, one.options, count))
            for vector, one, count in zip(means, finished, windows, strict=True)
        ]
