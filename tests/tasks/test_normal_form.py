"""The normal form of a text: NFC, and never more than linear time, whatever the text is."""

import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.tasks.normal_form import (
    MAX_CHARACTERS,
    MAX_MARKS,
    has_long_run_of_marks,
    normal_form,
)

MARKS = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.combining(chr(code))]
SIZE = 240_000

WORST = {
    "marks of two classes": "a" + "\u0301\u0316" * (SIZE // 4),
    "marks that decompose": "a" + "\u0344" * (SIZE // 2),
    "marks without a letter": "\u0316\u0301" * (SIZE // 4),
    "runs of just the limit": ("a" + "\u0301\u0316" * (MAX_MARKS // 2)) * (SIZE // 61),
    "Hangul in parts": "\u1112\u1161\u11ab" * (SIZE // 9),
    "characters that decompose": "\ufb2c" * (SIZE // 3),
    "marks beyond 16 bits": "a" + "\U0001d165\U0001d167" * (SIZE // 8),
    "marks behind much text": "caf\u00e9 " * 10_000 + "\u0301\u0316" * 40_000,
    "Han": "\u4e2d" * (SIZE // 3),
}


@pytest.mark.parametrize("kind", WORST)
def test_the_worst_text_of_each_kind_takes_linear_time(kind: str) -> None:
    """240 kB of marks took 120 s; a linear pass takes milliseconds, so 5 s leave room for any machine."""
    began = time.thread_time()
    normal_form(WORST[kind])
    assert time.thread_time() - began < 5.0


def test_no_mark_is_below_the_characters_that_are_looked_at() -> None:
    assert min(MARKS) >= "\u0300"


@given(st.text(st.sampled_from([*MARKS[::7], "a", "e", " ", "\u00e9", "\u4e2d", "\uac00"]), max_size=300))
def test_what_is_normalized_is_nfc_and_the_rest_stays(text: str) -> None:
    found = normal_form(text)
    assert found in (unicodedata.normalize("NFC", text.strip()), text.strip())
    longest = max(
        (len(run) for run in "".join("m" if unicodedata.combining(c) else " " for c in text.strip()).split()),
        default=0,
    )
    assert has_long_run_of_marks(text.strip()) == (longest > MAX_MARKS)
    if longest <= MAX_MARKS:
        assert found == unicodedata.normalize("NFC", text.strip())


def test_ordinary_long_texts_share_their_form() -> None:
    decomposed = "Ka\u0308se fu\u0308r Zoe\u0308 " * 400
    assert normal_form(decomposed) == unicodedata.normalize("NFC", decomposed).strip()
    assert normal_form("\u0e01\u0e49" * 5_000) == "\u0e01\u0e49" * 5_000


def test_a_text_beyond_the_bound_stays_as_it_is() -> None:
    text = "cafe\u0301 " * MAX_CHARACTERS
    assert normal_form(text) == text.strip()
