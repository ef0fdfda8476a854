"""A text of a step's request: any text, filled from any answer; a wrong template is refused with a sentence."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.tasks.chains.step_text import DEFAULT, MAX_SHOWN, Before, Known, StepText


class Answered(msgspec.Struct):
    text: str
    score: float = 0.5
    names: list[str] = []
    note: str | msgspec.UnsetType = msgspec.UNSET


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def made(template: str, output: bytes, asked: str = "", request: str = "", kind: Any = Answered) -> str:
    text = StepText(template, Before(kind))
    known = Known(request, asked, output)
    return text.of(known, known.fields() if any(place.field for place in text.places) else {})


@given(before=TEXTS, request=TEXTS, asked=TEXTS, text=TEXTS, after=TEXTS)
def test_places_are_filled_once_and_the_rest_stays_as_it_is(
    before: str, request: str, asked: str, text: str, after: str
) -> None:
    template = f"{escaped(before)}{{text}}|{{output.text}}|{{request.text}}{escaped(after)}"
    output = msgspec.json.encode(Answered(text))
    assert made(template, output, asked, request) == f"{before}{asked}|{text}|{request}{after}"


@pytest.mark.parametrize("hostile", ["{text}", "{output}", "{{ 7 * 7 }}", "{% for x in y %}", "}{", "%s {0}"])
def test_what_looks_like_a_place_in_a_ticket_or_an_answer_is_text(hostile: str) -> None:
    output = msgspec.json.encode(Answered(hostile, names=[hostile]))
    template = "{text} {request.text} {output.text} {output.names:lines}"
    assert made(template, output, hostile, hostile) == " ".join([hostile] * 4)


def test_a_text_stays_a_text_and_other_values_are_their_json() -> None:
    output = msgspec.json.encode(Answered("a {text}", 0.25, ["x", "y"]))
    template = "{output.text} {output.score} {output.names}[{output.note}]"
    assert made(template, output) == 'a {text} 0.25 ["x","y"][]'


def test_the_whole_output_is_its_json() -> None:
    assert made("{output}", b"[1,2]", kind=list[int]) == "[1,2]"
    assert made("{text}", b"[1,2]", "asked", kind=Any) == "asked"


@pytest.mark.parametrize(
    ("names", "lines"),
    [([], ""), (["one"], "one"), (["one", "two\n"], "one\ntwo\n"), (["ünï", '"'], 'ünï\n"')],
)
def test_items_of_a_list_may_have_lines(names: list[str], lines: str) -> None:
    output = msgspec.json.encode(Answered("t", names=names))
    assert made("<{output.names:lines}>", output) == f"<{lines}>"


def test_lines_of_what_is_no_list_of_texts() -> None:
    assert made("{output:lines}", b'[1,{"a":2},null,[3]]', kind=Any) == '1\n{"a":2}\n\n[3]'
    assert made("{output.text:lines}", b'{"text":"a"}') == "a"
    assert made("{output.text:lines}", b"{}") == ""


@given(text=TEXTS, most=st.integers(0, 20))
def test_a_number_bounds_the_characters(text: str, most: int) -> None:
    output = msgspec.json.encode(Answered(text, names=[text, text]))
    template = f"{{text:.{most}}}|{{output.text:.{most}}}|{{output.names:lines.{most}}}"
    cut = text[:most]
    lines = f"{text}\n{text}"
    assert made(template, output, text) == f"{cut}|{cut}|{lines[:most]}"


@pytest.mark.parametrize("output", [b"[1]", b"3", b"null"])
def test_an_output_without_fields_is_told(output: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        made(DEFAULT, output)


@pytest.mark.parametrize(
    ("template", "output", "words"),
    [
        ("{output.label}", Answered, "no field 'label': write a text with any of text, score, names, note"),
        (DEFAULT, list[int], "has no fields"),
        ("{reply}", Answered, "{reply} is none of {text}, {request.text}, {output} and {output.NAME}"),
        ("{}", Answered, "is none of"),
        ("{0}", Answered, "is none of"),
        ("{request}", Answered, "is none of"),
        ("{request.id}", Answered, "is none of"),
        ("{text.__class__}", Answered, "is none of"),
        ("{text:>10}", Answered, "a place is a name, as in {output.text}, with :lines, :.500 or :lines.500"),
        ("{text:{output.text}}", Answered, "a place is a name"),
        ("{text:.9999999999}", Answered, "a place is a name"),
        ("{text!r}", Answered, "a place is a name"),
        ("{text", Answered, "which is no such text"),
        ("a } b", Answered, "which is no such text"),
        ("{output.text.x}", Answered, "no field 'text.x'"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(template: str, output: Any, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        StepText(template, Before(output))
    assert words in str(refused.value)


def test_a_step_that_is_asked_no_text_has_none_to_pass_on() -> None:
    with pytest.raises(UsageError, match=r"the step before is asked no text: write \{request\.text\}"):
        StepText("{text}", Before(Answered, has_text=False))


def test_of_a_long_text_a_sentence_shows_the_beginning() -> None:
    with pytest.raises(UsageError) as refused:
        StepText("prompt\n" * 1_000 + "{oops}", Before(Answered))
    assert "{oops} is none of" in str(refused.value)
    assert len(str(refused.value)) < MAX_SHOWN + 200
    assert "\n" not in str(refused.value)
