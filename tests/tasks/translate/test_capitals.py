"""Texts in capitals, as live captions of television have them: read in small letters, written in capitals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_translator import FakeTranslation

from inferstream.pipeline.tasks.translate.capitals import in_capitals, is_in_capitals


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("I WAS CHARGED TWICE.", "I was charged twice."),
        ("STOP!", "Stop!"),
        ("- <i>WHERE</i> IS IT?", "- Where is it?"),
        ("CALL ME AT a@example.com NOW", "Call me at EZ-1 now"),
        ("@ME IS LATE", "EZ-1 is late"),
        ("USA", "USA"),
        ("REFUND", "REFUND"),
        ("Call the USA OFFICE", "Call the USA OFFICE"),
    ],
)
def test_the_model_gets_small_letters(text: str, read: str) -> None:
    sources: list[str] = []

    def way(source: str) -> str:
        sources.append(source)
        return source

    assert FakeTranslation(way)(text).text == text
    assert sources == [read]


def test_a_prefix_in_capitals_is_kept_and_the_rest_is_in_capitals() -> None:
    answer = FakeTranslation(lambda source: "eu fui cobrado #1")("I WAS CHARGED TWICE", prefix="EU FUI")
    assert answer.text.startswith("EU FUI")
    assert answer.text.isupper()


def test_a_term_of_the_glossary_is_found_in_capitals() -> None:
    answer = FakeTranslation(str)("THE INVOICE IS LATE", glossary={"invoice": "fatura"})
    assert answer.text == "THE FATURA IS LATE"


@given(st.text())
def test_capitals_keep_places(text: str) -> None:
    assert len(in_capitals(text)) == len(text)
    assert not is_in_capitals(text.lower()) or text.lower().isupper()
