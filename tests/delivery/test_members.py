"""Members of a group know what the others can answer, whatever is on their topic."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.broker.base import Record
from inferstream.pipeline.broker.partitioner import partition_of
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.delivery.members import LIVES_S, MAX_MEMBERS, Members
from inferstream.pipeline.delivery.routing import MemberRoute
from inferstream.schemas.codec import DecodeError
from inferstream.schemas.members import MAX_ANNOUNCEMENT_BYTES, Member, decode_member
from inferstream.schemas.topics import Header

OLD = Member("a", "g", ["old"], [0, 1])
NEW = Member("b", "g", ["old", "new"], [2, 3])
PARTITIONS = 4


def known(clock: FakeClock, *members: Member) -> Members:
    found = Members("g", clock)
    for member in members:
        found.hear(member)
    return found


def test_a_model_that_only_one_member_has_is_asked_of_its_partitions(clock: FakeClock) -> None:
    members = known(clock, OLD, NEW)
    keys = [b"%d" % number for number in range(50)]
    found = {key: members.partition_for("new", key, PARTITIONS) for key in keys}
    for key, partition in found.items():
        own = partition_of(key, PARTITIONS)
        assert partition is None if own in NEW.partitions else partition in NEW.partitions
    assert set(found.values()) == {None, 2, 3}
    assert members.partition_for("new", None, PARTITIONS) in NEW.partitions
    assert found == {key: members.partition_for("new", key, PARTITIONS) for key in keys}, "equal keys"


@pytest.mark.parametrize("model", ["old", "unknown"])
def test_the_key_chooses_where_all_members_have_the_model_or_none_has(clock: FakeClock, model: str) -> None:
    assert known(clock, OLD, NEW).partition_for(model, b"key", PARTITIONS) is None


def test_a_member_that_leaves_or_is_silent_counts_no_more(clock: FakeClock) -> None:
    members = known(clock, OLD, NEW)
    assert members.lacking("new") == ["a"]
    members.hear(msgspec.structs.replace(OLD, leaves=True))
    assert members.lacking("new") == []
    members.hear(OLD)
    clock.advance(LIVES_S - 1)
    members.hear(NEW)
    clock.advance(2)
    assert members.living == ["b"]


def test_an_old_announcement_and_one_of_another_group_do_not_count(clock: FakeClock) -> None:
    members = known(clock, msgspec.structs.replace(OLD, group="another"))
    members.hear(NEW, age_s=LIVES_S + 1)
    assert members.living == []


def test_many_announcements_do_not_fill_the_memory(clock: FakeClock) -> None:
    members = known(clock, *(Member(f"m{number}", "g") for number in range(MAX_MEMBERS + 7)))
    assert len(members.living) == MAX_MEMBERS
    assert "m0" not in members.living


@given(st.lists(st.integers(-5, 2**40), max_size=8), st.one_of(st.none(), st.binary()))
def test_no_announcement_leads_to_a_partition_that_is_not_there(
    numbers: list[int], key: bytes | None
) -> None:
    members = known(FakeClock(), OLD, Member("b", "g", ["new"], numbers))
    found = members.partition_for("new", key, PARTITIONS)
    assert found is None or (0 <= found < PARTITIONS and found in numbers)
    assert members.partition_for("new", key, 0) is None, "nothing is known of the topic yet"


def test_a_record_is_routed_by_the_model_that_it_names(clock: FakeClock) -> None:
    route = MemberRoute(known(clock, OLD, NEW), lambda: PARTITIONS)
    key = next(b"%d" % number for number in range(99) if partition_of(b"%d" % number, PARTITIONS) == 0)

    def a_record(*headers: tuple[str, bytes]) -> Record:
        return Record("t", 0, 0, key, b"", headers, 0)

    assert route.partition(a_record((Header.MODEL, b"new"))) in NEW.partitions
    assert route.partition(a_record((Header.MODEL, b"\xff"))) is None
    assert route.partition(a_record()) is None


@pytest.mark.parametrize(
    "value", [None, b"", b"{}", b"[" * 9_000, b'{"name": 1, "group": "g"}', b"\xff", b" " * 16_001]
)
def test_what_is_no_announcement_is_refused(value: bytes | None) -> None:
    with pytest.raises(DecodeError):
        decode_member(value)


def test_an_announcement_of_a_later_version_is_read(clock: FakeClock) -> None:
    body = {"name": "a", "group": "g", "models": ["m"], "cores": 4}
    assert decode_member(json.dumps(body).encode()) == Member("a", "g", ["m"])
    assert MAX_ANNOUNCEMENT_BYTES >= 16_000
