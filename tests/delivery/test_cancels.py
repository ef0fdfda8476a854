"""A cancelled request ends before the device, in its retry and in the flight; all others are answered as before."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from support.engine_rig import EngineRig, an_engine_rig
from support.handler_rig import NOW_S, TOPICS, handled, handler_over, only, outcome_of

from inferstream.pipeline.broker.base import Record
from inferstream.pipeline.config import RetryConfig
from inferstream.pipeline.delivery.arrival import Arrival, header_map
from inferstream.pipeline.delivery.cancel_memory import KnownCancel, RequestName
from inferstream.pipeline.delivery.cancels import Cancels
from inferstream.pipeline.delivery.handler import Handler
from inferstream.pipeline.delivery.leases import Lease, Leases
from inferstream.pipeline.delivery.outcome import Outcome
from inferstream.pipeline.delivery.retries import Attempt, to_retry_topic
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.telemetry import WorkerMetrics
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Failure, Result
from inferstream.schemas.topics import Header

NOW_MS = round(NOW_S * 1e3)
IN_PLACE = RetryConfig(tiers_s=[30], max_attempts=3, in_place_s=60.0, budget_share=1.0)


class CancelRig:
    """A handler over an engine, and the cancels that it knows."""

    def __init__(self, engine: EngineRig, retries: RetryConfig) -> None:
        self.engine = engine
        self.whole = WorkerMetrics()
        self.metrics = self.whole.of_task("echo")
        self.cancels = Cancels(None, self.metrics)
        self.handler: Handler = handler_over(
            engine.engine, retries=retries, metrics=self.metrics, cancels=self.cancels
        )

    def cancel(
        self, identity: str, reason: str = "cancelled", *, at_ms: int = NOW_MS, tenant: str = ""
    ) -> None:
        self.cancels.add(RequestName(tenant, identity), KnownCancel(at_ms, reason, None))

    def begin(self, identity: str, text: str = "text", **more: object) -> "asyncio.Task[Result | Failure]":
        return asyncio.create_task(self.reply(identity, text, **more))  # type: ignore[arg-type]

    async def reply(
        self,
        identity: str,
        text: str = "text",
        headers: Mapping[str, bytes] | None = None,
        key: bytes | None = None,
        at_ms: int = NOW_MS,
    ) -> Result | Failure:
        outcome = await outcome_of(self.handler, a_record(identity, text, headers, key, at_ms))
        reply = decode_reply(only(outcome).value)
        assert isinstance(reply, Result | Failure)
        return reply

    @property
    def counted(self) -> dict[str, float]:
        """Cancelled requests by reason."""
        (family,) = self.whole.cancels.collect()
        return {one.labels["reason"]: one.value for one in family.samples if one.name.endswith("_total")}


def a_record(
    identity: str,
    text: str = "text",
    headers: Mapping[str, bytes] | None = None,
    key: bytes | None = None,
    at_ms: int = NOW_MS,
) -> Record:
    value = json.dumps({"id": identity, "text": text}).encode()
    return Record(TOPICS.requests, 1, 41, key, value, tuple((headers or {}).items()), at_ms)


@asynccontextmanager
async def a_cancel_rig(retries: RetryConfig = IN_PLACE, **more: object) -> AsyncIterator[CancelRig]:
    async with an_engine_rig(lanes=1, **more) as engine:
        rig = CancelRig(engine, retries)
        await rig.reply("warm", "warm")  # asks for the reply topic
        engine.session.runs.clear()
        yield rig


def code_of(reply: Result | Failure) -> str:
    return reply.code if isinstance(reply, Failure) else "result"


async def settle() -> None:
    """Let the event loop do what it can: what another thread does has a condition of its own."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("reason", ["cancelled", "superseded"])
async def test_a_request_that_was_cancelled_before_it_is_read_runs_no_step(reason: str) -> None:
    async with a_cancel_rig() as rig:
        rig.cancel("a", reason)
        reply = await rig.reply("a")
        assert isinstance(reply, Failure)
        assert (reply.code, reply.retryable, reply.id) == (reason, False, "a")
        assert rig.engine.session.runs == []
        assert rig.counted == {reason: 1}
        assert code_of(await rig.reply("b")) == "result"


async def test_a_cached_answer_to_a_cancelled_request_is_a_failure_all_the_same() -> None:
    async with a_cancel_rig() as rig:
        assert code_of(await rig.reply("a", "known")) == "result"
        rig.cancel("b")
        assert code_of(await rig.reply("b", "known")) == "cancelled"
        assert code_of(await rig.reply("c", "known")) == "result"


async def test_a_cancel_of_another_tenant_has_no_effect() -> None:
    async with a_cancel_rig() as rig:
        rig.cancel("a", tenant="t2")
        rig.cancel("b", tenant="")
        headers = {Header.TENANT: b"t1"}
        assert code_of(await rig.reply("a", headers=headers)) == "result"
        assert code_of(await rig.reply("b", headers=headers)) == "result"
        assert code_of(await rig.reply("a", headers={Header.TENANT: b"t2"})) == "cancelled"


async def test_a_request_that_waits_for_a_lane_runs_no_step_and_its_neighbors_answers_are_the_same() -> None:
    async def answers(cancel: bool) -> tuple[dict[str, bytes], list[list[int]]]:
        async with a_cancel_rig() as rig:
            rig.engine.session.stall()
            running = rig.begin("first", "first")
            await rig.engine.begun(1)
            waiting = {name: rig.begin(name, f"text {name}") for name in ("a", "b", "c")}
            await rig.engine.waits(3)
            if cancel:
                rig.cancel("b")
                assert code_of(await waiting.pop("b")) == "cancelled"
            rig.engine.session.release()
            replies = {name: await task for name, task in {"first": running, **waiting}.items()}
            outputs = {
                name: bytes(reply.output) for name, reply in replies.items() if isinstance(reply, Result)
            }
            return outputs, [row for ids in rig.engine.session.runs for row in ids.tolist()]

    with_cancel, rows = await answers(cancel=True)
    without, all_rows = await answers(cancel=False)
    assert with_cancel == {name: output for name, output in without.items() if name != "b"}
    of_b = [ord(char) for char in "text b"]
    assert of_b in all_rows
    assert of_b not in rows


async def test_a_cancel_while_its_row_runs_ends_the_request_at_once() -> None:
    async with a_cancel_rig() as rig:
        rig.engine.session.stall()
        running = rig.begin("a")
        await rig.engine.begun(1)
        rig.cancel("a")
        assert code_of(await running) == "cancelled"
        rig.engine.session.release()
        assert code_of(await rig.reply("b", "other")) == "result"


async def test_the_rows_are_dropped_when_the_cancel_is_read_and_not_when_the_task_of_the_request_has_its_turn() -> (
    None
):
    async with a_cancel_rig(limits=Limits(64, 2)) as rig:
        rig.engine.session.stall()
        long, other = rig.begin("long", "x" * 32 * 3), rig.begin("other", "y" * 32)
        await rig.engine.begun(1)
        flights = rig.engine.engine.flights._flights.values()
        entries = {flight.size: flight.entries for flight in flights}
        rig.cancel("long")
        assert all(entry.cancelled for entry in entries[32 * 3])
        assert not any(entry.cancelled for entry in entries[32])
        rig.engine.session.release()
        assert [code_of(await long), code_of(await other)] == ["cancelled", "result"]


async def test_of_a_text_of_many_rows_only_those_that_run_are_finished() -> None:
    async with a_cancel_rig(limits=Limits(64, 2)) as rig:
        rig.engine.session.stall()
        long = rig.begin("long", "x" * 32 * 100)
        await rig.engine.begun(1)
        rig.cancel("long")
        assert code_of(await long) == "cancelled"
        rig.engine.session.release()
        assert code_of(await rig.reply("after", "after")) == "result"
        rows = [row for ids in rig.engine.session.runs for row in ids.tolist()]
        assert 1 <= rows.count([ord("x")] * 32) <= 2


async def test_equal_requests_go_on_when_one_of_them_is_cancelled() -> None:
    async with a_cancel_rig() as rig:
        rig.engine.session.stall()
        one, other = rig.begin("one"), rig.begin("other")
        await rig.engine.begun(1)
        rig.cancel("one")
        assert code_of(await one) == "cancelled"
        rig.engine.session.release()
        assert code_of(await other) == "result"
        assert len(rig.engine.session.runs) == 1


async def test_a_request_that_waits_for_its_retry_in_place_ends_at_once() -> None:
    async with a_cancel_rig() as rig:
        rig.engine.session.max_padded_tokens = 0
        waiting = rig.begin("a", key=b"conversation")
        await rig.engine.begun(1)
        async with asyncio.timeout(10):
            while len(rig.engine.engine.flights):  # noqa: ASYNC110 - a lane's thread lands it
                await asyncio.sleep(0.001)
        await settle()
        rig.cancel("a")
        async with asyncio.timeout(10):  # the retry is due after 30 s
            assert code_of(await waiting) == "cancelled"


async def test_a_cancel_that_is_read_between_the_admission_and_the_wait_is_not_missed() -> None:
    async with a_cancel_rig() as rig:
        pending = handled(rig.handler, a_record("a"))
        assert not isinstance(pending, Outcome)
        rig.cancel("a")
        reply = decode_reply(only(await pending).value)
        assert isinstance(reply, Failure)
        assert reply.code == "cancelled"
        assert len(rig.engine.engine.flights) == 0


async def test_a_task_that_is_cancelled_from_outside_raises_also_if_the_request_was_cancelled() -> None:
    async with a_cancel_rig() as rig:
        rig.engine.session.stall()
        running = rig.begin("a")
        await rig.engine.begun(1)
        rig.cancel("a")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        rig.engine.session.release()


async def test_nothing_is_kept_of_requests_that_have_ended() -> None:
    async with a_cancel_rig() as rig:
        await asyncio.gather(*(rig.reply(f"{number}", f"{number}") for number in range(50)))
        assert rig.cancels._running == {}


async def test_a_retried_record_stays_cancelled_and_an_id_that_is_used_again_later_runs() -> None:
    async with a_cancel_rig() as rig:
        rig.cancel("a", at_ms=NOW_MS)
        later_ms = NOW_MS + 60_000
        assert code_of(await rig.reply("a", at_ms=later_ms)) == "result"
        first = a_record("a", at_ms=NOW_MS - 5)
        arrival = Arrival(first, header_map(first), TOPICS.replies)
        for number in (1, 2):
            message = to_retry_topic(arrival, TOPICS, Attempt(number, "device_unavailable", NOW_MS, "w"), 30)
            back = first._replace(headers=message.headers, timestamp_ms=later_ms * number, offset=50 + number)
            assert (
                code_of(await rig.reply("a", headers=dict(back.headers), at_ms=later_ms * number))
                == "cancelled"
            )
            arrival = Arrival(back, header_map(back), TOPICS.replies)
        again = a_record("a", at_ms=later_ms)
        message = to_retry_topic(
            Arrival(again, header_map(again), TOPICS.replies), TOPICS, Attempt(1, "c", later_ms, "w"), 30
        )
        assert code_of(await rig.reply("a", headers=dict(message.headers), at_ms=later_ms * 2)) == "result"


async def test_a_record_that_is_older_than_what_is_known_waits_until_its_cancels_are_known() -> None:
    async with a_cancel_rig() as rig:
        rig.cancels.since_ms = NOW_MS
        old, older = rig.begin("a", at_ms=NOW_MS - 5_000), rig.begin("b", at_ms=NOW_MS - 9_000)
        assert code_of(await rig.reply("c")) == "result"
        async with asyncio.timeout(10):
            await rig.cancels.wanted.wait()
        await settle()
        assert rig.cancels.take_wanted_ms() == NOW_MS - 9_000
        rig.cancel("a")
        rig.cancels.covered(NOW_MS - 5_000)
        assert code_of(await old) == "cancelled"
        assert not older.done()
        await settle()
        assert rig.cancels.take_wanted_ms() == NOW_MS - 9_000
        rig.cancels.covered(NOW_MS - 10_000)
        assert code_of(await older) == "result"


async def test_a_lease_that_ran_out_cancels_the_request_with_a_sentence() -> None:
    async with an_engine_rig(lanes=1) as engine:
        leases = Leases("cancels", lambda _: asyncio.get_running_loop().create_future(), engine.clock)
        rig = CancelRig(engine, IN_PLACE)
        rig.cancels._leases = leases
        await rig.reply("warm", "warm")
        engine.session.stall()
        running = rig.begin("a", headers={Header.LEASE: b"client-1", Header.LEASE_MS: b"2500"})
        await engine.begun(2)
        (holder,) = leases._held["client-1"].holders
        assert leases._held["client-1"].holders[holder][1] == Lease("client-1", 2.5).lasts_s
        holder.lapse()
        reply = await running
        assert isinstance(reply, Failure)
        assert reply.code == "cancelled"
        assert reply.message == "The lease 'client-1' ran out: its client sent no heartbeat for 2.5 s."
        assert rig.counted == {"lease": 1}
        assert leases._held == {}


@pytest.mark.parametrize(
    ("lease_ms", "tells"),
    [
        (b"999", "from 1000 to 3600000"),
        (b"3600001", "from 1000 to 3600000"),
        (b"soon", "got b'soon'"),
        (b"-5", "got b'-5'"),
    ],
)
async def test_a_lease_that_cannot_be_read_is_a_bad_header(lease_ms: bytes, tells: str) -> None:
    async with a_cancel_rig() as rig:
        reply = await rig.reply("a", headers={Header.LEASE: b"client-1", Header.LEASE_MS: lease_ms})
        assert isinstance(reply, Failure)
        assert (reply.code, tells in reply.message) == ("bad_header", True), reply.message
        long = await rig.reply("a", headers={Header.LEASE: b"x" * 201})
        assert code_of(long) == "bad_header"
