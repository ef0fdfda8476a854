"""`inferstream.testing`: what a user's test may rely on."""

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest
from msgspec import Struct
from support.wrong_arguments import WRONG_OF_ANY_METHOD, WRONG_OF_REQUEST

from inferstream import (
    Answer,
    Failure,
    InferstreamError,
    Overloaded,
    Request,
    ShuttingDown,
    Superseded,
    Timeout,
    TriageOptions,
    TriageOutput,
    UnknownModel,
    UnknownOption,
    UsageError,
    WrongType,
)
from inferstream.testing import FakeClient, FakeSyncClient, SentRequest, Streamed

BILLING = TriageOutput("billing", 0.9, "high", "team-a", needs_human=False)


def routed(request: SentRequest) -> TriageOutput:
    return TriageOutput("billing", 0.9, "high", request.text, needs_human=False)


async def test_an_answer_is_typed_and_the_request_recorded() -> None:
    async with FakeClient({"triage": BILLING}) as client:
        answer = await client.request(
            "triage",
            "a",
            id="t1",
            options=TriageOptions(threshold=0.5),
            model="big",
            tenant="acme",
            priority="high",
            timeout_s=5,
            key=b"k",
        )
        await client.request("triage", "b", timeout_s=None)
    assert answer.output == BILLING
    assert (answer.reply.id, answer.reply.model) == ("t1", "big")
    full, plain = client.requests
    assert (full.task, full.text, full.id, full.options) == ("triage", "a", "t1", {"threshold": 0.5})
    assert (full.model, full.tenant, full.priority, full.timeout_s, full.key) == (
        "big",
        "acme",
        "high",
        5,
        b"k",
    )
    assert (plain.text, plain.timeout_s, plain.key, plain.options) == ("b", None, None, {})


async def test_answers_are_values_functions_and_failures() -> None:
    async def slowly(request: SentRequest) -> TriageOutput:
        await asyncio.sleep(0)
        return routed(request)

    def picky(request: SentRequest) -> Any:
        if request.text == "b":
            raise Overloaded("Busy.", retry_after_ms=7)
        return routed(request)

    async with FakeClient({"triage": routed}) as client:
        assert (await client.request("triage", "a")).output.route == "a"
        client.set_answer("triage", slowly)
        assert (await client.request("triage", "b")).output.route == "b"
        for answer in (picky, Overloaded("Busy.", retry_after_ms=7)):
            client.set_answer("triage", answer)
            with pytest.raises(Overloaded, match=r"Busy\.") as caught:
                await client.request("triage", "b")
            assert caught.value.retry_after_ms == 7
        client.set_answer("triage", UnknownModel)
        with pytest.raises(UnknownModel):
            await client.request("triage", "b")
        client.set_answer("triage", Failure("", "", "a_later_code", "Wait."))
        with pytest.raises(InferstreamError) as unknown:
            await client.request("triage", "b")
    assert unknown.value.code == "a_later_code"


async def test_what_a_function_raises_is_raised_by_the_request() -> None:
    def wrong(request: SentRequest) -> Any:
        raise AssertionError(f"not {request.text}")

    async with FakeClient({"triage": wrong}) as client:
        with pytest.raises(AssertionError, match="not a"):
            await client.request("triage", "a")


async def test_map_gives_answers_and_failures_in_order() -> None:
    async with FakeClient(
        {"triage": lambda request: Overloaded("x") if request.text == "b" else BILLING}
    ) as client:
        answers = [answer async for answer in client.map("triage", ["a", "b", None, Request("d", id="t4")])]  # type: ignore[list-item]
    assert [answer.code if isinstance(answer, Failure) else answer.reply.id for answer in answers] == [
        "0",
        "overloaded",
        "wrong_type",
        "t4",
    ]
    assert [request.id for request in client.requests] == ["0", "1", "t4"]


async def test_a_task_of_ones_own() -> None:
    class Sentiment(Struct):
        label: str

    async with FakeClient({"sentiment": {"label": "good"}, "topics": ["a", "b"]}) as client:
        assert (await client.request("sentiment", "a")).output == {"label": "good"}
        assert (await client.request("sentiment", "a", output=Sentiment)).output == Sentiment("good")
        assert (await client.request("topics", "a", output=list[str])).output == ["a", "b"]


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"options": {"treshold": 1}}, UnknownOption),
        ({"options": {"threshold": "high"}}, WrongType),
        ({"text": "  "}, InferstreamError),
        ({"task": "embed"}, UsageError),
    ],
)
async def test_what_a_worker_refuses_is_refused(how: dict[str, Any], error: type[InferstreamError]) -> None:
    async with FakeClient({"triage": BILLING}) as client:
        with pytest.raises(error):
            await client.request(**({"task": "triage", "text": "a"} | how))


@pytest.mark.parametrize(("how", "error", "sentence"), [*WRONG_OF_ANY_METHOD, *WRONG_OF_REQUEST])
async def test_arguments_are_checked_as_by_the_client(
    how: dict[str, Any], error: type[InferstreamError], sentence: str
) -> None:
    async with FakeClient({"triage": BILLING}) as client:
        with pytest.raises(error, match=sentence):
            await client.request(**({"task": "triage", "text": "a"} | how))


async def test_the_test_decides_when_answers_come() -> None:
    async with FakeClient({"triage": routed}) as client:
        client.hold()
        waiting = [asyncio.create_task(client.request("triage", text)) for text in "abc"]
        assert len(await client.wait_for_requests(3)) == 3
        client.release(1)
        assert (await waiting[0]).output.route == "a"
        assert not waiting[1].done()
        with pytest.raises(Timeout):
            await client.request("triage", "d", timeout_s=0.01)
        client.release()
        assert [answer.output.route for answer in await asyncio.gather(*waiting)] == list("abc")
        assert (await client.request("triage", "e")).output.route == "e"


async def test_leaving_ends_what_is_held() -> None:
    async with FakeClient({"triage": BILLING}) as client:
        client.hold()
        waiting = asyncio.create_task(client.request("triage", "a"))
        await client.wait_for_requests(1)
    with pytest.raises(ShuttingDown):
        await waiting


STORY = Streamed(["Once", " upon", " a time"], {"text": "Once upon a time"})


async def test_a_stream() -> None:
    async with FakeClient({"tell": STORY}) as client:
        async with client.stream("tell", "a") as stream:
            assert [piece async for piece in stream] == STORY.pieces
            assert (await stream.answer()).output == {"text": "Once upon a time"}
        assert (await client.request("tell", "a")).output == {"text": "Once upon a time"}
    assert [request.stream for request in client.requests] == [True, False]


async def test_a_stream_piece_by_piece() -> None:
    async with FakeClient({"tell": STORY}) as client:
        client.hold()
        async with client.stream("tell", "a") as stream:
            for expected in STORY.pieces:
                client.release(1)
                assert await anext(stream) == expected
            end = asyncio.create_task(stream.answer())
            await asyncio.sleep(0)
            assert not end.done()
            client.release()
            assert (await end).output == STORY.output


async def test_a_stream_that_fails() -> None:
    async with FakeClient({"tell": Streamed(["a", "b"], Overloaded("Busy."))}) as client:
        got = []
        with pytest.raises(Overloaded):  # noqa: PT012
            async with client.stream("tell", "a") as stream:
                async for piece in stream:
                    got.append(piece)  # noqa: PERF401
    assert got == ["a", "b"]


async def test_a_stream_that_is_left_is_cancelled() -> None:
    async with FakeClient({"tell": STORY}) as client:
        client.hold()
        async with client.stream("tell", "a", id="t1"):
            await client.wait_for_requests(1)
        client.release()
        await client.request("tell", "b")
    assert client.cancelled == ["t1"]


def test_a_synchronous_stream() -> None:
    with FakeSyncClient({"tell": STORY}) as client:
        with client.stream("tell", "a") as stream:
            assert list(stream) == STORY.pieces
            assert stream.answer().output == STORY.output
        client.set_answer("tell", Streamed(["a"], Overloaded("Busy.")))
        with client.stream("tell", "a") as stream:
            assert next(stream) == "a"
            with pytest.raises(Overloaded):
                next(stream)
        client.hold()
        with client.stream("tell", "a", id="t1"):
            client.wait_for_requests(3)
        client.release()
        with pytest.raises(UsageError):
            client.stream("tell", "a", timeout_s=-1)
        with pytest.raises(UsageError, match="Enter the stream first"):
            next(client.stream("tell", "a"))
    assert client.cancelled == ["t1"]
    with pytest.raises(ShuttingDown):
        client.stream("tell", "a")


async def test_a_cancel_ends_what_is_held() -> None:
    async with FakeClient({"triage": BILLING}) as client:
        client.hold()
        waiting = asyncio.create_task(client.request("triage", "a", id="t1"))
        left = asyncio.create_task(client.request("triage", "b", id="t2"))
        await client.wait_for_requests(2)
        await client.cancel("t1", task="triage", reason="superseded")
        with pytest.raises(Superseded):
            await waiting
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        client.release()
        assert (await client.request("triage", "c")).output == BILLING
    assert client.cancelled == ["t1", "t2"]


def test_the_synchronous_one() -> None:
    with FakeSyncClient({"triage": routed}) as client:
        assert client.request("triage", "a").output.route == "a"
        mapped = list(client.map("triage", ["b", "c"]))
        assert [answer.output.route for answer in mapped if isinstance(answer, Answer)] == ["b", "c"]
        client.hold()
        thread = threading.Thread(target=lambda: client.request("triage", "d"))
        thread.start()
        client.wait_for_requests(4)
        client.release()
        thread.join()
        client.set_answer("triage", Overloaded)
        with pytest.raises(Overloaded):
            client.request("triage", "e")
        with pytest.raises(UsageError):
            client.request("triage", "e", timeout_s=-1)
    assert [request.text for request in client.requests] == list("abcde")


def test_a_wrong_set_of_answers() -> None:
    for answers in ([BILLING], None, {5: BILLING}):
        with pytest.raises(UsageError):
            FakeClient(answers)  # type: ignore[arg-type]


def test_it_needs_no_optional_package_and_no_kafka() -> None:
    code = """import asyncio, sys
from inferstream import TriageOutput
from inferstream.testing import FakeClient, FakeSyncClient
with FakeSyncClient({"triage": TriageOutput("a", 0.9, "high", "b", needs_human=False)}) as client:
    client.request("triage", "a")
heavy = {"numpy", "onnx", "onnxruntime", "aiokafka", "tokenizers", "diskcache", "faust", "torch", "click", "rich"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
