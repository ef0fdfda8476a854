"""Two content keys are equal exactly when all their parts are."""

from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.engine.cache.keys import content_key, content_prefix

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


def test_a_lone_surrogate_has_a_key() -> None:
    assert key_of("", b"", "", b"", "\ud800") != key_of("", b"", "", b"", "?")
