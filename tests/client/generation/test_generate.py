"""`Client.generate` and `Client.chat`: tokens while they are made, the keys of their requests, and their end."""

from typing import Any

import pytest
from support.steps_rig import until

from inferstream import Overloaded, UsageError, WrongType
from inferstream.pipeline.client.generation.messages import messages_of
from inferstream.pipeline.client.prefix_keys import Beginning, PrefixKeys
from inferstream.schemas.generation import (
    ChatMessage,
    Choice,
    GenerateOptions,
    GenerateOutput,
    GenerateRequest,
    Token,
    Usage,
)
from inferstream.testing import FakeClient, FakeSyncClient, Streamed

TOKENS = [Token(1, "Once"), Token(2, " upon"), Token(3, " a time")]
OUTPUT = GenerateOutput([Choice("Once upon a time", [1, 2, 3], [4, 5, 7], "end")], Usage(2, 0, 3))
ANSWER = {"generate": Streamed(TOKENS, output=OUTPUT)}
CONVERSATION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]


async def test_tokens_come_by_a_loop_alone_and_the_answer_by_the_entered_stream() -> None:
    async with FakeClient(ANSWER) as client:
        assert [token async for token in client.generate("Tell me")] == TOKENS
        async with client.generate("Tell me", options=GenerateOptions(max_tokens=3)) as stream:
            assert [token.text async for token in stream] == ["Once", " upon", " a time"]
            answer = await stream.answer()
    assert answer.output.text == "Once upon a time"
    assert answer.output.usage.generated_tokens == 3
    assert [request.options for request in client.requests] == [{}, {"max_tokens": 3}]
    assert all(request.stream for request in client.requests)


async def test_an_iterable_that_was_left_has_cancelled_its_request() -> None:
    async with FakeClient(ANSWER) as client:
        client.hold()
        client.release(1)
        tokens = aiter(client.generate("Tell me", id="left"))
        assert (await anext(tokens)).text == "Once"
        await tokens.aclose()
        client.release()
    assert client.cancelled == ["left"]


async def test_a_loop_that_is_broken_off_has_cancelled_its_request() -> None:
    async with FakeClient(ANSWER) as client:
        client.hold()
        client.release(1)
        async for _ in client.generate("Tell me", id="left"):
            break
        await until(
            lambda: bool(client.cancelled)
        )  # the event loop ends the iterable in one of its next turns
    assert client.cancelled == ["left"]


async def test_a_conversation_is_the_key_and_without_one_the_beginning_prefers_a_partition() -> None:
    async with FakeClient(ANSWER) as client:
        for how in ({"conversation": "c-7"}, {}):
            async with client.chat(CONVERSATION, **how) as stream:
                await stream.answer()
        async with client.generate("Once") as stream:
            await stream.answer()
    keyed, near, text = client.requests
    assert keyed.key == b"c-7"
    assert near.key is None, "no order is asked for"
    assert isinstance(keyed.body, GenerateRequest)
    assert keyed.body.messages == [ChatMessage("system", "Be brief."), ChatMessage("user", "Hello")]
    assert text.text == "Once"
    (keys,) = client._prefix_keys.values()
    assert not keys._waiting, "an answered request waits no longer"


async def test_two_tenants_with_one_name_have_two_conversations() -> None:
    async with FakeClient(ANSWER) as client:
        for tenant in ("acme", "other", "acme", None):
            async with client.chat(CONVERSATION, conversation="support", tenant=tenant) as stream:
                await stream.answer()
    acme, other, again, without = (request.key for request in client.requests)
    assert acme == again
    assert len({acme, other, without}) == 3
    assert without == b"support"


@pytest.mark.parametrize(("spread", "partitions"), [(1, 1), (3, 3), (99, 12)])
async def test_a_popular_beginning_spreads_as_far_as_the_caller_says(
    spread: int, partitions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def twelve(self: FakeClient, call: object) -> int:
        return 12

    taken: set[bytes] = set()
    take = PrefixKeys.take

    def noted(self: PrefixKeys, beginning: Beginning, spread: int) -> bytes:
        key = take(self, beginning, spread)
        taken.add(key)
        return key

    monkeypatch.setattr(FakeClient, "_partitions_of", twelve)
    monkeypatch.setattr(PrefixKeys, "take", noted)
    async with FakeClient(ANSWER) as client:
        for number in range(100):
            messages = [CONVERSATION[0], {"role": "user", "content": str(number)}]
            async with client.chat(messages, spread=spread) as stream:
                await stream.answer()
    assert len(taken) == partitions


async def test_the_error_of_a_request_is_raised_by_the_loop() -> None:
    async with FakeClient({"generate": Overloaded("Busy.", retry_after_ms=100)}) as client:
        with pytest.raises(Overloaded, match="Busy"):
            async for _ in client.generate("Tell me"):
                pass
        assert not client._prefix_keys["generate"]._waiting


def test_programs_without_an_event_loop_have_both() -> None:
    with FakeSyncClient(ANSWER) as client:
        with client.generate("Tell me") as stream:
            assert list(stream) == TOKENS
        with client.chat(CONVERSATION) as stream:
            assert stream.answer().output == OUTPUT
        assert list(client.generate("Tell me")) == TOKENS


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("Hello", "must be a list of messages, as .* not 'Hello'"),
        ({"role": "user", "content": "Hello"}, "must be a list of messages"),
        (None, "must be a list of messages.* not None"),
        ([{"role": "user"}], 'Message 0 must have a "role" and a "content"'),
        ([CONVERSATION[0], {"role": 1, "content": "a"}], "Message 1 must have"),
        ([ChatMessage("user", 5)], "Message 0 must have"),  # type: ignore[arg-type]
        (["Hello"], "Message 0 must have"),
    ],
)
def test_what_is_no_conversation_is_refused(given: Any, message: str) -> None:
    with pytest.raises(WrongType, match=message):
        messages_of(given)


async def test_wrong_arguments_are_refused_at_once() -> None:
    async with FakeClient(ANSWER) as client:
        with pytest.raises(UsageError, match="name"):
            client.chat(CONVERSATION, conversation="")
        with pytest.raises(UsageError, match="`spread` must be a whole number of 1 or more, not 0"):
            client.generate("Once", spread=0)
        with pytest.raises(WrongType, match="text"):
            client.generate(5)  # type: ignore[arg-type]
