"""A text that grows by tokens: what is settled stays, and all of it together is the text."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.stop_strings import begun_at_the_end, stop_in
from support.tiny_llama import TOKENIZER

from inferstream.pipeline.optimize.pull.decoders.gguf_tokenizer import tokenizer_of
from inferstream.pipeline.runtime.text_tokens import TextTokens
from inferstream.pipeline.tasks.generate.growing_text import GrowingText
from inferstream.pipeline.tasks.generate.stops import StopStrings

STOPS = st.lists(st.text("ab 😀�", min_size=1, max_size=3), max_size=4)
WORDS = st.text("ab 😀é", max_size=30)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TextTokens:
    path = tmp_path_factory.mktemp("tokens") / "tokenizer.json"
    tokenizer_of(TOKENIZER, path).save(str(path))
    return TextTokens(path, 500)


def grow(tokens: TextTokens, ids: list[int], stops: list[str]) -> tuple[GrowingText, int]:
    """The whole text, and how many tokens it took. Checks that nothing settled changes, and all is settled in time."""
    text = GrowingText(tokens.stream(), StopStrings(stops).search() if stops else None)
    settled: list[str] = []
    taken = 0
    for token in ids:
        text.add(token)
        taken += 1
        assert text.added[: len(settled)] == settled
        if text.stopped:
            break
        assert text.settled >= len(settled)
        settled = text.added[: text.settled]
        begun = begun_at_the_end(stops, "".join(text.added)) if stops else 0
        behind_the_first_open = len("".join(text.added[text.settled + 1 :]))
        assert text.settled >= taken - 1 or behind_the_first_open < begun
    text.finish()
    assert text.added[: len(settled)] == settled
    assert text.settled == len(text.added) == taken
    return text, taken


@given(ids=st.lists(st.integers(0, 263), max_size=40), stops=STOPS)
@example(ids=[], stops=["a"])
def test_the_text_is_that_of_all_tokens_up_to_the_first_stop(
    tokens: TextTokens, ids: list[int], stops: list[str]
) -> None:
    text, taken = grow(tokens, ids, stops)
    whole = tokens.decode(ids[:taken])
    found = stop_in(stops, whole) if stops else None
    assert "".join(text.added) == (whole if found is None else whole[:found])
    assert text.stopped == (found is not None)
    if not text.stopped:
        assert taken == len(ids)


@given(words=WORDS, stops=STOPS)
def test_no_character_is_split_and_no_token_more_is_taken_than_the_stop_needs(
    tokens: TextTokens, words: str, stops: list[str]
) -> None:
    ids = tokens.encode(words, with_special=False)
    text, taken = grow(tokens, ids, stops)
    assert all("\ufffd" not in added for added in text.added)
    if text.stopped:
        before = tokens.decode(ids[: taken - 1]).rstrip("\ufffd")
        assert stop_in(stops, before) is None


def test_an_emoji_of_four_tokens_is_shown_by_the_last(tokens: TextTokens) -> None:
    text = GrowingText(tokens.stream())
    shown = []
    for token in tokens.encode("😀", with_special=False):
        text.add(token)
        shown.append((text.settled, "".join(text.added)))
    assert shown == [(0, ""), (1, ""), (2, ""), (4, "😀")]


def test_what_may_be_a_stop_string_waits(tokens: TextTokens) -> None:
    text = GrowingText(tokens.stream(), StopStrings(["</a>", "</a", "<b"]).search())
    settled = []
    for token in tokens.encode("x</</a", with_special=False):
        text.add(token)
        settled.append(text.settled)
    assert (settled[:5], text.stopped) == ([1, 1, 1, 3, 3], True)
    assert "".join(text.added) == "x</"


def test_a_text_of_broken_characters_takes_linear_time(tokens: TextTokens) -> None:
    """The stream is asked for the bytes of each token once."""
    token = tokens.encode("é", with_special=False)[1]
    text = GrowingText(tokens.stream())
    for _ in range(5_000):
        text.add(token)
    text.finish()
    assert "".join(text.added) == "\ufffd" * 5_000
