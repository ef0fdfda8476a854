"""Requests of the worst kind of each sort: on the event loop each takes little time, linear in its size."""

import json
import time

import pytest
from support.engine_rig import an_engine_rig
from support.handler_rig import TOPICS, a_slot, handler_over, outcome_of

from inferstream.pipeline.broker.base import Headers, Record
from inferstream.pipeline.config import LimitConfig
from inferstream.pipeline.delivery.outcome import Outcome
from inferstream.schemas.topics import Header

SIZE = 1_000_000
LIMITS = LimitConfig(max_request_bytes=10**8, max_reply_bytes=10**8)
BOUND_S = 2.0
"""Each takes 12 ms at most (measured); 0.25 MB of marks took 33 s of the interpreter lock."""


def record(value: bytes, headers: Headers = (), key: bytes | None = None) -> Record:
    return Record(TOPICS.requests, 0, 0, key, value, headers, 0)


def body(text: str) -> bytes:
    return json.dumps({"text": text}, ensure_ascii=False).encode()


def with_header(name: str, value: bytes) -> Record:
    return record(body("a"), ((name, value),))


WORST = {
    "words": record(body("card " * (SIZE // 5))),
    "combining marks": record(body("a" + "\u0301\u0316" * (SIZE // 4))),
    "combining marks, escaped": record(
        b'{"text":"' + rb"\u0301\u0316" * (SIZE // 12) + b'"}',
    ),
    "runs of just the limit": record(body(("a" + "\u0301\u0316" * 15) * (SIZE // 61))),
    "spaces before a word": record(body("\u3000" * (SIZE // 3) + "x")),
    "a body of spaces": record(b" " * SIZE),
    "a late byte that is not UTF-8": record(body("a" * SIZE)[:-2] + b"\xff"),
    "nested arrays": record(b"[" * SIZE),
    "nested objects": record(b'{"a":' * (SIZE // 5)),
    "a whole number": record(b'{"text":"a","options":{"n":' + b"1" * SIZE + b"}}"),
    "a fraction": record(b'{"text":"a","options":{"n":0.' + b"1" * SIZE + b"}}"),
    "many options": record(json.dumps({"text": "a", "options": dict.fromkeys(range(SIZE // 12))}).encode()),
    "a field again and again": record(b"{" + b'"id":"a",' * (SIZE // 9) + b'"text":"b"}'),
    "an id of escapes that never ends": record(b'{ "id": "' + b'\\"' * (SIZE // 2)),
    "a long id": record(json.dumps({"id": "a" * SIZE, "text": "b"}).encode()),
    "a long task": record(json.dumps({"task": "a" * SIZE, "text": "b"}).encode()),
    "halves of surrogate pairs": record(b'{"text":"' + rb"\ud800" * (SIZE // 6) + b'"}'),
    "a long key": record(body("a"), key=b"k" * SIZE),
    "100 000 headers": record(body("a"), tuple((f"h{number}", b"v") for number in range(100_000))),
    "one header 100 000 times": record(body("a"), ((Header.MODEL, b"v"),) * 100_000),
    "a model of marks": with_header(Header.MODEL, ("a" + "\u0301\u0316" * (SIZE // 4)).encode()),
    "a long tenant": with_header(Header.TENANT, b"t" * SIZE),
    "a deadline of digits": with_header(Header.DEADLINE_MS, b"9" * SIZE),
    "a deadline of underscores": with_header(Header.DEADLINE_MS, b"9_" * (SIZE // 2) + b"9"),
    "a deadline behind spaces": with_header(Header.DEADLINE_MS, b" " * SIZE + b"1"),
    "a long priority": with_header(Header.PRIORITY, b"high" * (SIZE // 4)),
    "a long reply topic": with_header(Header.REPLY_TOPIC, b"\xff" * SIZE),
    "an attempt of digits": with_header(Header.ATTEMPT, b"9" * SIZE),
    "an origin of slashes": with_header(Header.ORIGIN, b"a/" * (SIZE // 2)),
}


@pytest.mark.parametrize("kind", WORST)
async def test_the_worst_request_of_each_kind_holds_the_event_loop_for_milliseconds(kind: str) -> None:
    async with an_engine_rig(max_tokens=10 * SIZE) as rig:
        handler = handler_over(rig.engine, limits=LIMITS)
        await outcome_of(handler, record(body("the reply topic is known from now on")))
        slot = a_slot(WORST[kind])
        began = time.thread_time()
        found = handler.handle(WORST[kind], slot)
        assert time.thread_time() - began < BOUND_S
        if not isinstance(found, Outcome):
            found.close()
