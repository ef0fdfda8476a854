"""A stream through the fake client: order, superseded partials, finals that are sent until they are answered."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest

from inferstream import (
    BrokerError,
    Client,
    Failure,
    InferstreamError,
    Overloaded,
    Partial,
    Request,
    ShuttingDown,
    SyncClient,
    Timeout,
    TooLarge,
    TranslateOutput,
    UnknownModel,
    UsageError,
    WrongType,
)
from inferstream.pipeline.client.captions import open_segments, open_stream
from inferstream.pipeline.client.captions.caption import Caption
from inferstream.pipeline.client.captions.stream import TranslationStream
from inferstream.pipeline.client.sent_request import SentRequest
from inferstream.testing import FakeClient, FakeSyncClient


def translated(sent: SentRequest) -> TranslateOutput:
    return TranslateOutput(sent.text.upper(), "en", "pt")


TICK_S = 0.001


@pytest.fixture(autouse=True)
def ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_stream, "TICK_S", TICK_S)


@pytest.fixture
async def client() -> AsyncIterator[FakeClient]:
    async with asyncio.timeout(20), FakeClient({"translate": translated}) as client:
        yield client


async def read(stream: TranslationStream) -> list[Caption]:
    return [caption async for caption in stream]


async def settle() -> None:
    """Let the event loop do what it can: client and stream have no other thread."""
    for _ in range(100):
        await asyncio.sleep(0)


def finals(captions: list[Caption]) -> list[tuple[int, str]]:
    return [(one.segment, one.text) for one in captions if one.final]


async def test_segments_are_translated_in_order_and_named_by_stream_segment_and_revision(
    client: FakeClient,
) -> None:
    async with client.translate_stream("en", "pt", name="call-7") as stream:
        await stream.send("one", final=False)
        await client.wait_for_requests(1)
        await stream.send("one two")
        await stream.send("three")
        await stream.end()
        captions = await read(stream)
    assert finals(captions) == [(0, "ONE TWO"), (1, "THREE")]
    bodies = [sent.body for sent in client.requests]
    options = {"source": "en", "target": "pt"}
    assert bodies == [
        Request("one", "call-7/0/0", options=options, final=False),
        Request("one two", "call-7/0/1", options=options, supersedes="call-7/0/0"),
        Request("three", "call-7/1/0", options=options),
    ]
    assert [(sent.key, sent.priority, sent.timeout_s) for sent in client.requests] == [
        (b"call-7", "normal", 2.0),
        (b"call-7", "high", 30.0),
        (b"call-7", "high", 30.0),
    ]


async def test_finals_come_in_the_order_of_the_segments_whatever_order_they_are_answered_in(
    client: FakeClient,
) -> None:
    gates = {name: asyncio.Event() for name in ("one", "two", "three")}

    async def behave(sent: SentRequest) -> TranslateOutput:
        await gates[sent.text].wait()
        return translated(sent)

    client.set_answer("translate", behave)
    async with client.translate_stream("en", "pt") as stream:
        for name in gates:
            await stream.send(name)
        await stream.end()
        reading = asyncio.create_task(read(stream))
        for name in ("three", "two", "one"):
            gates[name].set()
            await asyncio.sleep(0)
        assert finals(await reading) == [(0, "ONE"), (1, "TWO"), (2, "THREE")]


async def test_a_newer_partial_supersedes_the_one_that_waits(client: FakeClient) -> None:
    client.hold()
    async with client.translate_stream("en", "pt", mode="live") as stream:
        for count, text in enumerate(("a", "a b", "a b c"), 1):
            await stream.send(text, final=False)
            await client.wait_for_requests(count)
        client.release()
        caption = await anext(stream)
        assert (caption.text, caption.revision, caption.final) == ("A B C", 2, False)
        assert stream.report().superseded == 2
        assert [sent.body.supersedes for sent in client.requests] == [
            None,
            f"{stream.name}/0/0",
            f"{stream.name}/0/1",
        ]


async def test_of_partials_without_room_only_the_newest_is_sent(client: FakeClient) -> None:
    release = asyncio.Event()

    async def behave(sent: SentRequest) -> TranslateOutput:
        await release.wait()
        return translated(sent)

    client.set_answer("translate", behave)
    async with client.translate_stream("en", "pt", mode="live") as stream:
        for count in range(1, open_stream.MAX_PARTIALS + 1):
            await stream.send("x " * count, final=False)
            await client.wait_for_requests(count)
        for count in range(open_stream.MAX_PARTIALS + 1, 50):
            await stream.send("x " * count, final=False)
        await asyncio.sleep(2 * TICK_S)
        # The fake has superseded all but the last one: there is room again.
        assert len(client.requests) <= open_stream.MAX_PARTIALS + 1
        release.set()
        await stream.send("done")
        await stream.end()
        assert finals(await read(stream)) == [(0, "DONE")]
    assert all(sent.text.count("x") in (1, 2, 3, 4, 49) for sent in client.requests[:-1])


async def test_a_held_partial_does_not_begin_a_segment_behind_its_final(client: FakeClient) -> None:
    client.hold()
    async with client.translate_stream("en", "pt", mode="live") as stream:
        await stream.send("who", final=False)
        await stream.send("whole")
        await asyncio.sleep(2 * TICK_S)
        await stream.end()
        client.release()
        assert finals(await read(stream)) == [(0, "WHOLE")]


@pytest.mark.parametrize(
    "errors", [[Overloaded("Busy.", 1)] * 3, [Overloaded("Busy."), BrokerError("Gone.")]]
)
async def test_a_final_is_sent_again_until_it_is_answered(
    client: FakeClient, errors: list[InferstreamError], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list(errors)

    def behave(sent: SentRequest) -> TranslateOutput:
        if left:
            raise left.pop(0)
        return translated(sent)

    client.set_answer("translate", behave)
    async with client.translate_stream("en", "pt", name="s") as stream:
        await stream.send("one")
        await stream.send("two")
        await stream.end()
        assert finals(await read(stream)) == [(0, "ONE"), (1, "TWO")]
    assert {sent.id for sent in client.requests} == {"s/0/0", "s/1/0"}
    assert len(client.requests) == 2 + len(errors)


async def test_a_final_whose_connection_was_lost_is_sent_again(client: FakeClient) -> None:
    client.hold()
    async with client.translate_stream("en", "pt", name="s") as stream:
        await stream.send("one")
        await client.wait_for_requests(1)
        client._replies["translate"].fail("s/0/0", BrokerError("The connection was lost."))
        await client.wait_for_requests(2)
        client.release()
        await stream.end()
        assert finals(await read(stream)) == [(0, "ONE")]


async def test_a_final_that_is_refused_until_its_time_is_over_is_a_caption_with_the_error(
    client: FakeClient,
) -> None:
    client.set_answer("translate", Overloaded("Busy."))
    async with client.translate_stream("en", "pt", timeout_s=1.0) as stream:
        await stream.send("one")
        await stream.end()
        (caption,) = await read(stream)
    assert isinstance(caption.error, Overloaded)
    assert (caption.text, caption.final) == ("", True)
    assert stream.report().failed == 1


async def test_a_final_without_a_reply_ends_with_timeout_and_is_cancelled(client: FakeClient) -> None:
    client.hold()
    async with client.translate_stream("en", "pt", timeout_s=0.1, name="s") as stream:
        await stream.send("one")
        await stream.end()
        (caption,) = await read(stream)
    assert isinstance(caption.error, Timeout)
    assert client.cancelled == ["s/0/0"]


async def test_a_segment_over_the_limit_fails_alone(client: FakeClient) -> None:
    def behave(sent: SentRequest) -> TranslateOutput:
        if len(sent.text) > 5:
            raise TooLarge("The text is too long.")
        return translated(sent)

    client.set_answer("translate", behave)
    async with client.translate_stream("en", "pt", mode="live") as stream:
        await stream.send("short", final=False)
        assert (await anext(stream)).text == "SHORT"
        await stream.send("longer text", final=False)
        await client.wait_for_requests(2)
        while not stream.report().passed_over:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(TICK_S)
        await stream.send("longer text.")
        await stream.send("next")
        await stream.end()
        first, second = (caption for caption in await read(stream) if caption.final)
    assert isinstance(first.error, TooLarge)
    assert (first.text, second.text) == ("SHORT", "NEXT")


@pytest.mark.parametrize("final", [True, False])
async def test_an_unknown_pair_ends_the_stream_at_its_first_segment(client: FakeClient, final: bool) -> None:
    client.set_answer("translate", UnknownModel("There is no model for source 'en' and target 'xx' here."))
    async with client.translate_stream("en", "xx") as stream:
        await stream.send("one", final=final)
        with pytest.raises(UnknownModel, match="target 'xx'"):
            await anext(stream)
        with pytest.raises(UnknownModel):
            await stream.send("two")
        with pytest.raises(UnknownModel):
            await anext(stream)


async def test_empty_segments_and_partials(client: FakeClient) -> None:
    async with client.translate_stream("en", "pt", mode="live") as stream:
        await stream.send("", final=False)
        await stream.send("  ")
        await stream.send("a")
        await stream.send("b", final=False)
        assert finals([await anext(stream), await anext(stream)]) == [(0, ""), (1, "A")]
        assert (await anext(stream)).text == "B"
        await stream.send("\n")
        await stream.end()
        assert finals(await read(stream)) == [(2, "")]
    assert [sent.text for sent in client.requests] == ["a", "b"]


async def test_a_partial_behind_a_final_begins_the_next_segment(client: FakeClient) -> None:
    async with client.translate_stream("en", "pt", name="s") as stream:
        await stream.send("one")
        await stream.send("two", final=False)
        await client.wait_for_requests(2)
        await stream.end()
        captions = await read(stream)
    assert finals(captions) == [(0, "ONE"), (1, "TWO")]
    assert [sent.id for sent in client.requests] == ["s/0/0", "s/1/0", "s/1/1"]


@pytest.mark.parametrize("mode", ["live", "stable", "final"])
async def test_the_end_makes_a_final_of_the_last_partial(client: FakeClient, mode: Any) -> None:
    async with client.translate_stream("en", "pt", mode=mode) as stream:
        await stream.send("not complete", final=False)
        await stream.end()
        await stream.end()
        assert finals(await read(stream)) == [(0, "NOT COMPLETE")]
        with pytest.raises(UsageError, match="was ended"):
            await stream.send("more")


async def test_what_was_held_back_is_shown_when_nothing_more_comes(client: FakeClient) -> None:
    async with client.translate_stream("en", "pt", hold_back_s=0.05) as stream:
        await stream.send("one two three", final=False)
        caption = await anext(stream)
        assert (caption.text, caption.final) == ("ONE TWO THREE", False)


async def test_what_stays_goes_along_as_the_prefix(client: FakeClient) -> None:
    words = [f"w{number}" for number in range(8)]
    async with client.translate_stream("en", "pt") as stream:
        for count in range(1, 9):
            await stream.send(" ".join(words[:count]), final=False)
            await client.wait_for_requests(count)
            await settle()
        await stream.send(" ".join(words) + ".")
        await stream.end()
        captions = await read(stream)
    prefixes = [sent.options.get("prefix", "") for sent in client.requests]
    assert prefixes[-1] == " ".join(words[:5]).upper()
    assert all(one == two[: len(one)] for one, two in pairwise(prefixes))
    assert captions[-1].settled == len(captions[-1].text)
    assert stream.report().erasure == 0


@pytest.mark.parametrize("kind", ["list", "async"])
async def test_it_reads_segments_from_an_iterable(client: FakeClient, kind: str) -> None:
    async def generated() -> AsyncIterator[str | Partial]:
        for item in items:
            await asyncio.sleep(0)
            yield item

    items: list[str | Partial] = ["one", Partial("two"), Partial("two three"), "two three four"]
    async with client.translate_stream("en", "pt", items if kind == "list" else generated()) as stream:
        assert finals(await read(stream)) == [(0, "ONE"), (1, "TWO THREE FOUR")]
        with pytest.raises(UsageError, match="segments that it was given"):
            await stream.send("five")


async def test_what_the_iterable_raises_comes_behind_the_captions(client: FakeClient) -> None:
    def broken() -> Any:
        yield "one"
        raise ValueError("the microphone is gone")

    async with client.translate_stream("en", "pt", broken()) as stream:
        assert (await anext(stream)).text == "ONE"
        with pytest.raises(ValueError, match="microphone"):
            await anext(stream)
    async with client.translate_stream("en", "pt", ["one", 2]) as stream:  # type: ignore[list-item]
        assert (await anext(stream)).text == "ONE"
        with pytest.raises(WrongType, match="a string or a Partial, not 2"):
            await anext(stream)


async def test_a_stream_that_is_not_read_takes_bounded_room(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_segments, "MAX_UNREAD", 10)
    async with client.translate_stream("en", "pt") as stream:
        for number in range(10):
            await stream.send(f"{number}")
        with pytest.raises(UsageError, match="10 segments were not read"):
            await stream.send("one more")
        assert (await anext(stream)).text == "0"
        await stream.send("one more")
        await stream.end()
        assert len(await read(stream)) == 10
    taken = []

    def endless() -> Any:
        for number in range(10**9):
            taken.append(number)
            yield f"{number}"

    async with client.translate_stream("en", "pt", endless()) as stream:
        for number in range(30):
            assert (await anext(stream)).text == f"{number}"
            assert len(taken) <= number + 12


async def test_a_slow_reader_gets_the_newest_caption_of_each_segment(client: FakeClient) -> None:
    async with client.translate_stream("en", "pt", mode="live") as stream:
        for count in range(1, 6):
            await stream.send("x " * count, final=False)
            await client.wait_for_requests(count)
            await settle()
        assert (await anext(stream)).text.split() == ["X"] * 5
        await stream.send("x")
        await stream.end()
        assert finals(await read(stream)) == [(0, "X")]


async def test_many_finals_wait_for_room(client: FakeClient) -> None:
    client.hold()
    async with client.translate_stream("en", "pt") as stream:

        async def speak() -> None:
            for number in range(3 * open_stream.MAX_FINALS):
                await stream.send(f"{number}")
            await stream.end()

        speaking = asyncio.create_task(speak())
        await client.wait_for_requests(open_stream.MAX_FINALS)
        await settle()
        assert len(client.requests) == open_stream.MAX_FINALS
        client.release()
        assert [text for _, text in finals(await read(stream))] == [
            str(number) for number in range(3 * open_stream.MAX_FINALS)
        ]
        await speaking


async def test_leaving_in_the_middle_cancels_what_is_on_its_way(client: FakeClient) -> None:
    client.hold()
    async with client.translate_stream("en", "pt", name="s") as stream:
        await stream.send("one")
        await stream.send("two", final=False)
        await client.wait_for_requests(2)
    await settle()
    assert sorted(client.cancelled) == ["s/0/0", "s/1/0"]
    with pytest.raises(UsageError, match="was left"):
        await stream.send("three")
    with pytest.raises(UsageError, match="was left"):
        await anext(stream)


async def test_a_cancelled_reader_loses_nothing(client: FakeClient) -> None:
    client.hold()
    async with client.translate_stream("en", "pt") as stream:
        await stream.send("one")
        reading = asyncio.create_task(anext(stream))
        await client.wait_for_requests(1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        client.release()
        assert (await anext(stream)).text == "ONE"


async def test_a_closed_client_ends_its_streams(client: FakeClient) -> None:
    client.hold()
    async with client.translate_stream("en", "pt") as stream:
        await stream.send("one")
        client.abandon()
        with pytest.raises(ShuttingDown):
            await anext(stream)


async def test_hundreds_of_streams_share_a_client(client: FakeClient) -> None:
    async def one(number: int) -> list[tuple[int, str]]:
        async with client.translate_stream("en", "pt", name=f"s{number}") as stream:
            for segment in range(3):
                for count in range(1, 4):
                    await stream.send(f"{number} {segment} " + "x " * count, final=False)
                await stream.send(f"{number} {segment}")
            await stream.end()
            return finals(await read(stream))

    answers = await asyncio.gather(*map(one, range(300)))
    assert answers == [[(segment, f"{number} {segment}") for segment in range(3)] for number in range(300)]
    assert len(client._replies) == 1
    assert client._replies["translate"]._pending == {}


@pytest.mark.parametrize(
    ("wrong", "error", "tells"),
    [
        (lambda client: client.translate_stream("", "pt"), UsageError, "`source`"),
        (lambda client: client.translate_stream("en", None), UsageError, "`target`"),
        (
            lambda client: client.translate_stream("en", "pt", mode="fast"),
            UsageError,
            "live, stable or final",
        ),
        (lambda client: client.translate_stream("en", "pt", "text"), UsageError, r"\[text\]"),
        (lambda client: client.translate_stream("en", "pt", timeout_s=None), UsageError, "`timeout_s`"),
        (lambda client: client.translate_stream("en", "pt", hold_back_s=0), UsageError, "`hold_back_s`"),
        (lambda client: client.translate_stream("en", "pt", name=""), UsageError, "`name`"),
        (lambda client: client.translate_stream("en", "pt", lease_s=0.1), UsageError, "`lease_s`"),
    ],
)
async def test_wrong_arguments(
    client: FakeClient, wrong: Callable[[Client], object], error: type[Exception], tells: str
) -> None:
    with pytest.raises(error, match=tells):
        wrong(client)


async def test_wrong_uses(client: FakeClient) -> None:
    stream = client.translate_stream("en", "pt")
    with pytest.raises(UsageError, match="Enter the stream first"):
        await stream.send("one")
    with pytest.raises(UsageError, match="Enter the stream first"):
        stream.report()
    async with stream:
        with pytest.raises(WrongType, match="`text` must be a string, not 1"):
            await stream.send(1)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="`final` must be True or False"):
            await stream.send("a", final="yes")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="entered before"):
            await stream.__aenter__()


async def test_a_failure_of_a_partial_is_passed_over(client: FakeClient) -> None:
    def behave(sent: SentRequest) -> TranslateOutput | Failure:
        if not sent.body.final:
            return Failure("", "translate", "deadline_exceeded", "Too late.")
        return translated(sent)

    client.set_answer("translate", behave)
    async with client.translate_stream("en", "pt", mode="live") as stream:
        await stream.send("one", final=False)
        await client.wait_for_requests(1)
        await stream.send("one two")
        await stream.end()
        assert [caption.text for caption in await read(stream)] == ["ONE TWO"]


def test_a_stream_without_an_event_loop() -> None:
    with FakeSyncClient({"translate": translated}) as client:
        with client.translate_stream("en", "pt", name="s") as stream:
            stream.send("one", final=False)
            stream.send("one two")
            stream.send("three")
            stream.end()
            assert finals(list(stream)) == [(0, "ONE TWO"), (1, "THREE")]
            assert (stream.name, stream.report().segments) == ("s", 2)
        with pytest.raises(UsageError, match="was left"):
            stream.send("four")
        with pytest.raises(UsageError, match="give them to `send`"):
            client.translate_stream("en", "pt", ["one"])


def test_the_sync_method_has_the_arguments_and_the_documentation_of_the_other() -> None:
    ours, theirs = (inspect.signature(one.translate_stream) for one in (SyncClient, Client))
    assert list(ours.parameters) == list(theirs.parameters)
    assert "async with" not in str(SyncClient.translate_stream.__doc__)


async def test_of_partials_between_two_ticks_the_newest_is_sent_and_its_lag_counts_from_the_first_word(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_stream, "TICK_S", 0.05)
    async with client.translate_stream("en", "pt", mode="live") as stream:
        for count in range(1, 4):
            await stream.send("x " * count, final=False)
        assert client.requests == []
        assert (await anext(stream)).text.split() == ["X"] * 3
        await stream.send("x x x x")
        await stream.end()
        assert finals(await read(stream)) == [(0, "X X X X")]
    assert [sent.text.count("x") for sent in client.requests] == [3, 4]
    assert stream.report().partials == 1
