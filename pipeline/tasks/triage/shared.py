"""What the fitted models of a process share: hundreds of them may be on one encoder."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary

from ...runtime.graph import Graph
from ...runtime.tokenizer import Tokenizer
from ..pooling import Tokenizes, embed
from .confidence import Floats
from .part_memory import PartMemory


class TokenizerFile(NamedTuple):
    """A tokenizer and how it is used; equal ones are the same."""

    sha256: str
    max_tokens: int
    pad_id: int


class Shared:
    """Tokenizers, the vectors of urgent phrases, and the memory of weights. Models are loaded one after the other."""

    def __init__(self) -> None:
        self.memory = PartMemory()
        self._tokenizers: WeakValueDictionary[TokenizerFile, Tokenizer] = WeakValueDictionary()
        self._phrases: WeakKeyDictionary[Graph, dict[tuple[str, ...], Floats]] = WeakKeyDictionary()

    def tokenizer(self, path: Path | str, file: TokenizerFile) -> Tokenizer:
        """The tokenizer in the file ``path``, which has been verified. Raises ModelError."""
        found = self._tokenizers.get(file)
        if found is None:
            found = Tokenizer(path, file.max_tokens, file.pad_id)
            self._tokenizers[file] = found
        return found

    def vectors(self, phrases: Sequence[str], tokenizer: Tokenizes, graph: Graph) -> Floats:
        """The vectors of phrases that many models ask for."""
        of_graph = self._phrases.setdefault(graph, {})
        key = tuple(phrases)
        if key not in of_graph:
            of_graph[key] = embed(phrases, tokenizer, graph)
        return of_graph[key]
