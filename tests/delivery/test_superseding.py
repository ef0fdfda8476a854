"""A partial that waits ends when a newer request supersedes it; what is final, or on the device, is answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.engine_rig import EngineRig, an_engine_rig
from support.handler_rig import NOW_S, TOPICS, handled, handler_over, only, outcome_of

from inferstream.pipeline.broker.base import Record
from inferstream.pipeline.config import RetryConfig
from inferstream.pipeline.delivery.admission import Admission
from inferstream.pipeline.delivery.arrival import Arrival, header_map
from inferstream.pipeline.delivery.cancels import MAX_SUPERSEDED_BYTES, Cancels
from inferstream.pipeline.delivery.outcome import Outcome
from inferstream.pipeline.delivery.retries import Attempt, to_retry_topic
from inferstream.pipeline.telemetry import WorkerMetrics
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Chunk, Failure, Result
from inferstream.schemas.topics import Header

NOW_MS = round(NOW_S * 1e3)
IN_PLACE = RetryConfig(tiers_s=[30], max_attempts=3, in_place_s=60.0, budget_share=1.0)
KEY = b"call"


def a_record(
    identity: str,
    text: str,
    *,
    final: bool = False,
    supersedes: str | None = None,
    headers: tuple[tuple[str, bytes], ...] = (),
    at_ms: int = NOW_MS,
    offset: int = 41,
) -> Record:
    body = {"id": identity, "text": text, "final": final, "supersedes": supersedes}
    return Record(TOPICS.requests, 1, offset, KEY, json.dumps(body).encode(), headers, at_ms)


class StreamRig:
    """A handler over an engine with one lane; ``now`` is the clock of the engine."""

    def __init__(self, engine: EngineRig) -> None:
        self.engine = engine
        self.whole = WorkerMetrics()
        self.metrics = self.whole.of_task("echo")
        self.admission = Admission(4)
        self.cancels = Cancels(None, self.metrics)
        self.handler = handler_over(
            engine.engine,
            retries=IN_PLACE,
            metrics=self.metrics,
            admission=self.admission,
            cancels=self.cancels,
        )

    def send(self, identity: str, text: str, **more: object) -> "asyncio.Task[Result | Failure]":
        return asyncio.create_task(self.reply(a_record(identity, text, **more)))  # type: ignore[arg-type]

    async def reply(self, record: Record) -> Result | Failure:
        reply = decode_reply(only(await outcome_of(self.handler, record)).value)
        assert isinstance(reply, Result | Failure)
        return reply

    async def blocked(self) -> "asyncio.Task[Result | Failure]":
        """A request that keeps the device until it is released."""
        self.engine.session.stall()
        task = self.send("blocking", "blocking", final=True)
        await self.engine.begun(1)
        return task

    async def waits(self, rows: int) -> None:
        await self.engine.waits(rows)

    def run_one_by_one(self) -> None:
        """No two rows share a batch from now on."""
        queue = self.engine.device.batcher.phases["run"]
        queue.limits = queue.limits._replace(max_rows=1)

    @property
    def superseded(self) -> float:
        """How many requests were counted as superseded."""
        (family,) = self.whole.cancels.collect()
        counted = {one.labels["reason"]: one.value for one in family.samples if one.name.endswith("_total")}
        return counted.get("superseded", 0.0)

    @property
    def ran(self) -> list[str]:
        """The texts that reached the device, in order."""
        rows = [row for ids in self.engine.session.runs for row in ids.tolist()]
        return ["".join(map(chr, row)).rstrip("\0") for row in rows]


@asynccontextmanager
async def a_stream_rig(**more: object) -> AsyncIterator[StreamRig]:
    async with an_engine_rig(lanes=1, **more) as engine:  # type: ignore[arg-type]
        rig = StreamRig(engine)
        await rig.reply(a_record("warm", "warm", final=True))  # asks for the reply topic
        engine.session.runs.clear()
        yield rig


def code_of(reply: Result | Failure) -> str:
    return reply.code if isinstance(reply, Failure) else "result"


async def settle() -> None:
    """Let the event loop do what it can: what another thread does has a condition of its own."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_partial_that_waits_ends_without_reaching_the_device() -> None:
    async with a_stream_rig() as rig:
        blocking = await rig.blocked()
        first = rig.send("s/0/0", "one")
        await rig.waits(1)
        second = rig.send("s/0/1", "one two", supersedes="s/0/0")
        ended = await first
        assert isinstance(ended, Failure)
        assert (ended.id, ended.code, ended.retryable) == ("s/0/0", "superseded", False)
        final = rig.send("s/0/2", "one two three", supersedes="s/0/1", final=True)
        assert code_of(await second) == "superseded"
        rig.engine.session.release()
        assert [code_of(await final), code_of(await blocking)] == ["result", "result"]
        assert rig.ran == ["blocking", "one two three"]
        assert rig.superseded == 2


async def test_a_final_is_never_superseded() -> None:
    async with a_stream_rig() as rig:
        blocking = await rig.blocked()
        final = rig.send("s/0/0", "one", final=True)
        await rig.waits(1)
        newer = rig.send("s/1/0", "two", supersedes="s/0/0", final=True)
        rig.engine.session.release()
        replies = await asyncio.gather(blocking, final, newer)
        assert [code_of(reply) for reply in replies] == ["result"] * 3
        again = await rig.reply(a_record("s/0/0", "one", final=True))
        assert code_of(again) == "result"
        assert rig.superseded == 0


async def test_a_plain_request_is_final() -> None:
    async with a_stream_rig() as rig:
        blocking = await rig.blocked()
        plain = Record(TOPICS.requests, 1, 41, KEY, b'{"id":"a","text":"plain"}', (), NOW_MS)
        waiting = asyncio.create_task(rig.reply(plain))
        await rig.waits(1)
        newer = rig.send("b", "newer", supersedes="a")
        rig.engine.session.release()
        replies = await asyncio.gather(blocking, waiting, newer)
        assert [code_of(reply) for reply in replies] == ["result"] * 3


async def test_a_partial_on_the_device_is_answered_and_one_that_was_read_again_is_not() -> None:
    async with a_stream_rig() as rig:
        rig.engine.session.stall()
        first = rig.send("s/0/0", "one")
        await rig.engine.begun(1)
        second = rig.send("s/0/1", "one two", supersedes="s/0/0")
        await rig.waits(1)
        assert not first.done()
        rig.engine.session.release()
        assert [code_of(await first), code_of(await second)] == ["result", "result"]
        assert code_of(await rig.reply(a_record("s/0/0", "one"))) == "superseded"


@pytest.mark.parametrize("is_busy", [True, False])
async def test_both_in_one_poll(is_busy: bool) -> None:
    async with a_stream_rig() as rig:
        if is_busy:
            await rig.blocked()
        older = handled(rig.handler, a_record("s/0/0", "one"))
        newer = handled(rig.handler, a_record("s/0/1", "one two", supersedes="s/0/0"))
        assert not isinstance(older, Outcome)
        assert not isinstance(newer, Outcome)
        ending = asyncio.ensure_future(older)
        reply = decode_reply(only(await ending).value)
        assert isinstance(reply, Failure)
        assert reply.code == "superseded"
        rig.engine.session.release()
        assert isinstance(decode_reply(only(await newer).value), Result)
        assert rig.ran[-1] == "one two"
        assert "one" not in rig.ran
        assert len(rig.engine.engine.flights) == 0


async def test_a_partial_that_ends_in_its_poll_ends_the_one_before_it_that_waits() -> None:
    async with a_stream_rig() as rig:
        await rig.blocked()
        first = rig.send("s/0/0", "one")
        await rig.waits(1)  # it waits for the device
        second = handled(rig.handler, a_record("s/0/1", "one two", supersedes="s/0/0"))
        third = handled(rig.handler, a_record("s/0/2", "one two three", final=True, supersedes="s/0/1"))
        assert not isinstance(second, Outcome)
        assert not isinstance(third, Outcome)
        reply = decode_reply(only(await second).value)
        assert isinstance(reply, Failure)
        assert reply.code == "superseded"
        async with asyncio.timeout(30):
            assert code_of(await first) == "superseded"
        rig.engine.session.release()
        assert isinstance(decode_reply(only(await third).value), Result)
        assert "one" not in rig.ran


async def test_the_newest_partial_of_a_poll_takes_the_place_of_the_one_that_waits() -> None:
    async with a_stream_rig() as rig:
        await rig.blocked()  # of the tenant without a name
        mine = ((Header.TENANT, b"mine"),)
        other = rig.send("s/9/0", "nine", headers=mine)
        first = rig.send("s/0/0", "one", headers=mine)
        await rig.waits(2)  # both wait, and the tenant's share is full
        polled = [
            handled(
                rig.handler,
                a_record(f"s/0/{number}", "word " * number, headers=mine, supersedes=f"s/0/{number - 1}"),
            )
            for number in (1, 2, 3)
        ]
        answers = [asyncio.ensure_future(found) for found in polled if not isinstance(found, Outcome)]
        assert code_of(await first) == "superseded"
        rig.engine.session.release()
        replies = [decode_reply(only(await answer).value) for answer in answers]
        assert [code_of(reply) for reply in replies if not isinstance(reply, Chunk)] == [
            "superseded",
            "superseded",
            "result",
        ]
        assert code_of(await other) == "result"


async def test_an_older_one_that_comes_later_from_a_retry_topic_ends_when_it_is_read() -> None:
    async with a_stream_rig() as rig:
        assert code_of(await rig.reply(a_record("s/0/1", "one two", supersedes="s/0/0"))) == "result"
        first = a_record("s/0/0", "one", at_ms=NOW_MS - 300)
        retried = to_retry_topic(
            Arrival(first, header_map(first), TOPICS.replies),
            TOPICS,
            Attempt(1, "device_unavailable", NOW_MS, "w"),
            30,
        )
        back = first._replace(headers=retried.headers, timestamp_ms=NOW_MS + 30_000, offset=99)
        assert code_of(await rig.reply(back)) == "superseded"
        assert rig.ran == ["one two"]


async def test_a_partial_that_waits_for_its_retry_in_place_ends_at_once() -> None:
    async with a_stream_rig() as rig:
        rig.engine.session.max_padded_tokens = 0
        waiting = rig.send("s/0/0", "one")
        await rig.engine.begun(1)
        async with asyncio.timeout(10):
            while len(rig.engine.engine.flights):  # noqa: ASYNC110 - there is nothing to wait for
                await asyncio.sleep(0)
        await settle()
        rig.engine.session.max_padded_tokens = 10_000
        final = rig.send("s/0/1", "one two", supersedes="s/0/0", final=True)
        async with asyncio.timeout(10):  # the retry is due after 30 s
            assert code_of(await waiting) == "superseded"
            assert code_of(await final) == "result"


async def test_a_partial_that_was_superseded_on_the_device_is_not_retried_in_place() -> None:
    async with a_stream_rig() as rig:
        rig.engine.session.max_padded_tokens = 0
        rig.engine.session.stall()
        waiting = rig.send("s/0/0", "one")
        await rig.engine.begun(1)
        final = rig.send("s/0/1", "one two", supersedes="s/0/0", final=True)
        await rig.waits(1)
        assert not waiting.done()
        rig.engine.session.release()
        async with asyncio.timeout(10):  # the retry is due after 30 s
            assert code_of(await waiting) == "superseded"
        final.cancel()


async def test_another_tenants_request_is_not_superseded() -> None:
    async with a_stream_rig() as rig:
        blocking = await rig.blocked()
        waiting = rig.send("s/0/0", "one", headers=((Header.TENANT, b"a"),))
        await rig.waits(1)
        newer = rig.send("s/0/1", "two", supersedes="s/0/0", headers=((Header.TENANT, b"b"),))
        await rig.waits(2)
        assert not waiting.done()
        rig.engine.session.release()
        assert [code_of(reply) for reply in await asyncio.gather(blocking, waiting, newer)] == ["result"] * 3


async def test_a_request_that_is_refused_supersedes_nothing() -> None:
    async with a_stream_rig() as rig:
        await rig.blocked()
        waiting = rig.send("s/0/0", "one")
        await rig.waits(1)
        bad = Record(
            TOPICS.requests,
            1,
            42,
            KEY,
            b'{"id":"s/0/1","text":"two","supersedes":"s/0/0","options":{"no":1}}',
            (),
            NOW_MS,
        )
        late = ((Header.DEADLINE_MS, b"%d" % (NOW_MS - 1)),)
        assert code_of(await rig.reply(bad)) == "unknown_option"
        expired = a_record("s/0/2", "two", supersedes="s/0/0", headers=late)
        assert code_of(await rig.reply(expired)) == "deadline_exceeded"
        await settle()
        assert not waiting.done()
        rig.engine.session.release()
        assert code_of(await waiting) == "result"


async def test_an_answer_from_the_cache_supersedes_too() -> None:
    async with a_stream_rig() as rig:
        await rig.reply(a_record("other", "known", final=True))
        rig.engine.session.runs.clear()
        await rig.blocked()
        waiting = rig.send("s/0/0", "kno")
        await rig.waits(1)
        assert code_of(await rig.reply(a_record("s/0/1", "known", supersedes="s/0/0"))) == "result"
        assert code_of(await waiting) == "superseded"
        rig.engine.session.release()


@pytest.mark.parametrize(
    ("headers", "pause_s"), [((), 1.0), (((Header.DEADLINE_MS, b"%d" % (NOW_MS + 2_000)),), 0.25)]
)
async def test_quick_partials_under_overload_keep_their_place_so_that_one_of_them_is_reached(
    headers: tuple[tuple[str, bytes], ...], pause_s: float
) -> None:
    """Also if each of them has its own deadline, 2 s after it was sent."""
    async with a_stream_rig() as rig:
        blocking = await rig.blocked()
        clock = rig.engine.clock
        partial = rig.send("s/0/0", "p", headers=headers)
        await rig.waits(1)
        clock.advance(0.1)
        rival = rig.send("t/0/0", "rival", headers=headers)
        await rig.waits(2)
        for revision in range(1, 5):
            clock.advance(pause_s)
            newer = rig.send(
                f"s/0/{revision}", "p" * (revision + 1), supersedes=f"s/0/{revision - 1}", headers=headers
            )
            assert code_of(await partial) == "superseded"
            await rig.waits(2)
            partial = newer
        rig.run_one_by_one()
        rig.engine.session.release()
        assert [code_of(reply) for reply in await asyncio.gather(blocking, partial, rival)] == ["result"] * 3
        assert rig.ran == ["blocking", "ppppp", "rival"]


async def test_a_final_passes_partials_that_have_waited_longer_and_shares_no_batch_with_them() -> None:
    async with a_stream_rig() as rig:
        blocking = await rig.blocked()
        partial = rig.send("s/0/0", "partial")
        await rig.waits(1)
        rig.engine.clock.advance(2.0)
        final = rig.send("t/0/0", "a final", final=True)
        await rig.waits(2)
        rig.engine.session.release()
        assert [code_of(reply) for reply in await asyncio.gather(blocking, partial, final)] == ["result"] * 3
        assert [len(run) for run in rig.engine.session.runs] == [1, 1, 1]
        assert rig.ran == ["blocking", "a final", "partial"]


async def test_a_final_passes_partials_in_a_place_that_has_waited_for_longer_than_their_deadline() -> None:
    headers = (
        (Header.DEADLINE_MS, b"%d" % (NOW_MS + 2_000)),
    )  # 2 s after each was sent: it rides on its record
    async with a_stream_rig() as rig:
        blocking = await rig.blocked()
        partial = rig.send("s/0/0", "p", headers=headers)
        await settle()
        for revision in range(1, 5):
            rig.engine.clock.advance(0.6)
            text = "p" * (revision + 1)
            newer = rig.send(f"s/0/{revision}", text, supersedes=f"s/0/{revision - 1}", headers=headers)
            assert code_of(await partial) == "superseded"
            partial = newer
        final = rig.send("t/0/0", "a final", final=True)
        await rig.waits(2)
        rig.engine.session.release()
        assert [code_of(reply) for reply in await asyncio.gather(blocking, partial, final)] == ["result"] * 3
        assert rig.ran == ["blocking", "a final", "ppppp"]


async def test_finals_run_in_the_order_of_their_arrival_however_long_their_partials_have_waited() -> None:
    async with a_stream_rig() as rig:
        blocking = await rig.blocked()
        partial = rig.send("s/0/0", "p")
        await rig.waits(1)
        rig.engine.clock.advance(2.0)
        first = rig.send("t/0/0", "first", final=True)
        await rig.waits(2)
        rig.engine.clock.advance(0.1)
        second = rig.send("s/0/1", "second", final=True, supersedes="s/0/0")
        assert code_of(await partial) == "superseded"
        await rig.waits(2)
        rig.run_one_by_one()
        rig.engine.session.release()
        assert [code_of(reply) for reply in await asyncio.gather(blocking, first, second)] == ["result"] * 3
        assert rig.ran == ["blocking", "first", "second"]


async def test_a_partial_that_takes_a_place_is_not_refused_for_the_work_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refusal would leave the earlier one, behind which all replies of the key would wait."""
    async with a_stream_rig() as rig:
        blocking = await rig.blocked()
        earlier = rig.send("s/0/0", "one")
        await rig.waits(1)
        monkeypatch.setattr(rig.engine.device, "wait_s", lambda flight: 1e6)
        deadline = ((Header.DEADLINE_MS, b"%d" % (NOW_MS + 2_000)),)
        other = a_record("t/0/0", "another stream", headers=deadline)
        assert code_of(await rig.reply(other)) == "overloaded"
        newer = rig.send("s/0/1", "one two", supersedes="s/0/0", headers=deadline)
        rig.engine.clock.advance(0.001)
        assert code_of(await earlier) == "superseded"
        rig.engine.session.release()
        assert [code_of(await blocking), code_of(await newer)] == ["result", "result"]


async def test_one_that_takes_a_place_needs_no_room_of_its_tenant() -> None:
    async with a_stream_rig() as rig:
        await rig.blocked()  # of the tenant without a name
        mine = ((Header.TENANT, b"mine"),)
        waiting = [rig.send(f"s/{number}/0", f"{number}", headers=mine) for number in range(2)]
        await rig.waits(2)
        refused = await rig.reply(a_record("s/9/0", "nine", headers=mine, final=True))
        assert code_of(refused) == "overloaded"
        final = rig.send("s/1/1", "one", headers=mine, final=True, supersedes="s/1/0")
        rig.engine.clock.advance(0.001)
        assert code_of(await waiting[1]) == "superseded"
        await rig.waits(2)
        assert rig.admission.in_progress["mine"] == 2
        rig.engine.session.release()
        assert [code_of(await waiting[0]), code_of(await final)] == ["result", "result"]


async def test_superseding_ends_a_partial_for_all_who_name_it_once() -> None:
    async with a_stream_rig() as rig:
        await rig.blocked()
        first = rig.send("s/0/0", "one")
        await rig.waits(1)
        newer = [rig.send(f"s/0/{n}", f"text {n}", supersedes="s/0/0") for n in range(1, 4)]
        assert code_of(await first) == "superseded"
        rig.engine.session.release()
        assert [code_of(reply) for reply in await asyncio.gather(*newer)] == ["result"] * 3
        assert rig.superseded == 1


async def test_a_partial_of_several_rows_ends_while_a_row_of_it_waits() -> None:
    async with a_stream_rig() as rig:
        await rig.blocked()
        long = rig.send("s/0/0", "x" * 32 * 10)
        await rig.waits(10)
        newer = rig.send("s/0/1", "short", supersedes="s/0/0")
        assert code_of(await long) == "superseded"
        rig.engine.session.release()
        assert code_of(await newer) == "result"
        assert rig.ran == ["blocking", "short"]


@pytest.mark.parametrize(
    ("supersedes", "code", "tells"),
    [
        ("x" * 1_001, "too_large", "`supersedes` is longer"),
        ("s/0/1", "wrong_type", "names the request itself"),
    ],
)
async def test_a_wrong_supersedes_is_refused(supersedes: str, code: str, tells: str) -> None:
    async with a_stream_rig() as rig:
        reply = await rig.reply(a_record("s/0/1", "one", supersedes=supersedes))
        assert isinstance(reply, Failure)
        assert (reply.code, tells in reply.message) == (code, True), reply.message


async def test_requests_that_name_each_other_each_end_once() -> None:
    async with a_stream_rig() as rig:
        await rig.blocked()
        one = rig.send("one", "one", supersedes="two")
        await rig.waits(1)
        two = rig.send("two", "two", supersedes="one")
        rig.engine.session.release()
        assert [code_of(await two), code_of(await one)] == ["superseded", "result"]


async def test_names_that_nobody_asks_for_take_bounded_memory() -> None:
    async with a_stream_rig() as rig:
        for number in range(1_500):
            name = f"{number}".rjust(1_000, "x")
            await rig.reply(a_record(f"{number}", "warm", supersedes=name))
        assert 0 < rig.cancels.superseded.bytes <= MAX_SUPERSEDED_BYTES
        assert 0 < len(rig.cancels.superseded.known) < 1_000
