"""The caller's headers that replies repeat, by a setting, and only as many as fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.broker.base import Headers, Record
from inferstream.pipeline.delivery.arrival import Arrival
from inferstream.pipeline.delivery.replies import MAX_ECHO_BYTES, ReplyBuilder
from inferstream.pipeline.errors import MissingText
from inferstream.schemas.topics import Header, Topics

TOPICS = Topics("echo")


def echoed(patterns: list[str], headers: Headers) -> Headers:
    record = Record(TOPICS.requests, 0, 0, None, b"{}", headers, 0)
    arrival = Arrival(record, dict(headers), TOPICS.replies, 0, "a")
    (reply,) = ReplyBuilder("echo", 1_000, patterns).failure(arrival, MissingText("no")).messages
    return reply.headers


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ([], ["traceparent"]),
        (["correlation-id"], ["traceparent", "Correlation-ID"]),
        (["*correlation*"], ["traceparent", "Correlation-ID", "x-correlation"]),
        (["x-*", "gr\u00f6\u00dfe"], ["traceparent", "x-correlation", "gr\u00f6\u00dfe"]),
        (["["], ["traceparent"]),
    ],
)
def test_headers_are_repeated_by_pattern(patterns: list[str], names: list[str]) -> None:
    headers = tuple(
        (name, b"1") for name in (Header.TRACEPARENT, "Correlation-ID", "x-correlation", "gr\u00f6\u00dfe")
    )
    assert [name for name, _ in echoed(patterns, headers)] == names


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 6_000))))
def test_what_is_repeated_is_bounded(sizes: list[tuple[str, int]]) -> None:
    found = echoed(["*"], tuple((name, b"x" * size) for name, size in sizes))
    assert sum(len(name.encode()) + len(value) for name, value in found) <= MAX_ECHO_BYTES
    assert found == tuple((name, b"x" * size) for name, size in sizes)[: len(found)]
