"""Overload: the device stays useful, a refusal comes at once, and a flood of one tenant leaves others room."""

import asyncio
import json
import math
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from random import Random
from typing import Any, NamedTuple

import pytest
from support.echo import Echo
from support.engine_rig import EngineRig, an_engine_rig
from support.handler_rig import TOPICS, handled, handler_over, outcome_of

from inferstream.pipeline.broker.base import Record
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.delivery.admission import RETRY_AFTER_MS, Admission
from inferstream.pipeline.delivery.handler import Handler
from inferstream.pipeline.delivery.outcome import Outcome, PendingOutcome
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cache.memory import MemoryCache
from inferstream.pipeline.engine.cost import Cost, CostSample
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.runtime.encoder import Encoder
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.runtime.model import RUN
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Failure, Reply, Result
from inferstream.schemas.topics import PRIORITIES, Header

ROWS = 8
LENGTHS = (5, 20)
BEGIN = FakeClock()()


def run_s(rows: int, length: int) -> float:
    """Seconds that the device takes for a batch. It is slow, so that the time of this machine does not matter."""
    return 1.0 + rows * (0.1 + 0.01 * length)


CAPACITY = 0.98 * ROWS / run_s(ROWS, sum(LENGTHS) // 2)
"""Requests a second that the device answers when all wait for it and none has a deadline (measured here)."""


class Asked(NamedTuple):
    """One request of a simulation; ``at`` and ``expires`` are clock seconds."""

    text: str
    at: float
    expires: float = math.inf
    tenant: str = ""
    priority: str = "normal"


class Ended(NamedTuple):
    """The end of a request: "ok" or a code, when, and whether it was known as soon as the request was read."""

    code: str
    at: float
    at_once: bool
    retry_after_ms: int | None


class Gate(FakeSession):
    """A session whose runs end one by one: each acquires ``ends``."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = threading.Semaphore(0)

    def run(self, feeds: Any) -> Any:
        outputs = super().run(feeds)
        assert self.ends.acquire(timeout=20)
        return outputs


class Simulation:
    """A handler over a device whose time is the clock's: nothing depends on how fast this machine is."""

    def __init__(self, admission: Admission | None = None) -> None:
        self.clock = FakeClock()
        self.session = Gate()
        cost = Cost()
        shapes = [(rows, length) for rows in (1, 2, 4, ROWS) for length in (1, 5, 10, 20, 30)]
        cost.fit(CostSample(rows, length, run_s(rows, length) * 1e3) for rows, length in shapes)
        device = Device(
            Encoder(self.session), Limits(4_096, ROWS), {RUN: cost}, LaneSettings(1, self.clock, self.clock)
        )
        self.batcher = device.batcher
        self._put = device.batcher.put
        device.batcher.put = self.put  # type: ignore[method-assign]
        self.engine = Engine(
            {"echo": {"echo-small": ModelEntry(Echo(), device)}},
            memory=MemoryCache(0),
            disk=None,
            clock=self.clock,
        )
        self.handler = handler_over(self.engine, admission=admission, wall_clock=self.clock)
        self.ended: dict[str, Ended] = {}
        self.ran: list[tuple[float, list[str]]] = []
        self._open: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._rows_put = 0
        self._leading = 0

    def put(self, entries: Sequence[Any]) -> None:
        self._put(entries)
        self._rows_put += len(entries)

    async def run(self, asked: Iterable[Asked]) -> dict[str, Ended]:
        """Hand in each request at its time; return how each ended."""
        arrivals = sorted(asked, key=lambda one: one.at, reverse=True)
        while arrivals or self._open:
            if not self._open:
                await self.until(lambda: not self.batcher.busy)  # the lane needs a moment to come back
                self.ask_until(arrivals, arrivals[-1].at)
            await self.until(lambda: len(self.session.runs) > len(self.ran) or not self._open)
            if not self._open:
                continue
            ids = self.session.runs[-1]
            texts = ["".join(chr(code) for code in row if code) for row in ids.tolist()]
            self.ran.append((self.clock(), texts))
            self.ask_until(arrivals, self.clock() + run_s(*ids.shape))
            await self.until(lambda: self.all_wait)
            self.session.ends.release()
            await self.until(lambda texts=texts: self.ended.keys() >= set(texts))  # type: ignore[misc]
        return self.ended

    def ask_until(self, arrivals: list[Asked], end: float) -> None:
        """Let time pass until ``end``, and hand in the requests of that time."""
        while arrivals and arrivals[-1].at <= end:
            one = arrivals.pop()
            self.clock.advance(one.at - self.clock())
            self.ask(one)
        self.clock.advance(end - self.clock())

    def ask(self, one: Asked) -> None:
        flights = len(self.engine.flights)
        found = handled(self.handler, self.record(one))
        if isinstance(found, Outcome):
            self.end(one, found, at_once=True)
            return
        self._leading += len(self.engine.flights) - flights
        self._open.add(one.text)
        task = asyncio.create_task(self.wait(one, found))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def record(self, one: Asked) -> Record:
        headers = [(Header.TENANT, one.tenant.encode()), (Header.PRIORITY, one.priority.encode())]
        if one.expires < math.inf:
            headers.append((Header.DEADLINE_MS, b"%d" % round(one.expires * 1e3)))
        body = json.dumps({"id": one.text, "text": one.text}).encode()
        return Record(TOPICS.requests, 0, 0, None, body, tuple(headers), 0)

    async def wait(self, one: Asked, coming: Any) -> None:
        self.end(one, await coming, at_once=False)

    def end(self, one: Asked, outcome: Outcome, *, at_once: bool) -> None:
        reply = decode_reply(outcome.messages[0].value)
        code, after_ms = (reply.code, reply.retry_after_ms) if isinstance(reply, Failure) else ("ok", None)
        self.ended[one.text] = Ended(code, self.clock(), at_once, after_ms)
        self._open.discard(one.text)

    @property
    def all_wait(self) -> bool:
        """Whether all admitted requests have been prepared."""
        return self._rows_put == self._leading

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.0002)


@asynccontextmanager
async def a_simulation(admission: Admission | None = None) -> AsyncIterator[Simulation]:
    simulation = Simulation(admission)
    async with asyncio.timeout(60), simulation.engine:
        await outcome_of(simulation.handler, asking("", ""))  # the reply topic is known from now on
        yield simulation
        simulation.session.ends.release(1_000)


def load(
    share: float,
    seconds: float,
    *,
    deadline_s: tuple[float, float] = (math.inf, math.inf),
    tenant: str = "",
    priorities: Sequence[str] = PRIORITIES,
) -> list[Asked]:
    """Random arrivals at ``share`` of the capacity."""
    random, asked, at = Random(7), [], BEGIN
    while at < BEGIN + seconds:
        at += random.expovariate(share * CAPACITY)
        text = f"{tenant}{len(asked):05}".ljust(random.randint(*LENGTHS), "x")
        expires = at + (random.uniform(*deadline_s) if deadline_s[0] < math.inf else math.inf)
        asked.append(Asked(text, at, expires, tenant, random.choice(priorities)))
    return asked


def codes(ended: Iterable[Ended]) -> Counter[str]:
    return Counter(end.code for end in ended)


@pytest.mark.parametrize("priorities", [["normal"], PRIORITIES])
@pytest.mark.parametrize("deadline_s", [(15.0, 60.0), (30.0, 60.0)])
async def test_at_three_times_the_capacity_the_device_runs_what_ends_in_time(
    deadline_s: tuple[float, float], priorities: Sequence[str]
) -> None:
    seconds = 300.0
    asked = load(3.0, seconds, deadline_s=deadline_s, priorities=priorities)
    async with a_simulation() as simulation:
        ended = await simulation.run(asked)
    by_text = {one.text: one for one in asked}
    assert ended.keys() == by_text.keys(), "each has one end"
    for began, texts in simulation.ran:
        assert all(by_text[text].expires > began for text in texts), "nothing expired reached the device"
    in_time = {
        text
        for text, end in ended.items()
        if end.code == "ok" and end.at <= min(by_text[text].expires, BEGIN + seconds)
    }
    goodput = len(in_time) / (CAPACITY * seconds)
    print(f"goodput {goodput:.3f}", codes(ended.values()))
    assert codes(ended.values()).keys() <= {"ok", "overloaded", "deadline_exceeded"}
    assert goodput >= 0.9
    refused = [end for end in ended.values() if end.code == "overloaded"]
    assert len(refused) > len(asked) / 2
    assert all(end.at_once and end.retry_after_ms and end.retry_after_ms > 0 for end in refused)


async def test_below_the_capacity_hardly_any_request_is_refused() -> None:
    async with a_simulation() as simulation:
        ended = await simulation.run(load(0.7, 300.0, deadline_s=(15.0, 60.0), priorities=["normal"]))
    assert codes(ended.values())["ok"] >= 0.99 * len(ended)


async def test_an_idle_device_refuses_no_request_whatever_was_learned() -> None:
    """Else a prediction that is too high would never be corrected."""
    async with a_simulation() as simulation:
        await simulation.run(load(3.0, 60.0))
        later = simulation.clock() + 100.0
        ended = await simulation.run([Asked("later", later, later + 2.0)])
    assert ended["later"].code == "ok"


async def test_a_flood_of_one_tenant_leaves_another_its_share() -> None:
    in_flight, seconds = 32, 300.0
    flood, quiet = load(3.0, seconds, tenant="flood"), load(0.2, seconds, tenant="quiet")
    async with a_simulation(Admission(in_flight)) as simulation:
        ended = await simulation.run([*flood, *quiet])
    by_tenant = {
        name: codes(ended[one.text] for one in asked) for name, asked in (("flood", flood), ("quiet", quiet))
    }
    print(by_tenant)
    assert set(by_tenant["quiet"]) == {"ok"}
    assert max(ended[one.text].at - one.at for one in quiet) <= 3 * in_flight / CAPACITY, (
        "nor do they wait long"
    )
    assert set(by_tenant["flood"]) == {"ok", "overloaded"}
    both = by_tenant["flood"]["ok"] + len(quiet)
    assert both >= 0.9 * CAPACITY * seconds, "the device has as much to do as before"
    refused = [end for end in ended.values() if end.code == "overloaded"]
    assert all(end.at_once and end.retry_after_ms for end in refused)


async def test_a_request_that_joins_a_flight_is_not_refused_for_the_wait() -> None:
    async with a_simulation() as simulation:
        for number in range(100):
            simulation.ask(Asked(f"text {number}", BEGIN))
        await simulation.until(lambda: simulation.all_wait)
        late = simulation.record(Asked("text 99", BEGIN, BEGIN + 1.0))
        other = simulation.record(Asked("another", BEGIN, BEGIN + 1.0))
        assert isinstance(handled(simulation.handler, other), Outcome), "refused"
        coming = handled(simulation.handler, late)
        assert not isinstance(coming, Outcome)
        coming.close()
        simulation.session.ends.release(1_000)
        await simulation.until(lambda: len(simulation.ended) == 100)


def asking(text: str, tenant: str) -> Record:
    headers = ((Header.TENANT, tenant.encode()),)
    return Record(TOPICS.requests, 0, 0, None, json.dumps({"text": text}).encode(), headers, 0)


@asynccontextmanager
async def a_share_in_progress() -> AsyncIterator[tuple[Handler, EngineRig]]:
    """Tenant "a" has one text in the cache, and one on the device: its share, since "b" has one there, too."""
    async with an_engine_rig() as rig, asyncio.TaskGroup() as tasks:
        handler = handler_over(rig.engine, admission=Admission(2))
        await reply_of(handler, asking("known", "a"))
        rig.session.stall()
        running = [
            tasks.create_task(reply_of(handler, asking(f"of {tenant}", tenant))) for tenant in ("a", "b")
        ]
        await rig.begun(3)
        yield handler, rig
        rig.session.release()
        for task in running:
            assert isinstance(await task, Result)


async def reply_of(handler: Handler, record: Record) -> Reply:
    return decode_reply((await outcome_of(handler, record)).messages[0].value)


async def test_beyond_its_share_a_tenant_gets_cached_answers() -> None:
    async with a_share_in_progress() as (handler, _):
        found = handled(handler, asking("known", "a"))
        assert isinstance(found, Outcome), "at once"
        reply = decode_reply(found.messages[0].value)
        assert isinstance(reply, Result)
        assert reply.cache == "memory"


@pytest.mark.parametrize("text", ["new", "of a"])
async def test_beyond_its_share_a_tenant_gets_neither_a_run_nor_a_flight_to_join(text: str) -> None:
    async with a_share_in_progress() as (handler, rig):
        for _ in range(3):
            reply = await reply_of(handler, asking(text, "a"))
            assert isinstance(reply, Failure)
            assert (reply.code, reply.retry_after_ms) == ("overloaded", RETRY_AFTER_MS)
            assert "share" in reply.message
        assert len(rig.engine.flights) == 2, "the requests in progress are not touched"
    assert len(rig.session.runs) == 3


async def test_the_records_of_one_poll_do_not_pass_the_share() -> None:
    """They are handled one after another, and no task has its turn in between."""
    async with an_engine_rig() as rig:
        admission = Admission(8)
        handler = handler_over(rig.engine, admission=admission)
        await outcome_of(handler, asking("", ""))  # the reply topic is known from now on

        def begun(tenant: str, records: int) -> list[PendingOutcome]:
            found = [handled(handler, asking(f"{number} of {tenant}", tenant)) for number in range(records)]
            return [one for one in found if not isinstance(one, Outcome)]

        other, flood = begun("b", 1), begun("a", 20)
        assert len(flood) == 4, "its share"
        assert admission.in_progress == {"a": 4, "b": 1}
        first, *lost = flood
        assert isinstance(decode_reply((await first).messages[0].value), Result)
        for pending in (first, *lost, *other):
            pending.close()
        assert admission.in_progress == {}, "also those that never started are no longer counted"


async def test_the_bytes_of_the_requests_in_progress_count_against_the_share() -> None:
    async with an_engine_rig() as rig:
        handler = handler_over(rig.engine, admission=Admission(100, 1_000))
        await outcome_of(handler, asking("", ""))  # the reply topic is known from now on
        asked = [("x" * 400, "a"), ("of b", "b"), ("y" * 400, "a"), ("of a", "a"), ("of b, too", "b")]
        begun = [handled(handler, asking(text, tenant)) for text, tenant in asked]
        refused = [found for found in begun if isinstance(found, Outcome)]
        assert refused == [begun[3]], "the tenant has more than half of the bytes, in two requests"
        assert decode_reply(refused[0].messages[0].value).code == "overloaded"  # type: ignore[union-attr]
        for found in begun:
            if not isinstance(found, Outcome):
                found.close()


async def nothing() -> None:
    pass


def test_a_single_tenant_may_use_the_whole_window_and_several_share_it() -> None:
    admission = Admission(9)
    with ExitStack() as running:
        for _ in range(9):
            assert admission.is_within_share("a")
            running.enter_context(closing(admission.admitted("a", 1, nothing())))
        assert admission.is_within_share("a")
        running.enter_context(closing(admission.admitted("b", 1, nothing())))
        assert admission.is_within_share("b")
        assert not admission.is_within_share("a")
        assert admission.refusal("a").retry_after_ms
        assert admission.is_within_share("c")
    assert admission.is_within_share("a")
    assert admission.in_progress == {}, "a tenant without requests is forgotten"


def test_a_share_is_also_one_of_the_bytes() -> None:
    admission = Admission(100, 1_000)
    with ExitStack() as running:

        def admit(tenant: str, size: int) -> None:
            running.enter_context(closing(admission.admitted(tenant, size, nothing())))

        admit("large", 600)
        assert admission.is_within_share("large"), "no other tenant is active"
        admit("small", 10)
        assert not admission.is_within_share("large"), "one request, and more than half of the bytes"
        assert admission.is_within_share("small")
        assert "600 bytes" in str(admission.refusal("large"))
        admit("small", 480)
        assert admission.is_within_share("small")
        admit("small", 10)
        assert not admission.is_within_share("small")
        assert admission.is_within_share("third"), "the first request of a tenant"
    assert admission.is_within_share("large")
