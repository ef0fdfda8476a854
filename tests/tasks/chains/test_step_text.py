"""What a step is asked: any text, filled from any answer; a wrong template is refused with a sentence."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.tasks.chains.step_text import DEFAULT, StepText


class Answered(msgspec.Struct):
    text: str
    score: float = 0.5
    names: list[str] = []
    note: str | msgspec.UnsetType = msgspec.UNSET


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


@given(before=TEXTS, asked=TEXTS, text=TEXTS, after=TEXTS)
def test_places_are_filled_once_and_the_rest_stays_as_it_is(
    before: str, asked: str, text: str, after: str
) -> None:
    template = f"{escaped(before)}{{text}}|{{output.text}}|{{text}}{escaped(after)}"
    output = msgspec.json.encode(Answered(text))
    assert StepText(template, Answered).of(asked, output) == f"{before}{asked}|{text}|{asked}{after}"


def test_a_text_stays_a_text_and_other_values_are_their_json() -> None:
    made = StepText("{output.text} {output.score} {output.names}[{output.note}]", Answered)
    output = msgspec.json.encode(Answered("a {text}", 0.25, ["x", "y"]))
    assert made.of("", output) == 'a {text} 0.25 ["x","y"][]'


def test_the_whole_output_is_its_json() -> None:
    assert StepText("{output}", list[int]).of("", b"[1,2]") == "[1,2]"
    assert StepText("{text}", Any).of("asked", b"[1,2]") == "asked"


@pytest.mark.parametrize("output", [b"[1]", b"3", b"null"])
def test_an_output_without_fields_is_told(output: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        StepText(DEFAULT, Answered).of("", output)


@pytest.mark.parametrize(
    ("template", "output", "words"),
    [
        ("{output.label}", Answered, "no field 'label': set `text`, with any of text, score, names, note"),
        (DEFAULT, list[int], "has no fields"),
        ("{reply}", Answered, "{reply} is none of {text}, {output} and {output.NAME}"),
        ("{}", Answered, "is none of"),
        ("{0}", Answered, "is none of"),
        ("{text:>10}", Answered, "a placeholder is a name alone"),
        ("{text!r}", Answered, "a placeholder is a name alone"),
        ("{text", Answered, "which is no such text"),
        ("a } b", Answered, "which is no such text"),
        ("{output.text.x}", Answered, "no field 'text.x'"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(template: str, output: Any, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        StepText(template, output)
    assert words in str(refused.value)
