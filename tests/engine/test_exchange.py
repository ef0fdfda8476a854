"""The models of a task are exchanged while requests are in the air: each ends on the model that it began with."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.echo import Echo
from support.engine_rig import EngineRig, an_engine_rig
from support.steps_rig import StepsRig, a_steps_rig, text_of, until

from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine_answer import EngineAnswer
from inferstream.pipeline.engine.flight import Flight
from inferstream.pipeline.engine.flight_ends import TooLate
from inferstream.pipeline.engine.job import Job
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.errors import ModelElsewhere
from inferstream.pipeline.lab.steps import Steps, StepsModel
from inferstream.pipeline.runtime.encoder import Encoder
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.runtime.model import RUN
from inferstream.pipeline.tasks.base import Finished
from inferstream.schemas.messages import Request

ALIAS = "echo@prod"


class Published(Echo):
    """An `Echo` of one release; its answers name it."""

    def __init__(self, release: str) -> None:
        super().__init__("echo")
        self.release = release
        self.version = f"version-{release}"
        self.digest = release.encode()

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        return [b'{"by":"%b",' % self.release.encode() + answer[1:] for answer in super().finish(finished)]


def a_device(rig: EngineRig, session: FakeSession) -> Device:
    costs = {RUN: Cost((10.0, 0.01, 0.0001, 1e-7))}
    return Device(Encoder(session), Limits(4_096, 64), costs, LaneSettings(2, rig.clock, rig.clock))


def published(rig: EngineRig, release: str, session: FakeSession | None = None) -> ModelEntry:
    """An entry of this release, on a device of its own."""
    return ModelEntry(Published(release), a_device(rig, session or FakeSession()), release)


def use(rig: EngineRig, *entries: ModelEntry) -> None:
    """The first is the model of the alias; all are known by their releases."""
    named = {f"echo@{entry.release}": entry for entry in entries}
    rig.engine.exchange("echo", {ALIAS: entries[0], **named})


def checked(answer: EngineAnswer) -> str:
    """The release of the answer, which its model, its version and its output agree on."""
    assert b'"by":"%b"' % answer.release.encode() in answer.output
    assert answer.version == f"version-{answer.release}"
    return answer.release


async def left(rig: EngineRig, device: Device) -> None:
    """Return when the engine has stopped the device."""
    while device in rig.engine.devices:
        rig.engine.devices.check()
        await asyncio.sleep(0)
    await rig.engine.devices.stopped()


async def test_a_request_ends_on_the_model_that_it_began_with() -> None:
    async with an_engine_rig() as rig:
        session = FakeSession()
        one, two = published(rig, "one", session), published(rig, "two")
        use(rig, one)
        session.stall()
        before = rig.asked(*[f"text {number}" for number in range(200)])
        await asyncio.to_thread(session.wait_for_runs, 1)
        use(rig, two)
        after = rig.asked(*[f"text {number}" for number in range(200)])
        assert {checked(answer) for answer in await asyncio.gather(*after)} == {"two"}
        assert not any(one.done() for one in before)
        session.release()
        assert {checked(answer) for answer in await asyncio.gather(*before)} == {"one"}


async def test_an_equal_request_joins_no_flight_and_no_cached_answer_of_the_model_before() -> None:
    async with an_engine_rig() as rig:
        session = FakeSession()
        one, two = published(rig, "one", session), published(rig, "two")
        use(rig, one)
        assert checked(await rig.ask("cached")) == "one"
        session.stall()
        (flying,) = rig.asked("flying")
        await asyncio.to_thread(session.wait_for_runs, 2)
        use(rig, two)
        for text in ("cached", "flying"):
            answer = await rig.ask(text)
            assert (checked(answer), answer.cache) == ("two", "miss")
        session.release()
        assert checked(await flying) == "one"
        use(rig, one)
        for text in ("cached", "flying"):
            answer = await rig.ask(text)
            assert (checked(answer), answer.cache) == ("one", "memory")


async def test_a_model_that_is_replaced_is_stopped_when_nothing_flies_on_it() -> None:
    async with an_engine_rig() as rig:
        session = FakeSession()
        one, two = published(rig, "one", session), published(rig, "two")
        use(rig, one)
        session.stall()
        (flying,) = rig.asked("flying")
        await asyncio.to_thread(session.wait_for_runs, 1)
        use(rig, two)
        for _ in range(5):
            rig.engine.devices.check()
        assert one.device in rig.engine.devices
        session.release()
        assert checked(await flying) == "one"
        await left(rig, one.device)
        assert not hasattr(one.device, "model")
        assert checked(await rig.ask("after")) == "two"


async def test_a_model_that_is_kept_answers_by_its_name_and_comes_back() -> None:
    async with an_engine_rig() as rig:
        one, two = published(rig, "one"), published(rig, "two")
        use(rig, one)
        use(rig, two, one)
        for _ in range(5):
            rig.engine.devices.check()
        assert checked(await rig.ask("text")) == "two"
        assert checked(await rig.ask("text", model="echo@one")) == "one"
        with pytest.raises(ModelElsewhere, match=r"'echo@three'.*echo@prod, echo@two, echo@one"):
            await rig.ask("text", model="echo@three")
        use(rig, one, two)
        assert checked(await rig.ask("text")) == "one"


async def test_releases_on_one_device_cost_one_device() -> None:
    async with an_engine_rig() as rig:
        one = published(rig, "one")
        two = ModelEntry(Published("two"), one.device, "two")
        use(rig, one)
        await left(rig, rig.device)
        use(rig, two)
        for _ in range(5):
            rig.engine.devices.check()
        assert list(rig.engine.devices) == [one.device]
        assert checked(await rig.ask("text")) == "two"
        assert rig.engine.devices.find("echo", "version-one") is None, "it has left, and is not kept for ever"


async def test_nothing_is_stopped_while_a_model_is_being_loaded() -> None:
    """It may share a device that nothing else needs."""
    async with an_engine_rig() as rig:
        one, two = published(rig, "one"), published(rig, "two")
        use(rig, one)
        use(rig, two)
        with rig.engine.devices.held():
            for _ in range(5):
                rig.engine.devices.check()
            use(rig, ModelEntry(Published("three"), one.device, "three"), two)
        assert checked(await rig.ask("text")) == "three"


class Turns:
    """Chooses the entries in turn."""

    def __init__(self, *entries: ModelEntry) -> None:
        self.entries = entries
        self.chosen = 0

    def choose(self, job: Job) -> ModelEntry:
        self.chosen += 1
        return self.entries[self.chosen % len(self.entries)]


@pytest.mark.parametrize("more", [{}, {"tenant": "shop"}, {"options": {"shout": True}}, {"model": ALIAS}])
async def test_a_name_may_stand_for_several_models(more: dict[str, Any]) -> None:
    async with an_engine_rig() as rig:
        one, two = published(rig, "one"), published(rig, "two")
        rig.engine.exchange("echo", {ALIAS: Turns(one, two), "echo@one": one})
        answers = [checked(await rig.ask("text", **more)) for _ in range(4)]
        assert answers == ["two", "one"] * 2
        assert checked(await rig.ask("text", model="echo@one")) == "one"
        assert rig.device not in {one.device, two.device}
        await left(rig, rig.device)
        assert len(list(rig.engine.devices)) == 2


async def test_figures_and_faults_are_those_of_all_devices() -> None:
    async with an_engine_rig() as rig:
        session = FakeSession()
        use(rig, published(rig, "one", session))
        session.stall()
        waiting = rig.asked(*[f"text {number}" * 20 for number in range(500)])
        await asyncio.to_thread(session.wait_for_runs, 1)
        await until(lambda: rig.engine.backlog_s > 0)
        session.release()
        await asyncio.gather(*waiting)
        assert rig.engine.backlog_s == pytest.approx(0.0, abs=1e-9)


async def test_exchanges_under_load_lose_nothing_and_mix_nothing() -> None:
    """20 exchanges, some of them back to the model before, while callers come, leave and repeat texts."""
    async with an_engine_rig() as rig:
        answers: Counter[str] = Counter()
        done: list[bool] = []
        entries = [published(rig, "release 0")]
        use(rig, *entries)

        async def call(number: int) -> None:
            turn = 0
            while not done:
                turn += 1
                try:
                    async with asyncio.timeout(0.002 if (number + turn) % 7 == 0 else None):
                        answers[checked(await rig.ask(f"text {(number * turn) % 500}"))] += 1
                except TimeoutError:
                    answers["left"] += 1
                await asyncio.sleep(0)

        callers = [asyncio.create_task(call(number)) for number in range(30)]
        for swap in range(1, 21):
            new = entries[-2] if swap % 5 == 0 else published(rig, f"release {swap}")
            use(rig, new, entries[-1])
            entries.append(new)
            rig.engine.devices.check()
            known = answers[new.release]
            await until(lambda known=known, new=new: answers[new.release] > known)  # type: ignore[misc]
        done.append(True)
        await asyncio.gather(*callers)
        assert set(answers) >= {entry.release for entry in entries[1:]}
        await left(rig, entries[0].device)


class PublishedSteps(Steps):
    """Answers in pieces, of one release."""

    resumes = True

    def __init__(self, release: str) -> None:
        super().__init__(max_characters=10_000)
        self.version = f"version-{release}"
        self.digest = release.encode()


@asynccontextmanager
async def two_steps() -> AsyncIterator[tuple[StepsRig, FakeSession, ModelEntry, ModelEntry]]:
    """A rig that serves the first of two entries, whose session is returned."""
    async with a_steps_rig() as rig:
        sessions = [FakeSession(), FakeSession()]
        entries = []
        for release, session in zip(("one", "two"), sessions, strict=True):
            model = StepsModel(session)
            costs = {phase: Cost((1.0, 0.01, 0.0001, 1e-7)) for phase in model.phases}
            device = Device(model, Limits(4_096, 64), costs, LaneSettings(1, rig.clock, rig.clock))
            entries.append(ModelEntry(PublishedSteps(release), device, release))
        rig.engine.exchange("steps", {"steps": entries[0]})
        try:
            yield rig, sessions[0], entries[0], entries[1]
        finally:
            sessions[0].release()


async def test_an_answer_in_pieces_ends_on_the_model_that_it_began_with() -> None:
    async with two_steps() as (rig, session, _, two):
        session.stall()
        before = rig.asked("abcdef")
        await asyncio.to_thread(session.wait_for_runs, 1)
        rig.engine.exchange("steps", {"steps": two})
        after = await rig.ask("abcdef")
        session.release()
        assert [(one.release, text_of(one)) for one in (await before, after)] == [
            ("one", "abcdef"),
            ("two", "abcdef"),
        ]


async def test_what_was_told_goes_on_with_the_model_that_told_it_or_not_at_all() -> None:
    async with two_steps() as (rig, _, one, two):
        rig.engine.exchange("steps", {"steps": two, "steps@one": one})
        answer = await rig.ask("abcdef", told="xy", told_by="version-one")
        assert (answer.release, text_of(answer)) == ("one", "xycdef")
        rig.engine.exchange("steps", {"steps": two})
        assert rig.engine.devices.find("steps", "version-one"), "it is still there: nothing was checked since"
        while rig.engine.devices.find("steps", "version-one"):
            rig.engine.devices.check()
            await asyncio.sleep(0)
        with pytest.raises(
            ModelElsewhere, match="began this answer, of the version version-one, is not here"
        ):
            await rig.ask("abcdef", told="xy", told_by="version-one")


async def test_an_answer_in_pieces_that_begins_again_stays_with_its_model() -> None:
    """As when a lane has dropped its rows for the deadline of another request, and this one has a later one."""
    async with two_steps() as (rig, _, _, two):
        request = Request(text="abcdef", options={"repeat": 500}, stream=True)
        job = Job("steps", request)
        flight = rig.engine.begin(job)
        assert isinstance(flight, Flight)
        answer = asyncio.create_task(rig.engine.arrive(flight, job))
        await until(lambda: len(flight.pieces) >= 1)
        rig.engine.exchange("steps", {"steps": two})
        flight.fail(TooLate(rig.clock() - 1))
        rig.engine._land([flight])
        assert ((await answer).release, text_of(await answer)) == ("one", "abcdef" * 500)
