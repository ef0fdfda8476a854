"""Which beginnings of prompts are kept, and where: a tree of blocks of tokens."""

from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from typing import NamedTuple

BLOCK = 8
"""Tokens of a block. What is found ends with a block, so up to 7 tokens are read again: a tenth of a chunk."""


class _Node:
    """A block behind the blocks of its parents. Its key holds the tokens: equal hashes alone find nothing."""

    __slots__ = ("children", "key", "parent", "slot")

    def __init__(self, parent: "_Node | None", key: Hashable, slot: int) -> None:
        self.parent = parent
        self.key = key
        self.slot = slot
        self.children: dict[Hashable, _Node] = {}


class Added(NamedTuple):
    """Blocks that were not kept before: the number of the first one in the prompt, and the slot of each."""

    first: int
    slots: list[int]


class PrefixIndex:
    """A fixed number of slots. What prompts have in common is there once; what was used longest ago goes first.

    A node is never used later than its parent, so the one that was used longest ago has no children: taking a slot
    needs no search, whatever strangers send. Scopes share nothing.
    """

    def __init__(self, slots: int) -> None:
        self._root = _Node(None, None, -1)
        self._used: OrderedDict[_Node, None] = OrderedDict()  # the one used longest ago is first
        self._free = deque(range(slots))
        self._slots = slots

    def __len__(self) -> int:
        """How many slots are in use."""
        return len(self._used)

    def find(self, scope: str, prompt: Sequence[int], count: int) -> list[int]:
        """The slots of the longest kept beginning, of at most ``count`` tokens."""
        path = self._path(scope, prompt, count)
        self._use(path)
        return [node.slot for node in path]

    def add(self, scope: str, prompt: Sequence[int], count: int) -> Added:
        """Keep the blocks among the first ``count`` tokens. Of a prompt that has no room, only the beginning."""
        path = self._path(scope, prompt, count)
        self._use(path)
        known = len(path)
        wanted = min(count // BLOCK, self._slots) - known
        while len(self._free) < wanted:
            self._drop_oldest()
        # In their order: those of one prompt that went are neighbors, and neighbors are copied together.
        slots = sorted(self._free.popleft() for _ in range(wanted))
        for number, slot in enumerate(slots, known):
            parent = path[-1] if path else self._root
            node = _Node(parent, _key(scope, prompt, number), slot)
            parent.children[node.key] = node
            self._used[node] = None
            path.append(node)
        self._use(path)
        return Added(known, slots)

    def clear(self) -> None:
        """Forget all."""
        self._root.children.clear()
        self._used.clear()
        self._free = deque(range(self._slots))

    def _path(self, scope: str, prompt: Sequence[int], count: int) -> list[_Node]:
        path: list[_Node] = []
        node: _Node | None = self._root
        for number in range(count // BLOCK):
            assert node is not None
            node = node.children.get(_key(scope, prompt, number))
            if node is None:
                break
            path.append(node)
        return path

    def _use(self, path: Sequence[_Node]) -> None:
        """The first block comes last: no node is used later than its parent."""
        for node in reversed(path):
            self._used.move_to_end(node)

    def _drop_oldest(self) -> None:
        node, _ = self._used.popitem(last=False)
        assert node.parent is not None
        assert not node.children
        del node.parent.children[node.key]
        self._free.append(node.slot)


def _key(scope: str, prompt: Sequence[int], number: int) -> Hashable:
    block = tuple(prompt[number * BLOCK : (number + 1) * BLOCK])
    return block if number else (scope, block)
