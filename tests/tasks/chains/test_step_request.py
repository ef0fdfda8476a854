"""What a step is asked: a request of its task, with a text wherever the settings have one."""

from typing import Any

import msgspec
import pytest

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.tasks.chains.step_request import StepRequest, step_content
from inferstream.pipeline.tasks.chains.step_text import Before, Known
from inferstream.schemas.generation import GenerateRequest
from inferstream.schemas.messages import Request, TriageOutput

BEFORE = Before(TriageOutput)
OUTPUT = msgspec.json.encode(
    TriageOutput("refund", 0.9, "high", "billing", False, text_blocks=["We pay back.", "Bye."])
)
MESSAGES = [
    {"role": "system", "content": "Be brief. As {{}}."},
    {"role": "user", "content": "{text}: {output.category}\n{output.text_blocks:lines}"},
]


def test_each_text_of_the_request_is_filled() -> None:
    request = StepRequest({"messages": MESSAGES}, BEFORE, "generate", GenerateRequest)
    assert request.of(Known("first", "I was {charged}", OUTPUT)) == {
        "messages": [
            {"role": "system", "content": "Be brief. As {}."},
            {"role": "user", "content": "I was {charged}: refund\nWe pay back.\nBye."},
        ]
    }
    assert not request.has_text
    assert not request.asks_request


def test_a_category_without_text_blocks_leaves_nothing_in_their_place() -> None:
    request = StepRequest({"messages": MESSAGES}, BEFORE, "generate", GenerateRequest)
    without = msgspec.json.encode(TriageOutput("refund", 0.9, "high", "billing", False))
    empty = msgspec.json.encode(TriageOutput("refund", 0.9, "high", "billing", False, text_blocks=[]))
    for output in (without, empty):
        assert request.of(Known("", "t", output))["messages"][1]["content"] == "t: refund\n"


def test_what_is_no_text_stays_as_it_is() -> None:
    class Spoken(Request, frozen=True):
        audio: str = ""
        rates: tuple[int | str, ...] = ()
        loud: bool = False

    content = {"audio": "{text}", "rates": [1, "{request.text}"], "loud": True}
    request = StepRequest(content, Before(Any), "hear", Spoken)
    assert request.of(Known("r", "t", b"[]")) == {"audio": "t", "rates": [1, "r"], "loud": True}
    assert request.asks_request


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        ({}, Request, "has an empty `request`; a request to 'generate' has: text"),
        ({"txt": "a"}, Request, "has a `request` with the field 'txt'; a request to 'generate' has: text"),
        ({"messages": []}, Request, "with the field 'messages'; a request to 'generate' has: text"),
        ({"id": "a"}, GenerateRequest, "with the field 'id'; a request to 'generate' has: text, messages"),
        ({"options": {}}, GenerateRequest, "with the field 'options'"),
        ({"text": 3}, Request, "has a wrong request at text (expected `str`, got `int`)"),
        (
            {"messages": [{"role": "user"}]},
            GenerateRequest,
            "has a wrong request at messages[0] (object missing required field `content`)",
        ),
        ({"messages": "{text}"}, GenerateRequest, "has a wrong request at messages (expected `array`"),
        (
            {"messages": [{"role": "user", "content": "{output.team}"}]},
            GenerateRequest,
            "is asked '{output.team}', but the answer of the step before has no field 'team'",
        ),
    ],
)
def test_a_request_that_cannot_be_is_refused(content: Any, kind: type[Request], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        StepRequest(content, BEFORE, "generate", kind)
    assert words in str(refused.value)


def test_a_text_is_short_for_a_request_of_one() -> None:
    assert step_content(None, None) == {"text": "{output.text}"}
    assert step_content("a", None) == {"text": "a"}
    with pytest.raises(UsageError, match="has a `text` and a `request`: leave one of them out"):
        step_content("a", {"text": "a"})
