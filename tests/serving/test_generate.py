"""The task `generate` from the client through broker, worker, engine and cache, and back; on both brokers."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from support.decoder_home import TINY, home_with_decoder
from support.generate_worker import CONTEXT, ROWS, Steps, generate_worker, watched_steps
from support.kafka_serving import running
from support.steps_worker import broker_at

from inferstream import (
    BadRequest,
    BlankText,
    Client,
    DeadlineExceeded,
    MissingText,
    Overloaded,
    Timeout,
    TooLarge,
    WrongType,
)
from inferstream.pipeline.runtime.generated_row import DECODE, GeneratedRow
from inferstream.pipeline.runtime.model import Row
from inferstream.schemas.generation import ChatMessage, GenerateOutput, GenerateRequest, Token, tokens_of

PATIENCE_S = 60
PROMPT = "abc abc"


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with home_with_decoder(tmp_path_factory.mktemp("decoder")):
        yield


class Served:
    """A client, and the steps of the generator that answers it."""

    def __init__(self, client: Client, steps: Steps) -> None:
        self.client = client
        self.steps = steps

    async def ask(self, content: str | GenerateRequest = PROMPT, **options: Any) -> GenerateOutput:
        answer = await self.client.request("generate", content, options=options, timeout_s=None)
        return answer.output

    async def held(self) -> None:
        await asyncio.to_thread(self.steps.wait_held)


@asynccontextmanager
async def serving(where: str, prefix: str, **how: Any) -> AsyncIterator[Served]:
    with watched_steps() as steps:
        async with asyncio.timeout(PATIENCE_S), broker_at(where) as broker:
            worker = await asyncio.to_thread(generate_worker, broker, prefix, **how)
            for one in worker.of_tasks:
                await broker.ensure_topics(one.specs)
            async with running(worker), Client(broker=broker, prefix=prefix) as client:
                yield Served(client, steps)
                steps.go_on()


def chat(*contents: str) -> GenerateRequest:
    roles = ("user", "assistant")
    turns = [ChatMessage(roles[turn % 2], content) for turn, content in enumerate(contents)]
    return GenerateRequest(messages=turns)


def at_token(count: int, prompt_of: int | None = None) -> Any:
    """A step before which a row, with a prompt of this length, has ``count`` tokens."""

    def when(rows: Sequence[Row]) -> bool:
        return any(
            isinstance(row, GeneratedRow)
            and row.phase == DECODE
            and len(row.generated) == count
            and prompt_of in (None, len(row.prompt))
            for row in rows
        )

    return when


async def test_the_pieces_are_the_answer(where: str, unique: str) -> None:
    async with serving(where, unique) as served:
        for content in (PROMPT, chat("ab", "b", "a")):
            async with served.client.stream("generate", content, options={"max_tokens": 40}) as stream:
                pieces = [piece async for piece in stream]
            answer = await stream.answer()
            (choice,) = answer.output.choices
            assert pieces == tokens_of(answer.output)
            assert "".join(piece.text for piece in pieces) == choice.text == answer.output.text
            assert [piece.token for piece in pieces] == choice.tokens
            assert (len(choice.tokens), choice.ended_by) == (40, "length")
            assert answer.output.usage.generated_tokens == 40
            assert answer.reply.model == TINY
            assert answer.reply.batch is not None
            assert answer.reply.batch.steps == 40
            assert await served.ask(content, max_tokens=40) == msgspec.structs.replace(
                answer.output,
                usage=msgspec.structs.replace(
                    answer.output.usage,
                    cached_tokens=(await served.ask(content, max_tokens=40)).usage.cached_tokens,
                ),
            )


async def test_choices_come_one_behind_the_other_and_greedy_ones_are_equal(where: str, unique: str) -> None:
    async with serving(where, unique) as served:
        async with served.client.stream("generate", PROMPT, options={"max_tokens": 12, "n": 3}) as stream:
            pieces = [piece async for piece in stream]
        output = (await stream.answer()).output
        assert [piece.choice for piece in pieces] == [0] * 12 + [1] * 12 + [2] * 12
        assert pieces == tokens_of(output)
        assert len({choice.text for choice in output.choices}) == 1
        assert output.usage.generated_tokens == 36
        many = await served.ask(max_tokens=2, n=100)
        assert {tuple(choice.tokens) for choice in many.choices} == {tuple(output.choices[0].tokens[:2])}
        assert (len(many.choices), ROWS) == (100, 4), "more than the lane has rows for"


async def test_a_stop_string_ends_the_row_on_the_lane(where: str, unique: str) -> None:
    async with serving(where, unique) as served:
        whole = await served.ask(max_tokens=60)
        before = len(served.steps.decoded)
        start = len("".join(piece.text for piece in tokens_of(whole)[:20]))
        stop = whole.text[start : start + 3]
        options = {"max_tokens": 60, "stop": [stop, stop + "?", "never there"]}
        async with served.client.stream("generate", PROMPT, options=options) as stream:
            pieces = [piece async for piece in stream]
        (choice,) = (await stream.answer()).output.choices
        assert choice.ended_by == "stop"
        assert choice.text == whole.text[: whole.text.index(stop)]
        assert "".join(piece.text for piece in pieces) == choice.text
        assert len(served.steps.decoded) - before == len(choice.tokens) - 1 < 30
        assert choice.tokens == whole.choices[0].tokens[: len(choice.tokens)]


async def test_the_context_ends_a_text(where: str, unique: str) -> None:
    async with serving(where, unique) as served:
        exact = await served.ask("b" * CONTEXT, max_tokens=9)
        assert (exact.usage.prompt_tokens, len(exact.choices[0].tokens)) == (CONTEXT, 1)
        assert exact.choices[0].ended_by == "length"
        nearly = await served.ask("b" * (CONTEXT - 3), max_tokens=9)
        assert len(nearly.choices[0].tokens) == 4
        one = await served.ask(max_tokens=1)
        assert len(one.choices[0].tokens) == 1
        windowed = await served.ask("b" * 9_999, max_tokens=9, too_long="window")
        assert (windowed.usage.prompt_tokens, len(windowed.choices[0].tokens)) == (CONTEXT - 9, 9)


WRONG: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ("a" * 900_000, {}, TooLarge, "send a shorter one, or with the option `too_long`"),
    ("b" * (CONTEXT + 1), {}, TooLarge, "The prompt has 257 tokens, and 256 are allowed"),
    (" ", {}, BlankText, "blank"),
    (GenerateRequest(), {}, MissingText, "neither a text nor messages"),
    (GenerateRequest(messages=[]), {}, MissingText, "The list of messages is empty"),
    (GenerateRequest(text="a", messages=[]), {}, BadRequest, "has a text and messages"),
    (
        GenerateRequest(messages=[ChatMessage("tool", "a")]),
        {},
        BadRequest,
        "refuses the messages: There are no tools",
    ),
    (GenerateRequest(messages=[ChatMessage("x", "a")]), {}, BadRequest, "Message 1 has the role 'x'"),
    (GenerateRequest(messages=[ChatMessage("user", "b")] * 9_999), {}, TooLarge, "are allowed|may have"),
    (PROMPT, {"max_tokens": 0}, WrongType, "'max_tokens' must be a whole number from 1"),
    (PROMPT, {"max_tokens": 10**9}, WrongType, "'max_tokens' must be a whole number from 1"),
    (
        "b" * 250,
        {"n": 128, "max_tokens": 9},
        TooLarge,
        "128 choices of a prompt of 250 tokens and up to 7 generated",
    ),
]


async def test_what_is_wrong_has_its_sentence_and_the_next_request_is_answered(
    where: str, unique: str
) -> None:
    async with serving(where, unique) as served:
        for content, options, kind, sentence in WRONG:
            with pytest.raises(kind, match=sentence):
                await served.ask(content, **options)
        assert (await served.ask(max_tokens=3)).usage.generated_tokens == 3


async def test_an_equal_request_joins_and_a_later_one_is_cached(where: str, unique: str) -> None:
    async with serving(where, unique, cached=True) as served:
        options = {"max_tokens": 50}
        served.steps.hold(at_token(20))
        async with served.client.stream("generate", PROMPT, options=options) as first:
            await served.held()
            async with served.client.stream("generate", PROMPT, options=options) as follower:
                early = [await anext(follower) for _ in range(15)]
                served.steps.go_on()
                late = [piece async for piece in follower]
            pieces = [piece async for piece in first]
        assert early + late == pieces
        assert (await follower.answer()).reply.cache == "flight"
        assert sum(served.steps.decoded) == 49
        again = await served.client.request("generate", PROMPT, options=options)
        assert (again.reply.cache, again.output) == ("memory", (await first.answer()).output)
        assert sum(served.steps.decoded) == 49


async def test_a_stream_that_is_left_ends_at_its_next_step_and_no_neighbor_notices(
    where: str, unique: str
) -> None:
    async with serving(where, unique) as served:
        alone = await served.ask(chat("ab"), max_tokens=100)
        served.steps.hold(at_token(30))
        async with served.client.stream("generate", PROMPT, options={"max_tokens": 200}) as left:
            neighbor = asyncio.create_task(served.ask(chat("ab"), max_tokens=100))
            assert isinstance(await anext(left), Token)
            await served.held()
        served.steps.go_on()
        beside = await neighbor
        assert beside.choices == alone.choices
        assert sum(served.steps.decoded) < 99 + 99 + 150, "the stream that was left took no 200 steps"


async def test_short_prompts_of_many_choices_make_long_ones_seem_no_longer(where: str, unique: str) -> None:
    """The rows of a request are its choices: a long prompt is not cut into rows as short as those seen before."""
    async with serving(where, unique) as served:
        await served.ask("b", max_tokens=2, n=100)
        long = chat(*["hello there"] * 9_999)
        answer = await served.client.request(
            "generate", long, options={"max_tokens": 2, "too_long": "window"}, timeout_s=PATIENCE_S
        )
        assert answer.output.usage.generated_tokens == 2
        with pytest.raises(TooLarge):
            await served.client.request("generate", long, timeout_s=PATIENCE_S)


async def test_a_deadline_in_the_middle_ends_the_request(where: str, unique: str) -> None:
    async with serving(where, unique) as served:
        served.steps.hold(at_token(5))
        with pytest.raises((DeadlineExceeded, Overloaded, Timeout)):
            await served.client.request("generate", PROMPT, options={"max_tokens": 200}, timeout_s=1)
        served.steps.go_on()
        assert (await served.ask(max_tokens=3)).usage.generated_tokens == 3


async def test_priorities_and_tenants_are_answered_side_by_side(where: str, unique: str) -> None:
    async with serving(where, unique) as served:
        alone = await served.ask(max_tokens=20)
        asked = [
            served.client.request(
                "generate",
                PROMPT,
                options={"max_tokens": 20},
                priority=priority,
                tenant=tenant,
                timeout_s=None,
            )
            for priority in ("high", "normal", "low")
            for tenant in ("a", "b", None)
        ]
        answers = await asyncio.gather(*asked)
        assert all(answer.output.choices == alone.choices for answer in answers)
