"""A chain whose last step tells its answer in pieces, with real worker processes: no token changes over a `kill -9`."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from support.chain_place import ChainPlace, a_chain_place
from support.chain_worker import know_both
from support.decoder_home import home_with_decoder
from support.draft_worker import DRAFT, OPTIONS, TASKS, draft_config, draft_serving
from support.kafka_serving import running
from support.steps_worker import broker_at

from inferstream import Client
from inferstream.schemas.generation import Choice, Token, tokens_of

PATIENCE_S = 120.0
TICKETS = [f"{number} abc" for number in range(6)]
SHOWN = 60
"""Of 6 × 100 tokens, when the worker is killed."""


@pytest.fixture(autouse=True)
def _tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    know_both(monkeypatch)


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with home_with_decoder(tmp_path_factory.mktemp("decoder")):
        yield


@pytest.fixture
async def place(where: str, unique: str) -> AsyncIterator[ChainPlace]:
    async with a_chain_place(where, draft_config(unique), "draft_worker", TASKS, PATIENCE_S) as found:
        yield found


async def uninterrupted(folder: str) -> dict[str, list[Choice]]:
    """The draft for each ticket, by workers in this process that nothing ends."""
    async with broker_at(folder) as broker:
        serving = await asyncio.to_thread(draft_serving, draft_config("alone"), broker)
        async with running(serving), Client(broker=broker, prefix="alone") as client:
            asked = [client.request(DRAFT, ticket, timeout_s=None) for ticket in TICKETS]
            answers = await asyncio.gather(*asked)
    return {ticket: answer.output.choices for ticket, answer in zip(TICKETS, answers, strict=True)}


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
async def test_drafts_survive_the_death_of_the_worker_of_the_third_step(
    place: ChainPlace, ending: signal.Signals, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No token that was shown changes, none is missing, none comes twice; and the texts are those of a quiet run."""
    *_, killed = [place.start(served) for served in place.served]
    await place.ready()
    shown = asyncio.Semaphore(0)

    async def read(client: Client, ticket: str, key: bytes | None) -> list[Choice]:
        pieces: list[Token] = []
        async with client.stream(DRAFT, ticket, key=key, timeout_s=None) as stream:
            async for piece in stream:
                pieces.append(piece)
                shown.release()
        output = (await stream.answer()).output
        assert pieces == tokens_of(output), "also their type is that of the last step's task"
        assert "".join(piece.text for piece in pieces) == output.text
        return list(output.choices)

    async with (
        Client(broker=place.broker, prefix=place.topics.prefix) as client,
        asyncio.TaskGroup() as reading,
    ):
        tasks = {
            ticket: reading.create_task(read(client, ticket, b"k" if number % 2 else None))
            for number, ticket in enumerate(TICKETS)
        }
        for _ in range(SHOWN):
            await shown.acquire()
        killed.send_signal(ending)
        await asyncio.to_thread(killed.wait)
        place.start(place.served[-1])
    report = await place.report()
    assert (report.requests, report.results, report.repeats) == (len(TICKETS), len(TICKETS), 0)
    # In a folder one process serves all steps: an earlier one may die before its commit and be repeated.
    assert report.duplicated <= (report.steps[3].repeated if len(place.served) == 1 else 0)
    assert (report.lost, report.torn, report.late_chunks, report.out_of_order) == (False, 0, 0, 0)
    assert report.resumed > 0, "the worker ended while it told"
    assert report.repeated_pieces == 0
    quiet = await uninterrupted(str(tmp_path_factory.mktemp("quiet")))
    assert {ticket: task.result() for ticket, task in tasks.items()} == quiet
    assert all(len(choices[0].tokens) == OPTIONS["max_tokens"] for choices in quiet.values())
