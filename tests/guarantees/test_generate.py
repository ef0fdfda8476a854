"""Generated texts with real worker processes, on both brokers: whole and in order, over `kill -9` and poison."""

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from support.decoder_home import home_with_decoder
from support.generate_worker import ENDS, generate_config
from support.processes import Processes
from support.steps_worker import broker_at

from inferstream import Client, Poison
from inferstream.pipeline.broker.base import Broker
from inferstream.pipeline.ops.audit.auditor import audit
from inferstream.pipeline.ops.audit.facts import Audited
from inferstream.pipeline.ops.audit.report import AuditReport
from inferstream.pipeline.serving.edge import Edge
from inferstream.schemas.generation import Choice, tokens_of
from inferstream.schemas.topics import Topics

PATIENCE_S = 120.0
TOKENS = 100
PROMPTS = [f"{number} abc" for number in range(6)]


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with home_with_decoder(tmp_path_factory.mktemp("decoder")):
        yield


class Place:
    """A broker, and worker processes that serve the task on it."""

    def __init__(self, where: str, broker: Broker, prefix: str) -> None:
        self.broker = broker
        self.topics = Topics("generate", prefix)
        self._where = where
        self._processes = Processes()
        self.stop = self._processes.stop

    def start(self) -> "subprocess.Popen[bytes]":
        return self._processes.start("generate_worker", self._where, self.topics.prefix)

    async def ready(self) -> None:
        """Wait until a worker has made the topics."""
        while await self.broker.partitions(self.topics.cancels) is None:  # noqa: ASYNC110 - no broker tells it
            await asyncio.sleep(0.05)

    async def report(self) -> AuditReport:
        return await audit(self.broker, Audited(self.topics), clock=time.time)


@pytest.fixture
async def place(where: str, unique: str) -> AsyncIterator[Place]:
    async with asyncio.timeout(PATIENCE_S), broker_at(where) as broker:
        found = Place(where, broker, unique)
        try:
            yield found
        finally:
            await asyncio.to_thread(found.stop)


async def uninterrupted() -> dict[str, list[Choice]]:
    """The answer to each prompt, one after the other, by a worker in this process."""
    async with Edge(generate_config("alone"), task="generate") as client:
        answers = [
            await client.request("generate", prompt, options={"max_tokens": TOKENS}) for prompt in PROMPTS
        ]
    return {prompt: answer.output.choices for prompt, answer in zip(PROMPTS, answers, strict=True)}


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
async def test_texts_survive_the_death_of_their_worker(place: Place, ending: signal.Signals) -> None:
    """No token that was shown changes, none is missing, none comes twice; and the texts are those of a quiet run."""
    killed = place.start()
    await place.ready()
    shown = asyncio.Semaphore(0)

    async def read(client: Client, prompt: str, key: bytes | None) -> list[Choice]:
        pieces = []
        options = {"max_tokens": TOKENS}
        async with client.stream("generate", prompt, options=options, key=key, timeout_s=None) as stream:
            async for piece in stream:
                pieces.append(piece)
                shown.release()
        output = (await stream.answer()).output
        assert pieces == tokens_of(output)
        return output.choices

    async with (
        Client(broker=place.broker, prefix=place.topics.prefix) as client,
        asyncio.TaskGroup() as reading,
    ):
        tasks = {
            prompt: reading.create_task(read(client, prompt, b"k" if number % 2 else None))
            for number, prompt in enumerate(PROMPTS)
        }
        for _ in range(60):
            await shown.acquire()
        killed.send_signal(ending)
        await asyncio.to_thread(killed.wait)
        place.start()
    report = await place.report()
    assert (report.requests, report.results, report.repeats) == (6, 6, 0)
    assert (report.lost, report.torn, report.late_chunks, report.out_of_order) == (False, 0, 0, 0)
    assert report.resumed > 0, "the worker ended while it told"
    assert report.repeated_pieces == 0
    assert {prompt: task.result() for prompt, task in tasks.items()} == await uninterrupted()


@pytest.mark.parametrize("where", ["embedded"], indirect=True)
async def test_a_prompt_that_ends_the_process_is_found_and_the_texts_beside_it_are_whole(
    place: Place,
) -> None:
    """The crash note knows the contents of a step; nothing of this depends on the broker."""
    worker = place.start()
    await place.ready()
    crashes = 0

    async def supervise() -> None:
        nonlocal worker, crashes
        while True:
            await asyncio.sleep(0.02)
            if worker.poll() is not None:
                crashes += 1
                worker = place.start()

    supervising = asyncio.create_task(supervise())
    try:
        async with Client(broker=place.broker, prefix=place.topics.prefix) as client:
            options = {"max_tokens": TOKENS}
            beside = [
                asyncio.create_task(client.request("generate", prompt, options=options, timeout_s=None))
                for prompt in PROMPTS[:3]
            ]
            with pytest.raises(Poison):
                await client.request("generate", f"abc {ENDS.decode()}", options=options, timeout_s=None)
            answers = await asyncio.gather(*beside)
    finally:
        supervising.cancel()
    assert crashes >= 2
    quiet = await uninterrupted()
    assert [answer.output.choices for answer in answers] == [quiet[prompt] for prompt in PROMPTS[:3]]
