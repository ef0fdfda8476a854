"""An answer in pieces is that of one model, also if another one has taken its place meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from support.chunks_rig import ChunksRig

from inferstream.pipeline.delivery.arrival import Arrival
from inferstream.pipeline.delivery.resumed import Resumed
from inferstream.pipeline.delivery.resuming import Resuming
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.lab.steps import Steps
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.schemas.messages import Chunk, Failure, Reply, Result

TEXT = "abcdefghij" * 5


class VersionedSteps(Steps):
    resumes = True

    def __init__(self, version: str) -> None:
        super().__init__()
        self.version = version
        self.digest = version.encode()


class Known:
    """Instead of `Resuming`: the same was told of every request."""

    def __init__(self, told: Resumed) -> None:
        self.told = told

    async def resumed(self, arrival: Arrival, epoch: int) -> Resumed:
        return self.told

    def decoded(self, output: bytes) -> Any:
        return Resuming(cast(Any, None), str, cast(Any, None)).decoded(output)


@asynccontextmanager
async def a_rig(told: Resumed | None = None) -> AsyncIterator[tuple[ChunksRig, ModelEntry, ModelEntry]]:
    """It serves the model of the version `old`; ``told``: what was told of all requests, whose answers it resumes."""
    rig = ChunksRig(cast(Resuming, Known(told)) if told else None)
    old, new = (
        rig.entry(VersionedSteps("old"), rig.session),
        rig.entry(VersionedSteps("new"), FakeSession()),
    )
    async with asyncio.timeout(20), rig.engine:
        rig.engine.exchange("steps", {"steps": old})
        yield rig, old, new
        rig.session.release()


async def ask_and_stall(rig: ChunksRig) -> None:
    """Ask, and return when a step is on the device. Pieces were told; a later step will fail, and is tried again."""
    rig.session.stalled_at = 25
    rig.session.gone_at = 30
    rig.ask("t1", TEXT)
    while len(rig.session.runs) <= 25 or not rig.told("t1"):
        rig.acknowledge()
        await asyncio.sleep(0)


def versions(replies: list[Reply]) -> list[str | None]:
    """Of the chunks, then of the end."""
    return list(dict.fromkeys(reply.version for reply in replies if isinstance(reply, Chunk | Result)))


def shown(replies: list[Reply]) -> list[tuple[int, str | None]]:
    return [(reply.from_, reply.version) for reply in replies if isinstance(reply, Chunk)]


async def test_another_attempt_in_place_stays_with_the_model_that_has_told_pieces() -> None:
    async with a_rig() as (rig, old, new):
        await ask_and_stall(rig)
        rig.engine.exchange("steps", {"steps": new, "steps@old": old})
        rig.session.release()
        await rig.until_ended("t1")
        assert isinstance(rig.end("t1"), Result)
        assert rig.told("t1")
        assert versions(rig.replies) == ["old"]


async def test_without_that_model_it_ends_with_a_failure() -> None:
    async with a_rig() as (rig, _, new):
        await ask_and_stall(rig)
        rig.engine.exchange("steps", {"steps": new})
        rig.engine.devices._leaving.clear()
        rig.session.release()
        await rig.until_ended("t1")
        end = rig.end("t1")
        assert isinstance(end, Failure)
        assert (end.code, end.retryable) == ("unknown_model", True)
        assert versions(rig.replies) == ["old"]


async def test_before_anything_is_told_the_new_model_may_answer() -> None:
    async with a_rig() as (rig, _, new):
        rig.session.gone_at = 0
        rig.session.stall()
        rig.ask("t1", TEXT)
        rig.engine.exchange("steps", {"steps": new})
        rig.session.release()
        await rig.until_ended("t1")
        assert versions(rig.replies) in (["old"], ["new"])


@pytest.mark.parametrize(
    ("version", "begins"),
    [
        pytest.param("old", (3, "old"), id="it is here, for a rollback"),
        pytest.param("new", (3, "new"), id="it is the one that is served"),
        pytest.param("gone", (0, "new"), id="it is not here: the answer begins anew"),
    ],
)
async def test_what_another_worker_has_begun_goes_on_with_its_model(
    version: str, begins: tuple[int, str]
) -> None:
    async with a_rig(Resumed(list(TEXT[:3]), 5, 2, version)) as (rig, old, new):
        rig.engine.exchange("steps", {"steps": new, "steps@old": old})
        rig.window.resumes = True
        rig.ask("t1", TEXT, headers=(("attempt", b"2"),))
        await rig.until_ended("t1")
        end = rig.end("t1")
        assert isinstance(end, Result)
        assert (shown(rig.replies)[0], end.version) == (begins, begins[1])
        assert versions(rig.replies) == [begins[1]]
