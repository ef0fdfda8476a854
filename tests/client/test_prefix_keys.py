"""The keys of prompts: where they go, how they spread, and what they are made of."""

from collections import Counter
from statistics import mean
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.broker.partitioner import partition_of
from inferstream.pipeline.client.envelope import Envelope, request_message
from inferstream.pipeline.client.prefix_keys import (
    DEEP,
    SPREAD,
    Beginning,
    PrefixKeys,
    beginning_of,
    conversation_key,
)
from inferstream.schemas.messages import Request
from inferstream.schemas.topics import ANY_ORDER, Header

counts = st.integers(1, 60)
hashes = st.integers(0, 2**64 - 1)


class Line(NamedTuple):
    role: str
    content: str


def conversation(system: str, *turns: str) -> list[Line]:
    roles = ("user", "assistant")
    return [Line("system", system), *(Line(roles[n % 2], turn) for n, turn in enumerate(turns))]


def partitions_of(partitions: int, beginnings: list[Beginning], spread: int = SPREAD) -> list[int]:
    """Where they go, each answered before the next one is sent."""
    keys = PrefixKeys(partitions)
    found = []
    for beginning in beginnings:
        key = keys.take(beginning, spread)
        keys.end(key)
        found.append(partition_of(key, partitions))
    return found


@given(partitions=counts, spread=counts, prefix=hashes, starts=st.lists(hashes, min_size=1, max_size=99))
def test_one_prefix_has_at_most_spread_partitions(
    partitions: int, spread: int, prefix: int, starts: list[int]
) -> None:
    beginnings = [Beginning(prefix, start) for start in starts]
    found = partitions_of(partitions, beginnings, spread)
    assert len(set(found)) <= min(spread, partitions)
    again = partitions_of(partitions, beginnings, spread)
    assert again == found, "another client finds the same"


@given(
    partitions=counts, spread=counts, beginning=st.builds(Beginning, hashes, hashes), waves=st.integers(1, 3)
)
def test_a_prefix_that_all_requests_share_fills_no_partition(
    partitions: int, spread: int, beginning: Beginning, waves: int
) -> None:
    keys = PrefixKeys(partitions)
    waiting = [keys.take(beginning, spread) for _ in range(partitions * DEEP * waves)]
    filled = Counter(partition_of(key, partitions) for key in waiting)
    assert filled == dict.fromkeys(range(partitions), DEEP * waves)
    for key in waiting:
        keys.end(key)
    assert not keys._waiting
    assert keys.take(beginning, spread) == waiting[0], "it comes home when there is room"


def test_those_of_one_prefix_are_spread_evenly() -> None:
    beginnings = [beginning_of(conversation("Be brief.", f"question {n}")) for n in range(4_000)]
    filled = Counter(partitions_of(12, beginnings))
    assert len(filled) == SPREAD
    assert all(900 < count < 1_100 for count in filled.values())


@pytest.mark.parametrize("partitions", [1, 2, 3, 12, 30, 64])
def test_many_prefixes_fill_all_partitions_evenly(partitions: int) -> None:
    beginnings = [beginning_of(f"question {n} of many") for n in range(1_000 * partitions)]
    filled = Counter(partitions_of(partitions, beginnings))
    assert sorted(filled) == list(range(partitions))
    assert max(filled.values()) < 1.15 * mean(filled.values())


def test_two_prefixes_with_one_home_seldom_share_their_other_partitions() -> None:
    orders: dict[int, set[frozenset[int]]] = {}
    for number in range(2_000):
        prefix = beginning_of(str(number)).prefix
        beginnings = [Beginning(prefix, start) for start in range(SPREAD)]
        home, *others = partitions_of(12, beginnings)
        orders.setdefault(home, set()).add(frozenset(others))
    assert all(len(others) == 4 for others in orders.values()), "as many as there are steps: 1, 5, 7, 11"


def test_the_turns_of_a_conversation_and_equal_requests_meet() -> None:
    turns = ["Hello", "Hi. What is it?", "My invoice is wrong.", "Which one?", "March."]
    found = {beginning_of(conversation("Be brief.", *turns[:count])) for count in (1, 3, 5)}
    assert len(found) == 1
    assert beginning_of(conversation("Be brief.", "Good evening")).prefix == found.pop().prefix


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (conversation("Be brief.", "a"), conversation("Be long.", "a")),
        ([Line("system", "ab"), Line("user", "c")], [Line("system", "a"), Line("user", "bc")]),
        ([Line("system", "a")], [Line("developer", "a")]),
        ("a" * 128 + "b", "a" * 127 + "b"),
        ([], ""),
    ],
)
def test_what_differs_is_told_apart(one: str | list[Line], other: str | list[Line]) -> None:
    assert beginning_of(one) != beginning_of(other) or not one


def test_prompts_without_a_system_message_begin_with_characters() -> None:
    shared = "Summarize the ticket below in one sentence, and name the product. " * 2
    texts = [f"{shared}{ticket}" for ticket in ("It crashes.", "It is slow.")]
    as_messages = [[Line("user", text)] for text in texts]
    for one, other in (texts, as_messages):
        assert beginning_of(one).prefix == beginning_of(other).prefix
        assert beginning_of(one).start != beginning_of(other).start
    assert beginning_of("\ud83d a half character").prefix


def test_a_key_that_is_near_asks_for_no_order() -> None:
    def sent(envelope: Envelope) -> tuple[bytes | None, bool]:
        message = request_message("t", "r", Request(text="a"), envelope, lambda: 0.0)
        return message.key, (Header.ORDER, ANY_ORDER) in message.headers

    assert sent(Envelope(near=b"prefix-1")) == (b"prefix-1", True)
    assert sent(Envelope(near=b"prefix-1", key=b"chat-7")) == (b"chat-7", False)
    assert sent(Envelope())[1]


def test_any_number_of_partitions() -> None:
    keys = PrefixKeys(5_000)
    taken = [keys.take(beginning_of(str(number))) for number in range(5_000)]
    assert len(set(taken)) > 2_500


names = st.text(max_size=6) | st.sampled_from(["a", "a:b", "b:c", "c", "1:a:c", "1"])


@given(one=st.tuples(names, names), other=st.tuples(names, names))
def test_tenants_share_no_conversation(one: tuple[str, str], other: tuple[str, str]) -> None:
    (tenant, name), (other_tenant, other_name) = one, other
    if tenant and other_tenant and one != other:
        assert conversation_key(name, tenant) != conversation_key(other_name, other_tenant)
    assert conversation_key(name, "") == conversation_key(name, None) == name.encode(errors="replace")
