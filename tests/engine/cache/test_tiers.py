"""A key is equal exactly when all its parts are; the memory tier is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.engine.cache.tiers import MemoryCache, content_key, content_prefix

parts = st.tuples(
    st.text(max_size=4), st.binary(max_size=4), st.text(max_size=4), st.binary(max_size=4), st.text()
)
similar = st.text(alphabet="1:a", max_size=4)
similar_parts = st.tuples(similar, similar.map(str.encode), similar, similar.map(str.encode), similar)


def key_of(tenant: str, digest: bytes, task: str, options: bytes, text: str) -> bytes:
    return content_key(content_prefix(tenant, digest, task, options), text)


@given(st.one_of(parts, similar_parts), st.one_of(parts, similar_parts))
def test_keys_are_equal_exactly_when_all_parts_are(
    one: tuple[str, bytes, str, bytes, str], other: tuple[str, bytes, str, bytes, str]
) -> None:
    assert (key_of(*one) == key_of(*other)) == (one == other)


@given(similar, similar, st.integers(0, 4), st.integers(0, 4))
def test_moving_a_character_to_the_next_part_changes_the_key(a: str, b: str, cut: int, other: int) -> None:
    whole = a + b
    first, second = ((whole[:n], b"", whole[n:], b"", "text") for n in (cut, other))
    assert (key_of(*first) == key_of(*second)) == (first == second)


def test_a_key_is_the_same_in_every_process() -> None:
    assert key_of("t", b"d", "triage", b"{}", "I was charged twice").hex() == (
        "b5df862e59c18b4bac47f209a0e5cb7a"
    )


def test_half_a_surrogate_pair_has_a_key_as_well() -> None:
    assert key_of("", b"", "", b"", "\ud800") != key_of("", b"", "", b"", "?")


def entry(size: int) -> int:
    return size + MemoryCache.ENTRY_BYTES


def test_memory_forgets_the_least_recently_used() -> None:
    cache = MemoryCache(3 * entry(10))
    for name in b"abc":
        cache.put(bytes([name]), b"x" * 10)
    assert cache.get(b"a") == b"x" * 10
    cache.put(b"d", b"x" * 10)
    assert [cache.get(name) is not None for name in (b"a", b"b", b"c", b"d")] == [True, False, True, True]


class Model:
    """What the memory tier must do, in the plainest way."""

    def __init__(self, max_bytes: int) -> None:
        self.items: list[tuple[bytes, bytes]] = []
        self.max_bytes = max_bytes

    def put(self, key: bytes, value: bytes) -> None:
        self.items = [item for item in self.items if item[0] != key] + [(key, value)]
        while sum(entry(len(value)) for _, value in self.items) > self.max_bytes:
            self.items.pop(0)

    def get(self, key: bytes) -> bytes | None:
        found = dict(self.items).get(key)
        if found is not None:
            self.items = [item for item in self.items if item[0] != key] + [(key, found)]
        return found


@given(
    most=st.integers(0, 2_000),
    steps=st.lists(
        st.tuples(st.sampled_from([b"a", b"b", b"c", b"d", b"e"]), st.none() | st.integers(0, 900)),
        max_size=60,
    ),
)
def test_memory_is_bounded_by_bytes(most: int, steps: list[tuple[bytes, int | None]]) -> None:
    cache, model = MemoryCache(most), Model(most)
    for key, size in steps:
        if size is None:
            assert cache.get(key) == model.get(key)
        else:
            cache.put(key, b"v" * size)
            model.put(key, b"v" * size)
        assert len(cache) == len(model.items)
