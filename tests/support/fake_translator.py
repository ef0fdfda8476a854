"""The task `translate` over a model that works on letters, so that a test says how it translates."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from inferstream.pipeline.graphs.marian.shortlist import Shortlist
from inferstream.pipeline.models.manifest import Manifest
from inferstream.pipeline.runtime.model import Row
from inferstream.pipeline.runtime.subwords import END, Subwords
from inferstream.pipeline.runtime.translator import SourceRow, Translation
from inferstream.pipeline.tasks.base import Ask, Finished
from inferstream.pipeline.tasks.translate.alignment import Aligner
from inferstream.pipeline.tasks.translate.task import Translate
from inferstream.schemas.messages import Request
from inferstream.schemas.translation import TranslateOutput

KNOWN = frozenset(map(chr, range(33, 127))) - set("#<>@\\^`{}~") | set("áãçéíóú")
MANIFEST = Manifest(
    name="letters-int8",
    kind="marian-translator",
    precision="int8",
    source="a test",
    revision="",
    weights_sha256="",
    graph_sha256="",
    tokenizer_sha256="",
    max_tokens=64,
    dimensions=1,
    pad_id=0,
    builder=1,
    graph_path="",
    tokenizer_path="",
    pair="en-pt",
    length_factor=2.5,
)

Way = Callable[[str], str]
"""How a sentence is translated."""


class Letters:
    """A vocabulary of letters. The token of a letter is its number; a space belongs to the letter behind it."""

    characters = KNOWN
    SPACED = 0x300

    def encode(self, text: str) -> list[int]:
        tokens: list[int] = []
        for word in text.split():
            known = [ord(letter) if letter in KNOWN else 1 for letter in word]
            tokens += [known[0] + self.SPACED, *known[1:]]
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        letters = (" " * self.starts_word(token) + chr(token % self.SPACED) for token in tokens if token > 1)
        return "".join(letters).removeprefix(" ")

    def starts_word(self, token: int) -> bool:
        return token >= self.SPACED


class NoLists(Shortlist):
    """A shortlist that knows no translations: words are aligned by their letters and places."""

    def __init__(self) -> None:
        pass

    def translations(self, token: int) -> NDArray[np.int64]:
        return np.zeros(0, np.int64)

    def counts(self) -> NDArray[np.intp]:
        return np.ones(2 * Letters.SPACED, np.intp)


class FakeTranslation:
    """The task; ``rows`` are the sources that the model got last."""

    def __init__(
        self, way: Way = str, terms: Mapping[str, str] | None = None, max_tokens: int = 64, most: int = 10**9
    ) -> None:
        """``way``: how a sentence is translated. ``most``: the tokens at which a translation is stopped."""
        self._way = way
        self._most = most
        self._letters = Letters()
        letters = cast(Subwords, self._letters)
        aligner = Aligner(self._letters.encode, NoLists())
        manifest = replace(MANIFEST, max_tokens=max_tokens)
        self.task = Translate("letters-int8", manifest, letters, aligner, terms or {})
        self.sources: list[str] = []

    def __call__(self, text: str, **options: Any) -> TranslateOutput:
        asked = Ask(self.task.read(Request(text=text)), self.task.options(options))
        (made,) = self.task.prepare([asked], 10**7)
        self.sources = []
        if not isinstance(made, bytes):
            (made,) = self.task.finish([Finished(self._translated(made), made, asked.options)])
        return msgspec.json.decode(made, type=TranslateOutput)

    def _translated(self, rows: Sequence[Row]) -> list[Translation]:
        found = []
        for row in rows:
            assert isinstance(row, SourceRow)
            assert row.tokens[-1] == END
            self.sources.append(self._letters.decode(row.tokens[:-1]))
            begin = self._letters.decode(row.prefix)
            whole = self._way(self.sources[-1])
            rest = self._letters.encode(whole.removeprefix(begin))
            if begin and rest and not whole.removeprefix(begin).startswith(" "):
                rest[0] %= Letters.SPACED
            found.append(Translation(rest[: self._most], len(rest) <= self._most))
        return found


def glossary_file(folder: Path, content: str, name: str = "glossary.csv") -> Path:
    path = folder / name
    path.write_text(content, "utf-8")
    return path
