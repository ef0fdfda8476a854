"""One segment: which revisions are sent, and what is shown whatever the order of their answers."""

from hypothesis import given
from hypothesis import strategies as st

from inferstream import Overloaded
from inferstream.pipeline.client.captions.modes import MODES, Mode, shown_in
from inferstream.pipeline.client.captions.segment import Revision, Segment

SOURCE = "I was charged twice for one order"
HOLD_BACK_S = 2.0


def a_segment(mode: Mode = "live") -> Segment:
    return Segment(3, shown_in(mode, HOLD_BACK_S))


def asked(revision: Revision | None) -> Revision:
    assert revision is not None
    return revision


def text_of(segment: Segment) -> str | None:
    return None if segment.caption is None else segment.caption.text


def test_each_revision_supersedes_the_newest_that_has_no_answer() -> None:
    segment = a_segment()
    first = asked(segment.partial("I", 0.0))
    second = asked(segment.partial("I was", 0.1))
    assert (first.number, first.supersedes, second.number, second.supersedes) == (0, None, 1, 0)
    segment.answer(1, "Eu estava", 0.2)
    third = asked(segment.partial("I was charged", 0.3))
    assert (third.supersedes, segment.pending) == (0, 2)
    segment.pass_over(2)
    segment.pass_over(0)
    final = asked(segment.end("I was charged twice", 0.4))
    assert (final.number, final.final, final.supersedes) == (3, True, None)


def test_a_text_that_says_nothing_new_is_not_asked_again() -> None:
    segment = a_segment()
    assert segment.partial("  ", 0.0) is None
    asked(segment.partial("I was", 0.0))
    assert segment.partial("I was", 0.1) is None


def test_a_blank_final_is_done_at_once_and_takes_back_what_was_shown() -> None:
    segment = a_segment()
    asked(segment.partial("Hm", 0.0))
    segment.answer(0, "Hum", 0.1)
    assert segment.end(" ", 0.2) is None
    assert segment.is_done
    assert segment.caption is not None
    assert (segment.caption.text, segment.caption.final, segment.trace.erased) == ("", True, 1)


def test_a_final_with_the_text_of_the_last_partial_sends_the_same_request() -> None:
    segment = a_segment("stable")
    words = SOURCE.split()
    for count in range(1, len(words) + 1):
        last = asked(segment.partial(" ".join(words[:count]), count / 10))
        segment.answer(last.number, " ".join(words[:count]).upper(), count / 10)
    final = asked(segment.end(SOURCE, 1.0))
    assert (final.text, final.prefix) == (last.text, last.prefix)
    other = a_segment("stable")
    for count in range(1, len(words) + 1):
        last = asked(other.partial(" ".join(words[:count]), count / 10))
        other.answer(last.number, " ".join(words[:count]).upper(), count / 10)
    final = asked(other.end(f"{SOURCE}.", 1.0))
    assert last.prefix < final.prefix
    assert SOURCE.upper().startswith(final.prefix)


def test_in_the_mode_final_no_partial_is_asked() -> None:
    segment = a_segment("final")
    assert segment.partial("I was", 0.0) is None
    assert asked(segment.end(SOURCE, 0.1)).number == 0


def test_a_text_that_goes_back_is_translated_anew() -> None:
    segment = a_segment("stable")
    for number, text in enumerate(["a b c d e f", "a b c d e f g"]):
        revision = asked(segment.partial(text, number / 10))
        segment.answer(revision.number, text.upper(), number / 10)
    late = asked(segment.partial("a b c d e f g h", 0.2))
    assert late.prefix == "A B C D"
    back = asked(segment.partial("a x", 0.3))
    assert back.prefix == ""
    segment.answer(late.number, "A B C D E F G H", 0.4)  # of the text that does not hold any more
    assert text_of(segment) == "A B C D E F"
    segment.answer(back.number, "A X", 0.5)
    final = asked(segment.end("a x y", 0.6))
    assert final.prefix == ""
    segment.finish("A X Y", 0.7)
    assert text_of(segment) == "A X Y"


@given(st.data(), st.sampled_from(MODES))
def test_whatever_order_answers_come_in_and_how_often_the_final_is_last_and_once(
    data: st.DataObject, mode: Mode
) -> None:
    segment = a_segment(mode)
    words = SOURCE.split()
    sent = [segment.partial(" ".join(words[:count]), 0.0) for count in range(1, len(words))]
    final = asked(segment.end(SOURCE, 0.1))
    numbers = [one.number for one in sent if one is not None]
    events = data.draw(st.lists(st.sampled_from([*numbers, final.number]), max_size=20))
    newest = -1
    captions = []
    for now, number in enumerate([*events, final.number], 1):
        if number == final.number:
            segment.finish(SOURCE.upper(), now)
        elif data.draw(st.booleans()):
            segment.answer(number, " ".join(words[: number + 1]).upper(), now)
        else:
            segment.pass_over(number)
        segment.release(now)
        if segment.caption is not None:
            caption, segment.caption = segment.caption, None
            assert caption.segment == 3
            if not caption.final:
                assert caption.revision >= newest
                newest = caption.revision
                assert caption.text[: caption.settled] == SOURCE.upper()[: caption.settled]
            captions.append(caption)
    assert [caption.final for caption in captions] == [False] * (len(captions) - 1) + [True]
    assert captions[-1].text == SOURCE.upper()
    if mode == "final":
        assert len(captions) == 1


def test_a_failed_final_leaves_what_was_shown_and_tells_why() -> None:
    segment = a_segment()
    asked(segment.partial("I was", 0.0))
    segment.answer(0, "Eu estava", 0.1)
    asked(segment.end(SOURCE, 0.2))
    error = Overloaded("Come back later.")
    segment.fail(error)
    segment.finish("too late", 0.3)
    assert segment.caption is not None
    assert (segment.caption.text, segment.caption.error) == ("Eu estava", error)
