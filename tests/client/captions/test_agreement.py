"""What a reader sees of a growing translation: agreed words, held back for a bounded time, kept for good."""

from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.client.captions.agreement import LocalAgreement
from inferstream.pipeline.client.captions.modes import FinalText, shown_in
from inferstream.pipeline.client.captions.words import common, words_of

WORDS = st.lists(st.sampled_from([" a", " b", " c"]), max_size=8)
STEPS = st.lists(st.tuples(WORDS, st.floats(0.0, 3.0)), max_size=12)
HOLD_BACK_S = 2.0


@given(st.text())
def test_the_words_of_a_text_are_the_text(text: str) -> None:
    assert "".join(words_of(text)) == text.rstrip()
    assert all(word.strip() for word in words_of(text))


@given(WORDS, WORDS)
def test_the_common_start_is_the_longest(one: list[str], other: list[str]) -> None:
    count = common(one, other)
    assert one[:count] == other[:count]
    assert one[: count + 1] != other[: count + 1] or count == len(one) == len(other)


def test_a_word_is_shown_when_two_translations_in_a_row_have_it() -> None:
    agreement = LocalAgreement(HOLD_BACK_S)
    agreement.add(words_of("Fui"), 0.0)
    assert agreement.shown == []
    agreement.add(words_of("Fui cobrado"), 0.1)
    assert agreement.shown == ["Fui"]
    agreement.add(words_of("Fui cobrada duas"), 0.2)
    assert agreement.shown == ["Fui"]
    agreement.add(words_of("Fui cobrada duas vezes"), 0.3)
    assert "".join(agreement.shown) == "Fui cobrada duas"


def test_shown_words_change_when_two_translations_agree_on_others() -> None:
    agreement = LocalAgreement(HOLD_BACK_S)
    for now, text in enumerate(["a b c", "a b c"]):
        agreement.add(words_of(text), now / 10)
    agreement.add(words_of("a b x y"), 0.2)
    assert "".join(agreement.shown) == "a b c"
    agreement.add(words_of("a b x y z"), 0.3)
    assert "".join(agreement.shown) == "a b x y"


@given(STEPS, st.floats(0.1, 5.0))
def test_no_word_is_held_back_for_longer_than_the_limit(
    steps: list[tuple[list[str], float]], limit_s: float
) -> None:
    agreement = LocalAgreement(limit_s)
    now = 0.0
    for words, pause_s in steps:
        end = now + pause_s
        while (due := agreement.release_at) is not None and due <= end:
            assert due >= now - 1e-9
            agreement.release(due)
            now = due
        now = end
        agreement.release(now)
        agreement.add(words, now)
        if (due := agreement.release_at) is not None:
            assert now < due <= now + limit_s
    if (due := agreement.release_at) is not None:
        for _ in range(20):  # nothing more comes: all of the newest translation is shown in the end
            if (due := agreement.release_at) is None:
                break
            agreement.release(due)
        assert agreement.release_at is None


@given(STEPS)
def test_what_is_kept_never_changes(steps: list[tuple[list[str], float]]) -> None:
    agreement = LocalAgreement(HOLD_BACK_S)
    now = 0.0
    kept: list[str] = []
    for words, pause_s in steps:
        now += pause_s
        agreement.release(now)
        agreement.add(words, now)
        assert agreement.kept[: len(kept)] == kept
        kept = agreement.kept
        assert agreement.shown[: len(kept)] == kept
        assert len(kept) <= len(agreement.shown)


@given(STEPS)
def test_without_a_limit_only_words_are_shown_that_two_translations_in_a_row_had(
    steps: list[tuple[list[str], float]],
) -> None:
    agreement = LocalAgreement(1e9)
    earlier: list[str] = []
    agreed: list[list[str]] = [[]]
    for words, pause_s in steps:
        kept = agreement.kept
        agreement.add(words, pause_s)
        if words[: len(kept)] == kept:  # otherwise it was passed over
            agreed.append(words[: common(earlier, words)])
            earlier = words
        assert agreement.shown in [one[: len(agreement.shown)] for one in agreed]


@given(STEPS)
def test_equal_steps_give_equal_texts(steps: list[tuple[list[str], float]]) -> None:
    one, other = LocalAgreement(HOLD_BACK_S), LocalAgreement(HOLD_BACK_S)
    for now, (words, _) in enumerate(steps):
        one.add(words, now)
        other.add(words, now)
    assert (one.shown, one.kept) == (other.shown, other.kept)


def test_a_source_that_has_changed_keeps_nothing() -> None:
    agreement = LocalAgreement(HOLD_BACK_S)
    for now in range(2):
        agreement.add(words_of("a b c d"), now / 10)
    assert "".join(agreement.kept) == "a b"
    agreement.forget()
    assert agreement.kept == []
    agreement.add(words_of("x y z"), 0.3)
    assert "".join(agreement.shown) == "a b c d"
    agreement.add(words_of("x y z"), 0.4)
    assert "".join(agreement.shown) == "x y z"


def test_after_the_final_was_asked_for_nothing_more_is_kept() -> None:
    agreement = LocalAgreement(HOLD_BACK_S)
    agreement.add(words_of("a b c d"), 0.0)
    agreement.freeze()
    agreement.add(words_of("a b c d"), 0.1)
    assert "".join(agreement.shown) == "a b c d"
    assert agreement.kept == []


@given(st.lists(st.text(max_size=20)))
def test_the_mode_final_shows_nothing_before_the_final(translations: list[str]) -> None:
    shown = shown_in("final", HOLD_BACK_S)
    assert isinstance(shown, FinalText)
    for now, translation in enumerate(translations):
        shown.add(translation, now)
        shown.release(now)
        assert (shown.text, shown.prefix, shown.asks, shown.release_at) == ("", "", False, None)
