"""Where a stop string ends a text, however the text comes in parts."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.stop_strings import begun_at_the_end, stop_in

from inferstream.pipeline.tasks.generate.stops import StopStrings

STRINGS = st.lists(st.text("ab😀", min_size=1, max_size=4), min_size=1, max_size=5)
PARTS = st.lists(st.text("ab😀", max_size=3), max_size=12)


@given(strings=STRINGS, parts=PARTS)
@example(strings=["a", "ab"], parts=["aab"])
@example(strings=["abab", "ba"], parts=["ab", "ab"])
@example(strings=["aaaab"], parts=["aaa", "aaa", "b"])
def test_it_is_found_in_any_parts(strings: list[str], parts: list[str]) -> None:
    search = StopStrings(strings).search()
    text = ""
    for part in parts:
        found = search.read(part)
        if found is not None:
            assert len(text) + found == stop_in(strings, text + part)
            return
        text += part
        assert stop_in(strings, text) is None
        assert search.begun == begun_at_the_end(strings, text)


@pytest.mark.parametrize("worst", ["a" * 255 + "b", "ab" * 128])
def test_the_worst_strings_are_read_in_linear_time(worst: str) -> None:
    """Counts the states that are visited instead of seconds."""
    strings = StopStrings([worst[start:] for start in range(16)])
    visits = 0
    after = strings.after

    def counted(state: int, character: str) -> int:
        nonlocal visits
        visits += 1
        return after(state, character)

    strings.after = counted  # type: ignore[method-assign]
    search = strings.search()
    text = worst[:-1] * 40
    for character in text:
        if search.read(character) is not None:
            break
    assert visits <= len(text)
