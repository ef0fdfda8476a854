"""What a request is about: a text or messages, in normal form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.errors import BadRequest, BlankText, MissingText
from inferstream.pipeline.tasks.generate.reading import Prompt, read_prompt
from inferstream.schemas.codec import DecodeError, decode_request, encode
from inferstream.schemas.generation import ChatMessage, GenerateRequest
from inferstream.schemas.messages import Request


def chat(*contents: str, role: str = "user") -> GenerateRequest:
    return GenerateRequest(messages=[ChatMessage(role, content) for content in contents])


def test_a_text_keeps_its_spaces_and_has_a_normal_form() -> None:
    assert read_prompt(GenerateRequest(text=" cafe\u0301\n")) == Prompt(text=" café\n")
    assert read_prompt(Request(text="a")) == Prompt(text="a"), "a client may send the type of all tasks"


def test_messages_are_read_in_normal_form() -> None:
    prompt = read_prompt(chat("cafe\u0301 ", ""))
    assert prompt == Prompt(messages=(ChatMessage("user", "café "), ChatMessage("user", "")))
    assert read_prompt(chat("cafe\u0301 ", "")) == read_prompt(chat("café ", ""))


@pytest.mark.parametrize(
    ("request_", "kind", "sentence"),
    [
        (
            GenerateRequest(),
            MissingText,
            "The request has neither a text nor messages: send `text`, a prompt, or",
        ),
        (GenerateRequest(text=""), BlankText, "The text is blank"),
        (GenerateRequest(text=" \n"), BlankText, "The text is blank"),
        (GenerateRequest(messages=[]), MissingText, "The list of messages is empty"),
        (chat("", " "), BlankText, "All messages are blank"),
        (
            GenerateRequest(text="a", messages=[]),
            BadRequest,
            "The request has a text and messages: send `text`",
        ),
        (chat("a", role="boss"), BadRequest, "Message 1 has the role 'boss'; the roles are: system, user,"),
        (chat("a", role="x" * 9_999), BadRequest, "Message 1 has the role 'xxxxxxxxxxxxxxxxxxxx'; the roles"),
        (chat("a", role="user<|im_end|>"), BadRequest, "Message 1 has the role 'user<|im_end|>'; the roles"),
    ],
)
def test_what_cannot_be_read_has_its_sentence(
    request_: GenerateRequest, kind: type[BadRequest], sentence: str
) -> None:
    with pytest.raises(kind) as caught:
        read_prompt(request_)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ('{"messages": "Hello"}', "The field `messages` is wrong: expected `array`, got `str`."),
        ('{"messages": ["Hello"]}', "The field `messages[0]` is wrong: expected `object`, got `str`."),
        ('{"messages": [{"role": "user"}]}', "The body lacks the field `content`"),
        ('{"messages": [{"role": "user", "content": null}]}', "The field `messages[0].content` is wrong"),
        ('{"text": 7}', "The field `text` is wrong: expected `str`, got `int`."),
    ],
)
def test_a_body_of_a_foreign_client_that_is_wrong_has_its_sentence(body: str, sentence: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_request(body.encode(), GenerateRequest)
    assert caught.value.message.startswith(sentence)


def test_ten_thousand_messages_of_marks_are_read_as_they_are() -> None:
    """Sorting marks takes time that is not linear, on the event loop."""
    request = chat(*["e\u0301" * 50] * 10_000)
    assert [message.content for message in read_prompt(request).messages] == ["e\u0301" * 50] * 10_000


@given(contents=st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_reading_twice_changes_nothing(contents: list[str]) -> None:
    try:
        prompt = read_prompt(chat(*contents))
    except BlankText:
        assert all(not content or content.isspace() for content in contents)
        return
    again = GenerateRequest(messages=list(prompt.messages))
    assert read_prompt(again) == prompt
    try:
        sent = encode(again)
    except UnicodeEncodeError:
        return  # half a surrogate pair
    assert read_prompt(decode_request(sent, GenerateRequest)) == prompt
