"""A candidate on a real Kafka, with workers in processes of their own.

Keys stay with their version, and a candidate that is worse is rolled back by itself, without a request that is lost.
"""

import asyncio
import signal
from pathlib import Path

import pytest

from inferstream.pipeline.config import Config, KafkaConfig, RegistryConfig, WindowConfig
from inferstream.pipeline.lab.rollouts.load import TicketLoad
from inferstream.pipeline.lab.rollouts.trial_run import TrialRun, trial_run
from inferstream.pipeline.lab.rollouts.versions import CANDIDATE, STABLE, VersionFault
from inferstream.pipeline.models.releases.alias import Rollout

PATIENCE_S = 100
CANARY = Rollout("canary", 0.2)


@pytest.fixture
def config(kafka: str, unique: str, tmp_path: Path) -> Config:
    return Config(
        kafka=KafkaConfig(bootstrap=kafka, topic_prefix=unique, partitions=4),
        registry=RegistryConfig(url=str(tmp_path / "registry")),
        window=WindowConfig(drain_timeout_ms=5_000),
    )


async def test_a_worse_candidate_is_rolled_back_by_itself(config: Config, tmp_path: Path) -> None:
    fault = VersionFault("errors, and slow", failing=0.3, slower=3)
    async with asyncio.timeout(PATIENCE_S):
        found = await trial_run(config, fault, CANARY, tmp_path, rate=150, calm_s=1, workers=2)
    assert found.seconds is not None
    last = found.history[-1]
    assert (last.number, last.stable, last.candidate, last.rolled_back) == (3, STABLE, None, CANDIDATE)
    reasons = ("of its requests failed", "cost of its batches", "median of its latency")
    assert any(reason in last.reason for reason in reasons)
    assert last.by.startswith("worker ")
    assert found.of_candidate
    assert (found.lost, found.failures) == (0, 0)


async def test_keys_keep_their_version_over_a_rebalance_and_a_restart(config: Config, tmp_path: Path) -> None:
    async with (
        asyncio.timeout(PATIENCE_S),
        TrialRun(config, VersionFault("equal"), tmp_path, workers=2, rollout=CANARY) as run,
    ):
        await run.ready()
        load = TicketLoad(run.broker, run.topics, 150)
        loading = asyncio.create_task(load.run())

        async def answered(more: int) -> None:
            wanted = len(load.ended) + more
            while len(load.ended) < wanted:  # noqa: ASYNC110 - replies come from other processes
                await asyncio.sleep(0.02)

        await answered(300)
        run.processes.pop(0).signal(signal.SIGKILL)
        await answered(300)
        with run.start(7) as third:
            run.processes.append(third)
            await answered(600)
            load.stop()
            await loading
        assert load.answers[CANDIDATE] > 50
        assert load.answers.keys() == {STABLE, CANDIDATE}
        mixed = {key: dict(versions) for key, versions in load.releases.items() if len(versions) > 1}
        assert not mixed
        assert max(sum(versions.values()) for versions in load.releases.values()) > 1
        assert not load.failures
