"""Keys and values of the beginnings of prompts that were read, kept for prompts that begin the same."""

import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .key_values import KeyValueMaker, KeyValues, TokenPlace
from .prefix_index import BLOCK, PrefixIndex


class Keeping(NamedTuple):
    """What is kept of prompts.

    Attributes:
        tokens: for how many there is memory, taken at the start; 0 keeps nothing.
        across_tenants: whether one tenant's prompts are kept for all. Then a tenant can find out, by the time to its
            first token and by the count of its cached tokens, that another one has sent a beginning.
    """

    tokens: int = 0
    across_tenants: bool = False


class RowPlace(NamedTuple):
    """Where the keys and values of a row are."""

    key_values: KeyValues
    place: int


class PrefixMemory:
    """For each layer the keys and the values of blocks of tokens; `PrefixIndex` tells whose they are.

    Only what was read as prompt comes here: keys from decoding differ from it in their last bits (decision 25). So a
    text from kept keys is that without them, to the bit. All lanes share it, one at a time.
    """

    def __init__(self, keeping: Keeping, maker: KeyValueMaker) -> None:
        blocks = keeping.tokens // BLOCK
        self._across_tenants = keeping.across_tenants
        self._blocks = blocks
        self._index = PrefixIndex(blocks)
        self._key_values = maker.make(1, blocks * BLOCK)
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        return self._key_values.nbytes

    def copy_to(self, row: RowPlace, tenant: str, prompt: Sequence[int], read: int) -> int:
        """Copy what is kept of ``prompt`` behind the ``read`` tokens that the row has; returns how many it has then.

        The last token is never copied: the scores behind it have to be computed.
        """
        if not self._blocks:
            return read
        with self._lock:
            slots = self._index.find(self._scope(tenant), prompt, len(prompt) - 1)
            if len(slots) * BLOCK <= read:
                return read
            first = read // BLOCK
            for token, kept, count in _runs(first, slots[first:]):
                row.key_values.copy(
                    self._key_values, TokenPlace(0, kept), TokenPlace(row.place, token), count
                )
            return len(slots) * BLOCK

    def keep(self, row: RowPlace, tenant: str, prompt: Sequence[int], read: int) -> None:
        """Copy what the row has read of ``prompt``: its first ``read`` tokens, as far as they are not kept."""
        if not self._blocks:
            return
        with self._lock:
            added = self._index.add(self._scope(tenant), prompt, read)
            try:
                for token, kept, count in _runs(added.first, added.slots):
                    self._key_values.copy(
                        row.key_values, TokenPlace(row.place, token), TokenPlace(0, kept), count
                    )
            except BaseException:
                self._index.clear()  # it names slots that were not written
                raise

    def _scope(self, tenant: str) -> str:
        return "" if self._across_tenants else tenant


def _runs(first: int, slots: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Blocks whose slots are neighbors are copied together: the first token in the prompt and here, and how many."""
    begin = 0
    for end in range(1, len(slots) + 1):
        if end == len(slots) or slots[end] != slots[end - 1] + 1:
            yield (first + begin) * BLOCK, slots[begin] * BLOCK, (end - begin) * BLOCK
            begin = end
