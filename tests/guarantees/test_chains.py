"""A chain with real worker processes: each step is killed in turn, and every request ends once for its caller."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
from support.chain_place import ChainPlace, a_chain_place
from support.chain_worker import CHAIN, FAILS, chain_config, know_both
from support.kafka_serving import until

from inferstream import Client, DeviceError
from inferstream.pipeline.lab.steps import StepsOutput

PATIENCE_S = 120.0
REQUESTS = 200
KEYS = 10
SOME = 60
BEFORE_ITS_END = 40
"""Records that a worker makes durable before it ends by `kill -9`, in the middle of the load."""


@pytest.fixture
async def place(where: str, unique: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ChainPlace]:
    know_both(monkeypatch)
    config = chain_config(unique)
    async with a_chain_place(where, config, "chain_worker", ["echo", "steps"], PATIENCE_S) as found:
        yield found


async def ask(client: Client, number: int) -> str:
    """Ask for one text; every tenth one fails at the first step. Every second key keeps its order."""
    key = f"k{number % KEYS}".encode() if number % 2 else None
    text = f"{number}{FAILS if number % 10 == 3 else ''}"
    asked = client.request(CHAIN, text, id=f"r{number}", key=key, timeout_s=None)
    if FAILS in text:
        with pytest.raises(DeviceError, match=r"^Step 1 of echo-steps, echo: "):
            await asked
        return "failed"
    answer = await asked
    assert answer.output == StepsOutput(text, len(text))
    return "answered"


@pytest.mark.parametrize("step", [1, 2])
async def test_a_worker_that_is_killed_between_what_it_makes_and_its_commit_loses_nothing(
    place: ChainPlace, step: int
) -> None:
    """What it has made is made again: the auditor sees it twice, the caller once."""
    topic = place.topics.of_step(2).requests if step == 1 else place.topics.replies
    dying_task = place.served[min(step, len(place.served)) - 1]
    dying = place.start(dying_task, topic, str(BEFORE_ITS_END))
    for other in set(place.served) - {dying_task}:
        place.start(other)
    await place.ready()
    async with Client(broker=place.broker, prefix=place.topics.prefix) as client:
        asked = [asyncio.create_task(ask(client, number)) for number in range(SOME)]
        assert await asyncio.to_thread(dying.wait, PATIENCE_S) == -signal.SIGKILL
        place.start(dying_task)
        asked += [asyncio.create_task(ask(client, number)) for number in range(SOME, 2 * SOME)]
        ended = await asyncio.gather(*asked)

    async def repeated() -> bool:
        report = await place.report()
        return min(report.duplicated, report.steps[2].repeated if step == 1 else 1) > 0

    await until(repeated)  # what was durable and not committed is made again
    report = await place.report()
    assert (report.requests, report.results) == (len(ended), ended.count("answered"))
    assert report.failures == {"device_error": ended.count("failed")}
    assert (report.missing, report.out_of_order, report.lost, report.unknown) == (0, 0, False, 0)
    assert report.contradictory == 0
    assert report.steps[1].missing == report.steps[2].missing == 0


@pytest.mark.parametrize("where", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
async def test_workers_that_are_killed_under_load_in_turn_lose_nothing(place: ChainPlace) -> None:
    """Each step scales on its own: two workers of each, of which one is killed."""
    workers = [place.start(task) for task in ("echo", "steps", "echo", "steps")]
    await place.ready()
    done = asyncio.Semaphore(0)

    async def one(client: Client, number: int) -> str:
        ended = await ask(client, number)
        done.release()
        return ended

    async with (
        Client(broker=place.broker, prefix=place.topics.prefix) as client,
        asyncio.TaskGroup() as asking,
    ):
        for number in range(REQUESTS * 3):
            asking.create_task(one(client, number))
            if number % 40 == 0:  # a load, and no burst
                await done.acquire()
            if number in (REQUESTS, REQUESTS * 2):
                workers[number // REQUESTS - 1].kill()
    report = await place.report()
    assert (report.requests, report.results) == (REQUESTS * 3, REQUESTS * 3 - REQUESTS * 3 // 10)
    assert (report.missing, report.out_of_order, report.lost, report.unknown) == (0, 0, False, 0)
