"""A file is translated in place: what is a mark stays, what is one sentence is one passage, and nothing is lost."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.subtitles.script import Script, ScriptFormat, format_of
from inferstream.pipeline.subtitles.splitting import split, wrap


def srt(*cues: str, gap_ms: int = 100) -> str:
    """Cues of 900 ms, each some time behind the other."""

    def stamp(milliseconds: int) -> str:
        return f"00:{milliseconds // 60_000:02}:{milliseconds // 1000 % 60:02},{milliseconds % 1000:03}"

    step = 900 + gap_ms
    return "\n".join(
        f"{number + 1}\n{stamp(number * step)} --> {stamp(number * step + 900)}\n{cue}\n"
        for number, cue in enumerate(cues)
    )


def vtt(cue: str) -> str:
    return f"WEBVTT\n\n00:01.000 --> 00:02.000 align:start\n{cue}\n"


def passages(script: Script) -> list[str]:
    return [passage.text for passage in script.passages]


def shouted(script: Script) -> str:
    """The translation of a translator that shouts, and leaves tags alone."""
    tag = re.compile(r"(<[^<>]*>)")

    def shout(text: str) -> str:
        return "".join(part if tag.fullmatch(part) else part.upper() for part in tag.split(text))

    return script.translated([shout(passage.text) for passage in script.passages])


@pytest.mark.parametrize(
    ("cue", "sent", "written"),
    [
        ("Hello", ["Hello"], "HELLO"),
        ("Hello\nthere you", ["Hello there you"], "HELLO\nTHERE YOU"),
        ("{\\an8}<i>Hello</i>", ["Hello"], "{\\an8}<i>HELLO</i>"),
        ("<i>Hello\nyou</i>", ["Hello you"], "<i>HELLO\nYOU</i>"),
        ("<i>Hello</i>\n<i>you</i>", ["Hello you"], "<i>HELLO</i>\n<i>YOU</i>"),
        ("<b><i>Hello</i></b>\n<b><i>you</i></b>", ["Hello you"], "<b><i>HELLO</i></b>\n<b><i>YOU</i></b>"),
        ("<i>Hello</i> you", ["<i>Hello</i> you"], "<i>HELLO</i> YOU"),
        ("Hello <i>you</i>", ["Hello <i>you</i>"], "HELLO <i>YOU</i>"),
        ("<i>Hello</i>\nyou", ["<i>Hello</i> you"], "<i>HELLO</i>\nYOU"),
        ('<font color="#fff">Hello</font>', ["Hello"], '<font color="#fff">HELLO</font>'),
        ("- Hello\n- And you", ["Hello", "And you"], "- HELLO\n- AND YOU"),
        ("-Hello\n–And\nyou", ["Hello", "And you"], "-HELLO\n–AND\nYOU"),
        ("<i>- Hello\n- And you</i>", ["Hello", "And you"], "<i>- HELLO\n- AND YOU</i>"),
        ("♪ La la la ♪\n♪ And you ♪", ["La la la", "And you"], "♪ LA LA LA ♪\n♪ AND YOU ♪"),
        ("[a door]", ["a door"], "[A DOOR]"),
        ("(a door) Hello", ["(a door) Hello"], "(A DOOR) HELLO"),
        ("[DOOR SLAMS]\nMAN: Who?", ["DOOR SLAMS", "MAN: Who?"], "[DOOR SLAMS]\nMAN: WHO?"),
        ("<i>[a door]</i>\nHello", ["a door", "Hello"], "<i>[A DOOR]</i>\nHELLO"),
        ("MAN: Hello there\nDR. X: You", ["MAN: Hello there", "DR. X: You"], "MAN: HELLO THERE\nDR. X: YOU"),
        ("They had\ntwo: a cat", ["They had two: a cat"], "THEY HAD\nTWO: A CAT"),
        ("-5 degrees", ["-5 degrees"], "-5 DEGREES"),
        ("1984", [], "1984"),
        ("♪♪", [], "♪♪"),
        ("<i></i>", [], "<i></i>"),
        ("...", [], "..."),
        ("One.\n\nTwo.", ["One.", "Two."], "ONE.\n\nTWO."),
        ("  Hello  ", ["Hello"], "  HELLO  "),
        ("Rock & roll", ["Rock & roll"], "ROCK & ROLL"),
    ],
)
def test_marks_stay_and_words_change(cue: str, sent: list[str], written: str) -> None:
    script = Script(srt(cue), "srt", "a")
    assert passages(script) == sent
    assert shouted(script) == srt(written)


@pytest.mark.parametrize(
    ("cue", "sent", "written"),
    [
        ("<v Mary>Hello", ["Hello"], "<v Mary>HELLO"),
        (
            "<v.loud Mary>Hello <c.red>you</c>",
            ["Hello <c.red>you</c>"],
            "<v.loud Mary>HELLO <c.red>YOU</c>",
        ),
        (
            "Hello<00:01.500><c> there</c>\n<c> you two</c>",
            ["Hello<00:01.500><c> there</c> <c> you two</c>"],
            "HELLO<00:01.500><c> THERE</c>\n<c> YOU TWO</c>",
        ),
        ("Rock &amp; roll&nbsp;!", ["Rock & roll\u00a0!"], "ROCK &amp; ROLL\u00a0!"),
        ("a &lt;b&gt;", ["a &lt;b&gt;"], "A &amp;LT;B&amp;GT;"),
    ],
)
def test_marks_of_webvtt(cue: str, sent: list[str], written: str) -> None:
    script = Script(vtt(cue), "vtt", "a")
    assert passages(script) == sent
    assert shouted(script) == vtt(written)


@pytest.mark.parametrize(
    ("cues", "sent"),
    [
        (["When I was", "young."], ["When I was young."]),
        (["It is late. I", "must go."], ["It is late. I must go."]),
        (["Go!", "Now."], ["Go!", "Now."]),
        (['"Go."', "He went."], ['"Go."', "He went."]),
        (["<i>When I was</i>", "<i>young.</i>"], ["When I was young."]),
        (["<i>When I was</i>", "young."], ["When I was", "young."]),
        (["When <i>I</i> was", "young."], ["When <i>I</i> was", "young."]),
        (["- When I was", "- No"], ["When I was", "No"]),
        (["- Why\n- No", "and I"], ["Why", "No", "and I"]),
        (["PARIS", "We went by train."], ["PARIS", "We went by train."]),
        (["♪ la la", "la ♪"], ["la la", "la"]),
        (["[door]", "[steps]"], ["door", "steps"]),
        (["one", "two", "three", "four", "five", "six", "seven"], ["one two three four five six", "seven"]),
        (["a " * 200, "b " * 200], ["a " * 199 + "a", "b " * 199 + "b"]),
    ],
)
def test_a_sentence_over_cues_is_one_passage(cues: list[str], sent: list[str]) -> None:
    assert passages(Script(srt(*cues), "srt", "a")) == sent


def test_cues_that_are_apart_or_overlap_are_not_joined() -> None:
    cues = ["When I was", "young."]
    assert passages(Script(srt(*cues, gap_ms=2_000), "srt", "a")) == cues
    assert passages(Script(srt(*cues, gap_ms=-100), "srt", "a")) == cues
    assert passages(Script(srt(*cues), "srt", "a", join=False)) == cues


def test_lines_of_a_text_are_joined_where_its_width_broke_them() -> None:
    wrapped = "It was a bright cold day in April, and all\nthe clocks were striking thirteen.\n"
    text = f"A title\nand a list\n\n{wrapped}\nThe end\n"
    script = Script(text, "txt", "a")
    assert passages(script) == ["A title", "and a list", wrapped.strip().replace("\n", " "), "The end"]
    assert shouted(script) == text.upper()


def test_a_line_that_became_too_long_is_broken_once() -> None:
    long = "word " * 10
    script = Script(srt("A short line."), "srt", "a")
    assert script.translated([long]) == srt(f"{'word ' * 5}".strip() + f"\n{'word ' * 5}".rstrip())
    long_before = Script(srt(long + "and more"), "srt", "a")
    assert long_before.translated([long.strip()]) == srt(long.strip())


def test_a_translation_cannot_end_its_cue() -> None:
    script = Script(vtt("Hello"), "vtt", "a")
    assert script.translated(["a --> b\n\n00:01.000 --> 00:02.000\nc"]) == vtt(
        "a -> b 00:01.000 -> 00:02.000 c"
    )


SOURCES = st.lists(st.text("ab,. ", min_size=1, max_size=40).filter(str.strip), min_size=1, max_size=8)


@given(SOURCES, st.text("cd,.\u00a0é ", min_size=1, max_size=200).filter(str.strip))
def test_a_split_loses_no_word(sources: list[str], translation: str) -> None:
    shares = split(translation, sources)
    assert len(shares) == len(sources)
    words = re.split(r"[ ]+", translation.strip(" "))
    if len(words) >= len(sources):
        assert re.split(r" +", " ".join(shares)) == words
        assert all(shares)
    else:
        assert set(shares) == {" ".join(words)}


@pytest.mark.parametrize(
    ("translation", "sources", "shares"),
    [
        (
            "Quando eu era jovem, morava perto do mar.",
            ["When I was young,", "I lived near the sea."],
            ["Quando eu era jovem,", "morava perto do mar."],
        ),
        ("É tarde. Tenho de ir.", ["It is late. I", "have to go."], ["É tarde.", "Tenho de ir."]),
        ("Venha!", ["Come", "on!"], ["Venha!", "Venha!"]),
        ("Bom dia. - Boa noite. -", ["Hello you. -", "Hello you. -"], ["Bom dia. -", "Boa noite. -"]),
        ("Hello. - Yes. -", ["Hello. -", "Yes. -"], ["Hello. -", "Yes. -"]),
        ("我今天去了学校。", ["Today I went", "to school."], ["我今天去", "了学校。"]),
    ],
)
def test_shares_follow_clauses_and_lengths(translation: str, sources: list[str], shares: list[str]) -> None:
    assert split(translation, sources) == shares


def test_wrap() -> None:
    assert wrap("one two three four", 2) == ["one two", "three four"]
    assert wrap("one", 2) == ["one"]
    assert wrap('<font face="a b" size="3">one</font> two', 2) == [
        '<font face="a b" size="3">one</font>',
        "two",
    ]


PIECES = st.sampled_from(
    [
        "Hello",
        "you.",
        "<i>",
        "</i>",
        "{\\an8}",
        "- ",
        "♪",
        "\n",
        " ",
        "\n\n",
        "[",
        "]",
        "1984",
        "&amp;",
        "<",
        ">",
    ]
)


@given(st.lists(PIECES, max_size=30).map("".join), st.sampled_from(["srt", "vtt", "txt"]), st.booleans())
@example("><Hello", "srt", True)
@example("Helloyou. - ", "srt", True)
def test_without_translations_a_file_stays_as_it_is(words: str, kind: ScriptFormat, join: bool) -> None:
    text = {"srt": srt(words, words), "vtt": vtt(words), "txt": words}[kind]
    try:
        script = Script(text, kind, "a", join=join)
    except UsageError:
        return  # a blank line in a cue of WebVTT
    assert script.translated([None] * len(script.passages)) == text
    changed = script.translated([passage.text for passage in script.passages])
    # A space before a tag may become one behind it: the tag that opens belongs to the words behind.
    assert "".join(changed.split()) == "".join(text.split())


def test_a_megabyte_of_the_worst_kind_takes_no_time() -> None:
    for worst in (
        "<" * 1_000_000,
        "- " * 500_000,
        "a\n" * 500_000,
        "<i>" * 300_000,
        " " * 1_000_000,
        "♪\n" * 300_000,
    ):
        text = srt("Hello" + worst)
        script = Script(text, "srt", "a")
        assert script.translated([None] * len(script.passages)) == text


@pytest.mark.parametrize(
    ("name", "given_format", "expected"),
    [("a.srt", None, "srt"), ("a.VTT", None, "vtt"), ("a.txt", "srt", "srt"), ("a", "txt", "txt")],
)
def test_formats(name: str, given_format: Any, expected: str) -> None:
    assert format_of(Path(name), given_format) == expected
