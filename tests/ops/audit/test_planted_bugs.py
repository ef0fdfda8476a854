"""Worker processes with deliberate bugs that are killed with SIGKILL: the auditor finds the bugs and nothing else."""

import asyncio
import signal
import sys
import time
from pathlib import Path

import pytest
from support.planted_worker import REQUESTS, WINDOWS

from inferstream.pipeline.broker.base import Broker, Message, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.ops.audit.auditor import audit
from inferstream.pipeline.ops.audit.facts import Audited
from inferstream.schemas.codec import encode
from inferstream.schemas.messages import Request
from inferstream.schemas.topics import Topics

PROGRAM = "support.planted_worker"
TIMEOUT_S = 120
LOST = {
    "no bug": [],
    "commit before the acknowledgement": ["unacked-1"],
    "commit past a hole": ["held-3", "unacked-1"],
    "a reply dropped": ["plain-0"],
}


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The folder of an embedded broker, or the address of Kafka."""
    return str(tmp_path) if request.param == "embedded" else str(request.getfixturevalue("kafka"))


def broker_at(place: str) -> Broker:
    return EmbeddedBroker(Path(place)) if "/" in place else KafkaBroker(KafkaConfig(bootstrap=place))


async def run(*arguments: str) -> int:
    """The exit status of a worker process."""
    worker = await asyncio.create_subprocess_exec(sys.executable, "-m", PROGRAM, *arguments)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await worker.wait()
    except TimeoutError:
        worker.kill()
        await worker.wait()
        raise


def test_each_bug_has_an_expected_loss() -> None:
    assert LOST.keys() == WINDOWS.keys()


@pytest.mark.parametrize("bug", LOST)
async def test_the_auditor_finds_what_a_planted_bug_lost(place: str, unique: str, bug: str) -> None:
    topics = Topics("triage", unique)
    async with broker_at(place) as broker:
        await broker.ensure_topics([TopicSpec(name, 1) for name in (topics.requests, topics.replies)])
        for identity in REQUESTS:
            await broker.publish(Message(topics.requests, encode(Request("a text", id=identity))))
    assert await run(place, unique, bug) == -signal.SIGKILL
    assert await run(place, unique, "successor") == 0
    async with broker_at(place) as broker:
        report = await audit(broker, Audited(topics), clock=lambda: time.time() + 1)
    assert report.examples.get("missing", []) == LOST[bug]
    assert report.missing == len(LOST[bug])
    assert report.lost == bool(LOST[bug])
    assert report.results == len(REQUESTS) - len(LOST[bug])
    assert report.duplicated <= len(REQUESTS)
