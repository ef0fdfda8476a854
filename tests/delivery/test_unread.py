"""What a reader has not read is bounded: nothing more is told or made for it until it goes on."""

from hypothesis import given
from hypothesis import strategies as st
from support.told_rig import FakeFlight, Told

from inferstream.pipeline.delivery.chunks import CHUNK_BYTES
from inferstream.pipeline.delivery.unread import MOST_BYTES, MOST_PIECES, UnreadPieces


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 60_000), st.integers(0, 80)), max_size=60))
def test_pieces_and_bytes_that_were_not_read_are_counted_by_position(
    parts: list[tuple[int, int, int]],
) -> None:
    unread = UnreadPieces()
    unread.was_read(0, 0.0)
    told: list[tuple[int, int]] = []
    end = read = 0
    for pieces, size, further in parts:
        end += pieces
        told.append((end, size))
        unread.told(end, size)
        read = min(end, read + further)
        unread.was_read(read, 0.0)
        left = sum(size for until, size in told if until > read)
        assert unread.is_too_much == (end - read >= MOST_PIECES or left >= MOST_BYTES)
        assert unread.pieces == end - read
    unread.was_read(end, 0.0)
    assert not unread.is_too_much
    assert not unread._parts, "nothing is kept of what was read"


def test_a_client_that_does_not_say_what_it_reads_is_not_paused_and_costs_nothing() -> None:
    unread = UnreadPieces()
    for end in range(1, 100_000):
        unread.told(end, 1_000)
    assert not unread.is_too_much
    assert not unread._parts


def test_time_counts_only_while_it_is_too_much_and_from_the_last_progress() -> None:
    unread = UnreadPieces()
    unread.was_read(0, 10.0)
    unread.was_read(0, 90.0)
    assert unread.idle_s(90.0) == 0.0, "all was read that there is"
    unread.told(MOST_PIECES, 10)
    unread.was_read(1, 100.0)
    assert unread.idle_s(100.0) == 0.0
    unread.told(MOST_PIECES + 1, 10)
    unread.was_read(0, 130.0)  # an older heartbeat that was held back
    assert unread.idle_s(130.0) == 30.0
    unread.lift()
    assert not unread.is_too_much
    assert unread.idle_s(200.0) == 0.0


def test_a_reader_that_stops_is_told_no_more_and_its_flight_is_paused_until_it_goes_on() -> None:
    told, flight = Told(), FakeFlight()
    told.follow(flight)
    told.chunks.was_read(0, 0.0)
    for _ in range(2 * MOST_PIECES):
        flight.bring("x")
    assert len(told.pieces) == MOST_PIECES
    assert flight.paused_by == {told.chunks}
    told.chunks.was_read(1, 1.0)
    assert MOST_PIECES < len(told.pieces) <= MOST_PIECES + 16, "one part more"
    told.chunks.was_read(2 * MOST_PIECES, 2.0)
    assert len(told.pieces) == 2 * MOST_PIECES
    assert not flight.paused_by


def test_large_pieces_are_bounded_by_their_bytes() -> None:
    told, flight = Told(), FakeFlight()
    told.follow(flight)
    told.chunks.was_read(0, 0.0)
    for _ in range(200):
        flight.bring("x" * 10_000)
    assert MOST_BYTES <= sum(len(part.output) for part in told.parts) <= MOST_BYTES + CHUNK_BYTES
    assert flight.paused_by


def test_the_next_flight_of_a_request_that_is_not_read_is_paused_too() -> None:
    told, first, second = Told(), FakeFlight(), FakeFlight()
    told.follow(first)
    told.chunks.was_read(0, 0.0)
    first.bring(*"x" * MOST_PIECES)
    told.follow(second)
    assert (first.paused_by, second.paused_by) == (set(), {told.chunks})
    told.chunks.end()
    assert second.paused_by == set()


def test_a_slot_that_is_lifted_is_told_everything() -> None:
    told, flight = Told(), FakeFlight()
    told.follow(flight)
    told.chunks.was_read(0, 0.0)
    flight.bring(*"x" * 3 * MOST_PIECES)
    assert told.slot.lift is not None
    told.slot.lift()
    assert len(told.pieces) == 3 * MOST_PIECES
    assert not flight.paused_by
