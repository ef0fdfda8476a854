"""A user's program: right use, and the types that mypy must see."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, assert_type

from msgspec import Struct

from inferstream import (
    Answer,
    Caption,
    Category,
    Client,
    EmbedOptions,
    EmbedOutput,
    Failure,
    KafkaConfig,
    Overloaded,
    Partial,
    Request,
    Stream,
    StreamReport,
    SyncClient,
    SyncTranslationStream,
    TranslateOptions,
    TranslateOutput,
    TranslationStream,
    TriageOptions,
    TriageOutput,
)


class SentimentOptions(Struct, frozen=True):
    scale: int = 5


class SentimentOutput(Struct, frozen=True):
    label: str


async def known_task(client: Client) -> float:
    answer = await client.request(
        "triage", "I was charged twice", priority="high", tenant="acme", timeout_s=5
    )
    assert_type(answer, Answer[TriageOutput])
    runners_up: list[Category] = answer.output.runners_up
    await client.request("triage", "a", options=TriageOptions(threshold=0.7))
    await client.request("triage", "a", options={"threshold": 0.7})
    await client.request("triage", Request("a", id="t1"), id=None, key=b"t", traceparent=None)
    async with client.stream("triage", "a", options=TriageOptions(threshold=0.7), key=b"t") as stream:
        assert_type(stream, Stream[Any, TriageOutput])
        assert_type(await stream.answer(), Answer[TriageOutput])
    async with client.stream("sentiment", "a", output=SentimentOutput) as own:
        async for piece in own:
            assert_type(piece, Any)
        assert_type((await own.answer()).output, SentimentOutput)
    return answer.output.confidence + len(runners_up)


async def captions(client: Client, segments: AsyncIterator[str | Partial]) -> float:
    async with client.translate_stream(
        "en", "pt", mode="live", glossary={"inferstream": "inferstream"}
    ) as stream:
        assert_type(stream, TranslationStream)
        await stream.send("I was", final=False)
        await stream.send("I was charged twice.")
        await stream.end()
        async for caption in stream:
            assert_type(caption, Caption)
            shown: str = caption.text[: caption.settled]
            print(shown, caption.error)
    async with client.translate_stream("en", "pt", segments) as fed:
        print([caption.text async for caption in fed])
    async with client.translate_stream("en", "pt", ["One segment.", Partial("Another")]) as plain:
        assert_type(plain.report(), StreamReport)
    return stream.report().erasure


def captions_without_a_loop(client: SyncClient) -> None:
    with client.translate_stream("en", "pt", hold_back_s=1.0) as stream:
        assert_type(stream, SyncTranslationStream)
        stream.send("I was", final=False)
        stream.end()
        for caption in stream:
            assert_type(caption, Caption)


async def many(client: Client) -> None:
    async for answer in client.map("triage", ["a", Request("b")], max_in_flight=8, ordered=False):
        if isinstance(answer, Failure):
            print(answer.code, answer.message)
        else:
            assert_type(answer, Answer[TriageOutput])
            print(answer.output.category, answer.reply.model)


async def embedding(client: Client, sync: SyncClient) -> list[float]:
    answer = await client.request("embed", "a", options=EmbedOptions(dimensions=64))
    assert_type(answer, Answer[EmbedOutput])
    assert_type(sync.request("embed", "a"), Answer[EmbedOutput])
    return answer.output.vector


async def translation(client: Client, sync: SyncClient) -> str:
    answer = await client.request("translate", "a", options=TranslateOptions("en", "pt", prefix="b"))
    assert_type(answer, Answer[TranslateOutput])
    assert_type(sync.request("translate", "a"), Answer[TranslateOutput])
    return answer.output.text


async def streams(client: Client, sync: SyncClient) -> None:
    async with client.stream("triage", "a", priority="low") as stream:
        async for piece in stream:
            print(piece)
        assert_type(await stream.answer(), Answer[TriageOutput])
    with sync.stream("triage", "a", options=TriageOptions(threshold=0.7)) as pieces:
        print(list(pieces))
        assert_type(pieces.answer(), Answer[TriageOutput])
    async with client.stream("sentiment", "a", output=SentimentOutput) as own:
        assert_type((await own.answer()).output, SentimentOutput)


async def task_of_ones_own(client: Client, name: str, options: Mapping[str, Any]) -> str:
    assert_type(await client.request(name, "a", options=options), Answer[Any])
    answer = await client.request("sentiment", "a", output=SentimentOutput, options=SentimentOptions(3))
    assert_type(answer, Answer[SentimentOutput])
    assert_type((await client.request("topics", "a", output=list[str])).output, list[str])
    return answer.output.label


def synchronous() -> None:
    with SyncClient("127.0.0.1:9092", prefix="mine") as client:
        try:
            answer = client.request("triage", "a", options=TriageOptions(clean="mail"))
        except Overloaded as error:
            print(error.retry_after_ms)
            return
        assert_type(answer, Answer[TriageOutput])
        for reply in client.map("triage", ["a"], timeout_s=None):
            if isinstance(reply, Answer):
                assert_type(reply.output, TriageOutput)
        for own in client.map("sentiment", ["a"], output=SentimentOutput):
            if isinstance(own, Answer):
                assert_type(own.output, SentimentOutput)
        client.cancel("t1", task="triage", reason="superseded")
    SyncClient(embedded=Path("folder")).close()
    Client(KafkaConfig(bootstrap="a:9092"), reply_topic="mine.{task}")
