"""Texts into sentences: nothing is lost, and what belongs together stays together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.tasks.translate.splitting import LONGEST, cut_of, paragraphs, sentence_ends

LETTERS = st.sampled_from(
    [*"aBé汉.!? ,;:\n\r\t\"'()“”…", "\u2028", "\u0301", "😀", "Mr. ", "\r\n", "  ", "<i>"]
)
TEXTS = st.text(max_size=80) | st.lists(LETTERS, max_size=80).map("".join)
WRAPPED = "The winner said on Friday that Maria\nSmith would be there with her family."


def sentences(text: str, language: str = "en") -> list[str]:
    found = []
    for paragraph in paragraphs(text):
        start = 0
        for end in sentence_ends(paragraph, language):
            found.append(paragraph[start:end])
            start = end
        assert start == len(paragraph)
    return found


@given(text=TEXTS)
@pytest.mark.parametrize("language", ["en", "pt", "zh", "", "none-such"])
def test_the_sentences_join_to_the_text(language: str, text: str) -> None:
    found = sentences(text, language)
    assert "".join(found) == text
    assert all(found)


@pytest.mark.parametrize(
    "text", ["汉。", "“a. ", "a", "a. ", " ", "\n", "\n\n", "a b c\n", ".", "<a>", "\u2028"]
)
def test_the_sentences_of_a_long_text_join_to_it(text: str) -> None:
    long = text * (3 * LONGEST // len(text))
    assert "".join(sentences(long)) == long


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My card is late. Why?  No idea!", ["My card is late. ", "Why?  ", "No idea!"]),
        ("O Sr. Silva pagou 3.50 euros. Obrigado.", ["O Sr. Silva pagou 3.50 euros. ", "Obrigado."]),
        ("One\n\n\nTwo\n", ["One\n\n\n", "Two\n"]),
        ("my card is late\nand broken", ["my card is late\nand broken"]),
        ("my card is late.\nand broken", ["my card is late.\n", "and broken"]),
        ("milk\nbread\nbutter", ["milk\n", "bread\n", "butter"]),
        ("What I bought today\nMilk and bread", ["What I bought today\n", "Milk and bread"]),
        (WRAPPED, [WRAPPED]),
        (f"{WRAPPED}\n\nThe end", [f"{WRAPPED}\n\n", "The end"]),
        ("The first of several long items here\n- The second of several long items", None),
    ],
)
def test_where_a_sentence_ends(text: str, expected: list[str] | None) -> None:
    assert sentences(text) == (text.splitlines(keepends=True) if expected is None else expected)


def test_a_cut_falls_behind_a_clause_or_a_word() -> None:
    assert cut_of("one two, three four") == len("one two, ")
    assert cut_of("one two three") in (4, 8)
    assert cut_of("onetwothree") == len("onetwothree")
