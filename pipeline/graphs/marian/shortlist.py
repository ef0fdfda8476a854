"""The lexical shortlist of a Marian model: which words a translation of a source may contain."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError

MAGIC = 0xF11A48D5013417F5
HEADER_BYTES = 48
MULTIPLE = 8


class Shortlist:
    """For each source token the target tokens that may translate it, and those that any text may contain."""

    def __init__(self, path: Path | str) -> None:
        """Read ``lex.*.s2t.bin``. Raises ModelError for another format, or a file that is cut off."""
        try:
            content = Path(path).read_bytes()
            magic, _, first, _, offsets, ids = struct.unpack_from("<6Q", content)
        except OSError as error:
            raise ModelError(f"Cannot read the shortlist {path}: {error.strerror}.") from error
        except struct.error as error:
            raise ModelError(
                f"{path} is no whole shortlist of Marian: it ends inside of its header."
            ) from error
        if magic != MAGIC or len(content) != HEADER_BYTES + 8 * offsets + 4 * ids:
            raise ModelError(f"{path} is no whole shortlist of Marian in its binary format.")
        self._offsets = np.frombuffer(content, "<u8", offsets, HEADER_BYTES).astype(np.int64)
        self._starts = self._offsets.tolist()
        self._ids = np.frombuffer(content, "<u4", ids, HEADER_BYTES + 8 * offsets)
        self._always = int(first)
        if (np.diff(self._offsets, prepend=0) < 0).any() or (offsets and self._offsets[-1] > ids):
            raise ModelError(f"{path} has lists that end outside of the file.")

    @property
    def words(self) -> int:
        """The number of source tokens that it knows."""
        return len(self._offsets) - 1

    @property
    def largest(self) -> int:
        """The largest target token in it."""
        return int(max(self._ids.max(initial=0), self._always - 1))

    def translations(self, token: int) -> NDArray[np.int64]:
        """The target tokens that may translate ``token``."""
        return self._ids[self._offsets[token] : self._offsets[token + 1]].astype(np.int64)

    def counts(self) -> NDArray[np.intp]:
        """How many source tokens each target token may translate."""
        return np.bincount(self._ids, minlength=max(self.words, self.largest + 1))

    def candidates(self, tokens: Sequence[int]) -> NDArray[np.intp]:
        """The target tokens for a source, in ascending order, each once. The first is 0, the end of a text.

        They are filled up to a multiple of 8 with the next tokens that are not among them, as in Marian, whose
        products need it: these tokens may be the best ones too.
        """
        chosen = np.zeros(self.words, bool)
        chosen[: self._always] = True
        lists = [self._ids[self._starts[token] : self._starts[token + 1]] for token in set(tokens)]
        if lists:
            chosen[np.concatenate(lists).astype(np.intp)] = True
        behind = chosen[self._always :]
        for _ in range(-int(np.count_nonzero(chosen)) % MULTIPLE):
            if behind.size:
                behind[behind.argmin()] = True  # the first that is not chosen
        return chosen.nonzero()[0]
