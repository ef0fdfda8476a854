"""A candidate that is worse is rolled back: by one worker alone, by several together, and without a registry."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.trial_rig import CANDIDATE, STABLE, TrialRig, until

from inferstream.pipeline.errors import InferstreamError
from inferstream.pipeline.models.releases.alias import (
    AliasState,
    Change,
    Mode,
    Rollout,
    promoted,
    rolled_back,
    tried,
)
from inferstream.pipeline.models.releases.faults import RegistryError
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.models.releases.registry.rollout_files import RolloutFiles, WorkerFigures
from inferstream.pipeline.models.releases.registry.store import ReleaseStore
from inferstream.pipeline.rollouts.figures import RolloutFigures
from inferstream.pipeline.serving.rollouts import watcher as module
from inferstream.pipeline.serving.rollouts.watcher import RolloutWatcher

CHANGE = Change(at="2026-01-01T00:00:00Z", by="a user")
WORSE = RolloutFigures(agreed=60, differed=60)
HALF = RolloutFigures(agreed=4, differed=4)
"""Too few to be sure of, and enough twice."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JUDGED_EVERY_S", 0.01)
    monkeypatch.setattr(module, "SHARED_EVERY_S", 0.02)
    monkeypatch.setattr(module, "AGAIN_S", 0.02)


def an_alias(folder: Path, mode: Mode = "canary") -> Callable[[], ReleaseStore]:
    """A registry in whose alias the candidate is on trial."""

    def store() -> ReleaseStore:
        return open_registry(str(folder))

    first = promoted(None, STABLE, CHANGE)
    store().put_alias("echo", "prod", first)
    store().put_alias("echo", "prod", tried(first, CANDIDATE, Rollout(mode, 0.5), CHANGE))
    return store


def history(store: Callable[[], ReleaseStore]) -> list[AliasState]:
    return store().history("echo", "prod")


async def watched(
    rig: TrialRig, store: Callable[[], ReleaseStore], done: Callable[[], bool], name: str = "w1"
) -> None:
    watching = asyncio.create_task(RolloutWatcher(rig.engine, "echo", store, name).run())
    try:
        async with asyncio.timeout(10):
            await until(done)
    finally:
        watching.cancel()


async def test_a_worse_candidate_is_rolled_back_with_the_reason(tmp_path: Path) -> None:
    store, rig = an_alias(tmp_path), TrialRig()
    rig.trial.figures = WORSE
    await watched(rig, store, lambda: len(history(store)) == 3)
    last = history(store)[-1]
    assert (last.stable, last.candidate, last.rolled_back, last.by) == (STABLE, None, CANDIDATE, "worker w1")
    assert "60 of 120 (50.0%) of the compared answers differ" in last.reason
    assert rig.trial.stopped


async def test_an_equal_candidate_stays(tmp_path: Path) -> None:
    store, rig = an_alias(tmp_path), TrialRig()
    rig.trial.figures = RolloutFigures(agreed=1_000, differed=10)
    files = RolloutFiles(store(), "echo", "prod", 2)
    await watched(rig, store, lambda: bool(files.read()))
    assert len(history(store)) == 2
    assert not rig.trial.stopped


async def test_workers_judge_together(tmp_path: Path) -> None:
    store = an_alias(tmp_path)
    rigs = [TrialRig(), TrialRig()]
    for rig in rigs:
        rig.trial.figures = HALF
    alone = an_alias(tmp_path / "alone")
    files = RolloutFiles(alone(), "echo", "prod", 2)
    await watched(rigs[0], alone, lambda: bool(files.read()))
    assert not rigs[0].trial.stopped
    await asyncio.gather(
        *(
            watched(rig, store, lambda rig=rig: bool(rig.trial.stopped) and len(history(store)) == 3, name)
            for rig, name in zip(rigs, ("w1", "w2"), strict=True)
        )
    )
    assert [state.number for state in history(store)] == [1, 2, 3]


async def test_a_worker_that_cannot_reach_the_registry_keeps_to_the_stable_version() -> None:
    def unreachable() -> ReleaseStore:
        raise RegistryError("The registry cannot be used: no route.")

    rig = TrialRig()
    rig.trial.figures = WORSE
    await watched(rig, unreachable, lambda: bool(rig.trial.stopped))


async def test_a_registry_that_hangs_delays_no_judgement() -> None:
    answering = threading.Event()

    def hanging() -> ReleaseStore:
        answering.wait(10)
        raise RegistryError("The registry cannot be used: it took too long.")

    rig = TrialRig()
    watching = asyncio.create_task(RolloutWatcher(rig.engine, "echo", hanging, "w1").run())
    try:
        async with asyncio.timeout(5):
            await asyncio.sleep(0.05)
            rig.trial.figures = WORSE
            await until(lambda: rig.trial.stopped)
    finally:
        answering.set()
        watching.cancel()


async def test_a_change_of_a_user_is_not_undone(tmp_path: Path) -> None:
    store, rig = an_alias(tmp_path), TrialRig()
    state = promoted(history(store)[-1], CANDIDATE, CHANGE)
    store().put_alias("echo", "prod", state)
    rig.trial.figures = WORSE
    await watched(rig, store, lambda: bool(rig.trial.stopped))
    assert history(store)[-1] == state


async def test_a_candidate_that_was_dropped_elsewhere_answers_no_more(tmp_path: Path) -> None:
    """The follower, which would see it as well, may be loading another model."""
    store, rig = an_alias(tmp_path), TrialRig()
    state = rolled_back(history(store), CHANGE)
    store().put_alias("echo", "prod", state)
    await watched(rig, store, lambda: bool(rig.trial.stopped))
    assert "was changed by a user" in rig.trial.stopped
    assert rig.trial.choose(rig.job("text", rig.key_of(CANDIDATE))) is rig.stable
    assert history(store)[-1] == state


async def test_a_guarded_candidate_is_trusted_when_enough_agree(tmp_path: Path) -> None:
    store, rig = an_alias(tmp_path, "guarded"), TrialRig("guarded")
    rig.trial.figures = RolloutFigures(agreed=2_000, differed=3)
    assert not rig.trial.trusted
    await watched(rig, store, lambda: rig.trial.trusted)
    assert not rig.trial.stopped


async def test_a_candidate_on_which_workers_ended_answers_when_that_is_shared(tmp_path: Path) -> None:
    store = an_alias(tmp_path)
    files = RolloutFiles(store(), "echo", "prod", 2)
    for start in range(1, 4):
        rig = TrialRig(died=1)
        job = rig.job("text", rig.key_of(CANDIDATE))
        assert rig.trial.choose(job) is rig.stable
        rolled_back = start == 3
        name = f"w{start}"
        await watched(rig, store, lambda rig=rig: rig.trial.begun or rig.trial.stopped, name)  # type: ignore[misc]
        assert sum(one.figures.crashes for one in files.read()) == start
        assert bool(rig.trial.stopped) is rolled_back
        assert rig.trial.choose(job) is (rig.stable if rolled_back else rig.candidate)


def test_figures_are_replaced_and_what_is_damaged_is_passed_over(tmp_path: Path) -> None:
    store = open_registry(str(tmp_path))
    files = RolloutFiles(store, "echo", "prod", 2)
    assert files.read() == []
    for differed in (1, 2):
        figures = RolloutFigures(differed=differed)
        figures.candidate.latency[-7] = 3
        files.put(WorkerFigures("host/1", "2026-01-01T00:00:00Z", figures))
    (found,) = files.read()
    assert (found.worker, found.figures.differed, found.figures.candidate.latency) == ("host/1", 2, {-7: 3})
    folder = tmp_path / "figures/echo/prod/00000002"
    (folder / "broken.json").write_bytes(b"{")
    (folder / "host_1.new").write_bytes(b"half")
    assert files.read() == [found]
    files.put(found)
    with pytest.raises(ValueError, match="prod"):
        RolloutFiles(store, "..", "prod", 2)
    assert issubclass(RegistryError, InferstreamError)
