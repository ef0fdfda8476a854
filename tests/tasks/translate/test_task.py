"""Texts in, translations out, over a model that does what a test says: what must survive, survives."""

import gc
import re
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET
from support.fake_translator import FakeTranslation, Way

from inferstream.pipeline.errors import TooLarge, UnknownOption, WrongType
from inferstream.pipeline.tasks.base import Ask
from inferstream.pipeline.tasks.translate.code_blocks import blocks

LINK = "https://example.org/a?b=1&c=2#d"
WAYS: dict[str, Way] = {
    "the same": str,
    "words in reverse": lambda source: " ".join(reversed(source.split())),
    "capitals": str.upper,
    "nothing": lambda source: "",
    "another text": lambda source: "Uma frase de todo diferente.",
    "everything twice": lambda source: f"{source} {source}",
    "one word": lambda source: source.split()[0],
}
NAMES = [
    LINK,
    "www.example.com/x",
    "jane.doe+x@example.com",
    "{name}",
    "<%= name %>",
    "`git x`",
    "C:\\x\\y.pdf",
    "#tag",
    "@me",
    "北京",
    "Łódź",
]
MARKUP = ["<i>", "</i>", "<br/>", '<a href="https://x.org/">', "</a>", "{\\an8}", "**", "😀", "♪", "<", "€"]
BROKEN = ["\n", "\t", "   ", "\r\n", "\u2028"]
ITEMS = st.sampled_from([*(f" {name} " for name in NAMES), *MARKUP, *BROKEN])
WORDS = st.sampled_from(["my", "card", "is", "late", "Hello", "it's", "no", "12", "3.50", "(why)", "a-b"])
SIGNS = st.sampled_from([" ", " ", " ", ". ", ", ", "! ", "? ", "", "..."])
TEXTS = st.lists(st.one_of(WORDS, WORDS, ITEMS, SIGNS), min_size=1, max_size=24).map("".join)
KEPT = re.compile(
    r"https://example\.org/a\?b=1&c=2#d|www\.example\.com/x|jane\.doe\+x@example\.com|\{name\}|<%= name %>|`git x`|#tag"
    r"|@me|</?i>|<br/>|<a href=\"https://x\.org/\">|</a>|\{\\an8\}|😀|♪|€|北京|Łódź"
)
BREAKS = re.compile(r"\r\n|[\n\r\t\u2028]")


def counts(pattern: "re.Pattern[str]", text: str) -> Counter[str]:
    return Counter(pattern.findall(text))


@pytest.mark.parametrize("way", WAYS)
@given(text=TEXTS.filter(lambda text: not text.isspace()))
@example(text="a<i>\n</i>b")
@example(text="<i></i>card")
@example(text="see<i>@me</i>")
def test_what_must_survive_survives_any_translation(way: str, text: str) -> None:
    answer = FakeTranslation(WAYS[way])(text)
    assert counts(BREAKS, answer.text) == counts(BREAKS, text)
    missing = counts(KEPT, text) - counts(KEPT, answer.text)
    assert not missing, (text, answer.text)


@given(text=st.text(max_size=60).filter(lambda text: bool(text) and not text.isspace()))
def test_any_text_has_an_answer(text: str) -> None:
    for way in WAYS.values():
        FakeTranslation(way)(text)


@given(text=TEXTS.filter(lambda text: not text.isspace()))
def test_a_model_that_changes_nothing_leaves_the_words_and_the_spaces_at_the_ends(text: str) -> None:
    answer = FakeTranslation()(text).text
    assert re.sub(r"[\s<]", "", KEPT.sub("", answer)) == re.sub(r"[\s<]", "", KEPT.sub("", text))
    assert len(answer) - len(answer.lstrip()) == len(text) - len(text.lstrip())


@pytest.mark.parametrize("way", WAYS)
@given(text=TEXTS.filter(lambda text: not text.isspace()), prefix=TEXTS | st.text(max_size=20))
def test_an_answer_begins_with_the_prefix_exactly(way: str, text: str, prefix: str) -> None:
    assert FakeTranslation(WAYS[way])(text, prefix=prefix).text.startswith(prefix)


@pytest.mark.parametrize(
    "text",
    [
        "...",
        "<i></i>",
        "{\\an8}",
        "😀",
        "12,50",
        " \u200b ",
        LINK,
        "**",
        "\u00a0-\u00a0",
        "Привет, мир!",
        "北京",
    ],
)
def test_a_text_without_a_word_for_the_model_stays_as_it_is(text: str) -> None:
    translation = FakeTranslation(str.upper)
    assert translation(text).text == text
    assert translation.sources == []


def test_another_script_is_left_and_told() -> None:
    answer = FakeTranslation(str.upper)("My card. Привет, мир! Late.")
    assert answer.text == "MY CARD. Привет, мир! LATE."
    assert (
        answer.note
        == "1 of 3 sentences are of another script than the model for 'en' reads, and left as it was."
    )


def test_sentences_are_rows_and_join_with_their_own_spaces() -> None:
    translation = FakeTranslation(str.upper)
    answer = translation("My card is late.  Why?\n\n\tNo answer came.\r\n")
    assert answer.text == "MY CARD IS LATE.  WHY?\n\n\tNO ANSWER CAME.\r\n"
    assert translation.sources == ["My card is late.", "Why?", "No answer came."]
    assert answer.sentences == 3


def test_a_line_that_was_wrapped_is_one_sentence_and_keeps_its_break() -> None:
    translation = FakeTranslation(str.upper)
    assert translation("My card is late\nand broken.").text == "MY CARD IS LATE\nAND BROKEN."
    assert translation.sources == ["My card is late and broken."]
    assert translation("My list:\nmilk\nbread").text == "MY LIST:\nMILK\nBREAD"
    assert translation.sources == ["My list:", "milk", "bread"]


def test_markup_around_and_inside() -> None:
    translation = FakeTranslation(str.upper)
    assert translation("<b>My</b> card is <i>late</i>, no?").text == "<b>MY</b> CARD IS <i>LATE</i>, NO?"
    assert translation.sources == ["My card is late, no?"]
    assert (
        translation("<b>H<sub>2</sub>O</b> is x<sup>2</sup>.").text
        == "<b>H<sub>2</sub>O</b> IS x<sup>2</sup>."
    )
    assert translation("{\\an8}<i>My card</i>").text == "{\\an8}<i>MY CARD</i>"


def test_entities_beside_words_are_put_back() -> None:
    translation = FakeTranslation(str.upper)
    assert (
        translation("He said &quot;no&quot;, no&nbsp; a &lt; b.").text
        == "HE SAID &quot;NO&quot;, NO&nbsp; A &lt; B."
    )
    translation("Salt &amp; water")
    assert translation.sources == ["Salt &amp; water"]


def test_a_sentence_that_is_too_long_is_cut_behind_a_clause_or_a_word() -> None:
    translation = FakeTranslation(str.upper, max_tokens=32)
    text = "my card is late, and nobody here knows why, so write to me soon please and tell me when it comes"
    assert translation(text).text == text.upper()
    assert translation.sources[0] == "my card is late,"
    assert all(len(source) < 32 for source in translation.sources)


@pytest.mark.parametrize(
    "text", ["<b>a</b>" * 40, "a" + "{name}" * 30 + "b", "a<i>" * 99 + "@me", f"a{LINK}<b>" * 9]
)
def test_letters_with_items_between_them_and_no_space_fit_into_rows(text: str) -> None:
    translation = FakeTranslation(max_tokens=32)
    answer = translation(text).text
    assert answer == text or "<" in text
    assert sorted(answer.replace(" ", "")) == sorted(text)  # a tag inside of a word may move to its end
    assert all(len(source.replace(" ", "")) < 32 for source in translation.sources)


@pytest.mark.parametrize(
    "text", ["Dear{name}{surname}!", "{a}5 items", "item{n}s", "no{a}{b}", "x{a}<i>y</i>"]
)
def test_no_placeholder_of_an_item_that_touches_a_word_is_left(text: str) -> None:
    translation = FakeTranslation()
    assert translation(text).text == text
    assert FakeTranslation(lambda source: f"Oi {source}")(text).text == f"Oi {text}"
    assert FakeTranslation()(text, prefix=text).text == text


def test_a_word_that_is_too_long_for_any_language_is_kept() -> None:
    translation = FakeTranslation(str.upper)
    data = "ab" * 500
    assert translation(f"My card {data} is late.").text == f"MY CARD {data} IS LATE."


@pytest.mark.parametrize("sign", ["a", "😀", "汉", "a\u0316", "&", "http://a.b/", "x."])
def test_a_long_run_without_a_space_stays_whole(sign: str) -> None:
    translation = FakeTranslation(str.upper)
    text = sign * 30_000
    assert translation(f"My card. {text}").text == f"MY CARD. {text}"


def test_numbers_that_are_lost_are_told() -> None:
    lose = FakeTranslation(lambda source: source.replace("645", "1040").replace(",", "."))
    assert lose("It is 645 miles and 1,234 euros.").note == "Not found in the translation: 645."
    assert not FakeTranslation(lambda source: "100 mil")("100,000").note


@pytest.mark.parametrize(
    ("source", "made", "text"),
    [
        ("It is $1,234.56 now.", "Sim $1,234,56 agora.", "Sim $1.234,56 agora."),
        ("It is $2,000.00 now.", "Sim $2.000.00 agora.", "Sim $2.000,00 agora."),
        ("It is 1,234.56 now.", "Sim 1,234.56 agora.", "Sim 1,234.56 agora."),
        ("It is 1,234.56 now.", "Sim 1234,56 agora.", "Sim 1234,56 agora."),
        ("It is 1,000 now.", "Sim 1000 agora.", "Sim 1000 agora."),
        ("Version 3.11.2 now.", "Vai 3,11,2 agora.", "Vai 3.11.2 agora."),
    ],
)
def test_a_number_is_written_as_in_the_source_or_with_points_and_commas_exchanged(
    source: str, made: str, text: str
) -> None:
    answer = FakeTranslation(lambda _: made)(source)
    assert (answer.text, answer.note) == (text, UNSET)


def test_a_block_of_code_stays_as_it_is() -> None:
    code = "```python\nfor i in range(10):\n\n    print(i)\n```"
    translation = FakeTranslation(str.upper)
    assert translation(f"My card\n{code}\nis late").text == f"MY CARD\n{code}\nIS LATE"
    assert translation(code).text == code
    assert translation("```\nmy card").text == "```\nMY CARD"


@given(text=st.lists(st.sampled_from(["```", "~~~", "````", "\n", "\r\n", " ", "py", "a b"])).map("".join))
def test_the_parts_of_a_text_with_code_join_to_it(text: str) -> None:
    assert "".join(part for part, _ in blocks(text)) == text
    for part, is_code in blocks(text):
        assert not is_code or part.lstrip()[:3] in ("```", "~~~")


def test_raised_digits_survive() -> None:
    translation = FakeTranslation()
    text = "It has 120 m² or 10⁶ of ①"
    assert translation(text).text == text
    assert translation.sources == ["It has 120 EZ-1 or EZ-2 of EZ-3"]
    assert translation("x² + y²").text == "x² + y²"


def test_a_translation_that_does_not_end_says_so() -> None:
    answer = FakeTranslation(most=3)("My card. No.")
    assert (answer.text, answer.complete) == ("My c No.", False)
    assert answer.note == "1 of 2 sentences are stopped at the largest length that the model allows."


def test_whole_sentences_of_a_prefix_are_not_translated_again() -> None:
    translation = FakeTranslation(str.upper)
    answer = translation("My card. It is late. Why?", prefix="Ma carte.  IT IS")
    assert answer.text == "Ma carte.  IT IS LATE. WHY?"
    assert translation.sources == ["It is late.", "Why?"]


def test_a_prefix_that_does_not_fit_to_the_sentences_begins_the_first_of_them_as_one() -> None:
    translation = FakeTranslation(str.upper)
    answer = translation("My card is late. Why?", prefix="MY CARD! IS")
    assert answer.text.startswith("MY CARD! IS")
    assert translation.sources == ["My card is late. Why?"]


def test_an_abbreviation_in_a_prefix_is_not_the_end_of_its_sentence() -> None:
    translation = FakeTranslation(str.upper)
    text = "He came at a time when nobody was here, and he left again. Why?"
    translation(text, prefix="HE CAME p.m. A")
    assert translation.sources == [text]


def test_a_prefix_longer_than_a_translation_may_be_is_the_answer() -> None:
    translation = FakeTranslation()
    prefix = "a word and " * 40
    answer = translation("My card.", prefix=prefix)
    assert (answer.text, answer.complete) == (prefix, False)
    assert answer.note == "The prefix is longer than a translation of this text may be: it is given as it is."
    assert translation.sources == []
    assert translation("My card.", prefix="x" * 1_000_000).text == "x" * 1_000_000


def test_what_is_not_translated_goes_on_behind_a_prefix() -> None:
    assert FakeTranslation()("😀 12,50", prefix="😀 1").text == "😀 12,50"


def test_items_that_a_prefix_shows_already_are_not_put_twice() -> None:
    answer = FakeTranslation(str.upper)(
        "See <i>my</i> link www.example.com now 😀 please.", prefix="SEE <i>MY</i> LINK"
    )
    assert answer.text == "SEE <i>MY</i> LINK www.example.com NOW 😀 PLEASE."


def test_signs_of_typesetters_are_written_as_the_model_knows_them() -> None:
    translation = FakeTranslation()
    translation("“My card” — it’s late…")
    assert translation.sources == ['"My card" - it\'s late...']
    assert FakeTranslation()("Água fria.").text == "Água fria."


def test_a_text_of_too_many_tokens_is_refused_before_it_is_read_to_its_end() -> None:
    task = FakeTranslation().task
    with pytest.raises(TooLarge, match="more than the 100 tokens allowed"):
        task.prepare([Ask("my card. " * 100_000, task.options({}))], 100)


def test_wrong_options_are_one_sentence() -> None:
    task = FakeTranslation().task
    with pytest.raises(WrongType, match="option 'target' must be 'pt' with letters-int8, not 'de'"):
        task.options({"target": "de"})
    with pytest.raises(
        UnknownOption, match="Translate has no option 'to'; its options are: glossary, prefix"
    ):
        task.options({"to": "pt"})
    with pytest.raises(WrongType, match="1000 are allowed: put them into the file"):
        task.options({"glossary": {str(number): "" for number in range(1_001)}})
    with pytest.raises(WrongType, match="a term has 1 to 100 characters"):
        task.options({"glossary": {" ": "x"}})


def test_a_request_leaves_nothing_for_the_garbage_collector() -> None:
    translated = FakeTranslation()
    translated("One. Two.")  # what is made once is there now
    gc.collect()
    gc.disable()
    try:
        translated("Three. Four.", prefix="Three")
        assert gc.collect() == 0
    finally:
        gc.enable()
