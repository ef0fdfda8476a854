"""`inferstream request generate`: a text, or the JSON of a conversation."""

import pytest

from inferstream.pipeline.cli.commands.request import _content
from inferstream.schemas.generation import ChatMessage, GenerateRequest
from inferstream.schemas.messages import Request


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("Once upon a time", "Once upon a time"),
        (
            ' {"messages": [{"role": "user", "content": "a"}]}',
            GenerateRequest(messages=[ChatMessage("user", "a")]),
        ),
        ('{"text": "a", "id": "b"}', GenerateRequest(text="a", id="b")),
        ('{"name": "a"}', '{"name": "a"}'),
        ('{"name": ', '{"name": '),
        ('{"text": 7}', '{"text": 7}'),
        ("{}", "{}"),
    ],
)
def test_what_is_no_request_is_a_text(given: str, asked: Request | str) -> None:
    assert _content("generate", given) == asked


def test_a_text_of_another_task_is_never_a_request() -> None:
    assert _content("triage", '{"text": "a"}') == '{"text": "a"}'
