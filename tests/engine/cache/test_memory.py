"""The memory tier evicts the least recently used value and is bounded by bytes."""

from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.engine.cache.memory import MemoryCache


def entry_bytes(size: int) -> int:
    return size + MemoryCache.ENTRY_BYTES


def test_memory_evicts_the_least_recently_used() -> None:
    cache = MemoryCache(3 * entry_bytes(10))
    for name in b"abc":
        cache.put(bytes([name]), b"x" * 10)
    assert cache.get(b"a") == b"x" * 10
    cache.put(b"d", b"x" * 10)
    assert [cache.get(name) is not None for name in (b"a", b"b", b"c", b"d")] == [True, False, True, True]


class ReferenceCache:
    """The simplest correct memory tier."""

    def __init__(self, max_bytes: int) -> None:
        self.items: list[tuple[bytes, bytes]] = []
        self.max_bytes = max_bytes

    def put(self, key: bytes, value: bytes) -> None:
        self.items = [item for item in self.items if item[0] != key] + [(key, value)]
        while sum(entry_bytes(len(value)) for _, value in self.items) > self.max_bytes:
            self.items.pop(0)

    def get(self, key: bytes) -> bytes | None:
        found = dict(self.items).get(key)
        if found is not None:
            self.items = [item for item in self.items if item[0] != key] + [(key, found)]
        return found


@given(
    max_bytes=st.integers(0, 2_000),
    steps=st.lists(
        st.tuples(st.sampled_from([b"a", b"b", b"c", b"d", b"e"]), st.none() | st.integers(0, 900)),
        max_size=60,
    ),
)
def test_memory_is_bounded_by_bytes(max_bytes: int, steps: list[tuple[bytes, int | None]]) -> None:
    cache = MemoryCache(max_bytes)
    reference = ReferenceCache(max_bytes)
    for key, size in steps:
        if size is None:
            assert cache.get(key) == reference.get(key)
        else:
            cache.put(key, b"v" * size)
            reference.put(key, b"v" * size)
        assert len(cache) == len(reference.items)
