"""The memory of cancels is bounded in bytes, forgets the oldest first, and knows which requests a cancel ends."""

from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.delivery.cancel_memory import (
    CLOCKS_MS,
    MAX_OF_ONE,
    CancelMemory,
    KnownCancel,
    RequestName,
)

TRACE, OTHER_TRACE = b"00-1-1-01", b"00-2-2-01"
CANCELS = st.lists(
    st.tuples(st.text(max_size=20), st.text(max_size=50), st.none() | st.binary(max_size=60)), max_size=60
)


def named(identity: str, tenant: str = "") -> RequestName:
    return RequestName(tenant, identity)


def a_cancel(timestamp_ms: int = 5_000, reason: str = "cancelled", trace: bytes | None = None) -> KnownCancel:
    return KnownCancel(timestamp_ms, reason, trace)


def ends(memory: CancelMemory, identity: str, asked_ms: int = 5_000, trace: bytes | None = TRACE) -> bool:
    return memory.find(named(identity), asked_ms, trace) is not None


def test_a_cancel_ends_what_was_sent_before_it_and_an_id_can_be_used_again_later() -> None:
    memory = CancelMemory()
    memory.add(named("a"), a_cancel(5_000))
    assert ends(memory, "a", asked_ms=1)
    assert ends(memory, "a", asked_ms=5_000 + CLOCKS_MS)
    assert not ends(memory, "a", asked_ms=5_001 + CLOCKS_MS)
    assert not ends(memory, "b")
    assert memory.find(named("a", tenant="other"), 5_000, TRACE) is None


def test_a_cancel_with_a_trace_ends_only_the_request_with_this_trace() -> None:
    """A request that is sent again at once with its id is another one."""
    memory = CancelMemory()
    memory.add(named("a"), a_cancel(trace=TRACE))
    assert ends(memory, "a", trace=TRACE)
    assert not ends(memory, "a", trace=OTHER_TRACE)
    assert not ends(memory, "a", trace=None)
    memory.add(named("a"), a_cancel(trace=OTHER_TRACE))
    assert ends(memory, "a", trace=TRACE)
    assert ends(memory, "a", trace=OTHER_TRACE)


def test_the_newest_cancel_of_a_request_says_the_reason() -> None:
    memory = CancelMemory()
    memory.add(named("a"), a_cancel(5_000, "superseded"))
    memory.add(named("a"), a_cancel(6_000, "cancelled"))
    found = memory.find(named("a"), 4_000, None)
    assert found is not None
    assert found.reason == "cancelled"


def test_the_oldest_is_forgotten_first_and_counted() -> None:
    memory = CancelMemory(max_bytes=5_000)
    for number in range(100):
        memory.add(named(f"{number}"), a_cancel(number))
    assert not ends(memory, "0", asked_ms=0)
    assert ends(memory, "99", asked_ms=0)
    assert memory.forgotten == 100 - len(memory.known) > 0


def test_what_is_older_than_a_time_is_dropped_without_a_count() -> None:
    memory = CancelMemory()
    for number in range(10):
        memory.add(named(f"{number}"), a_cancel(number))
    assert memory.expire(4)
    assert not memory.expire(4)
    assert [name.id for name in memory.known] == ["4", "5", "6", "7", "8", "9"]
    assert memory.forgotten == 0


def test_older_cancels_take_only_the_room_that_is_left() -> None:
    memory, older = CancelMemory(max_bytes=5_000), CancelMemory(max_bytes=50_000)
    for number in range(5):
        memory.add(named(f"new-{number}"), a_cancel(9_000))
    for number in range(20):
        older.add(named(f"old-{number}"), a_cancel(number))
    older.add(named("new-0"), a_cancel(30))
    memory.put_before(older)
    assert all(ends(memory, f"new-{number}", asked_ms=9_000) for number in range(5))
    assert ends(memory, "old-19", asked_ms=0)
    assert not ends(memory, "old-0", asked_ms=0)
    assert memory.bytes <= memory.max_bytes
    assert memory.forgotten > 0


@given(CANCELS, st.integers(0, 5_000))
def test_the_bytes_are_those_of_what_is_known_and_never_above_the_bound(
    cancels: list[tuple[str, str, bytes | None]], max_bytes: int
) -> None:
    memory = CancelMemory(max_bytes)
    for number, (identity, tenant, trace) in enumerate(cancels):
        memory.add(named(identity, tenant), a_cancel(number, trace=trace))
        assert memory.bytes <= max_bytes
        assert all(0 < len(of_one) <= MAX_OF_ONE for of_one in memory.known.values())
    again = CancelMemory(1 << 40)
    for name, of_one in memory.known.items():
        for cancel in of_one:
            again.add(name, cancel)
    assert again.bytes == memory.bytes
    memory.expire(1 << 40)
    assert (memory.bytes, memory.known) == (0, {})
