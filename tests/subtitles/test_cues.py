"""Where the words of a file stand: cues of SubRip and WebVTT, and what is refused with its line."""

import pytest

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.subtitles.cue import Cue
from inferstream.pipeline.subtitles.plain import plain_cues
from inferstream.pipeline.subtitles.srt import srt_cues
from inferstream.pipeline.subtitles.vtt import vtt_cues

TIMES = "00:00:01,000 --> 00:00:02,500"


def words(text: str, cues: list[Cue]) -> list[str]:
    return [text[cue.place.start : cue.place.end] for cue in cues]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"1\n{TIMES}\nHello\nyou\n\n2\n{TIMES}\nBye\n", ["Hello\nyou", "Bye"]),
        (f"\n\n{TIMES}\nHello\n\n\n{TIMES}\nBye", ["Hello", "Bye"]),
        (f"1\n{TIMES}\nHello\n2\n{TIMES}\nBye", ["Hello", "Bye"]),
        (f"1\r\n{TIMES}\r\nHello\r\n\r\n2\r\n{TIMES} X1:10 X2:20\r\nBye", ["Hello", "Bye"]),
        (f"1\r{TIMES}\rHello\r\r2\r{TIMES}\rBye", ["Hello", "Bye"]),
        (f"1\n{TIMES}\n\n2\n{TIMES}\n  \n\n3\n{TIMES}\nBye", ["", "", "Bye"]),
        (f"1\n{TIMES}\nFirst\n\nsecond\n\n7\n\n2\n{TIMES}\nBye", ["First\n\nsecond\n\n7", "Bye"]),
        ("1\n0:00:01.0 --> 0:00:02.50\nHello\n\n2\n00:03,000-->00:04,000\nBye", ["Hello", "Bye"]),
        ("", []),
        ("\n \n", []),
    ],
)
def test_cues_of_subrip(text: str, expected: list[str]) -> None:
    assert words(text, srt_cues(text, "a.srt")) == expected


def test_times_and_lines_of_subrip() -> None:
    text = f"1\n{TIMES}\nHello\n\n2\n01:02:03,4 --> 123:00:00,000\n\nBye"
    assert [(cue.place.number, cue.begin_ms, cue.end_ms) for cue in srt_cues(text, "a.srt")] == [
        (3, 1_000, 2_500),
        (8, 3_723_400, 442_800_000),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Hello\n", "a.srt, line 1 is no cue, which has a number, a line such as 00:00:01,000"),
        ("1\n", "line 1 is no cue"),
        ("\nWEBVTT\n\n00:01.000 --> 00:02.000\nHello", "line 2 begins WebVTT: name the file .vtt"),
        (f"Title\n\n1\n{TIMES}\nHello", "line 1 is no cue"),
        (
            f"1\n{TIMES}\nHello\n\n2\n00:00:01,000 -> 00:00:02,500\nBye",
            "line 6 has times that cannot be read",
        ),
        (
            f"1\n{TIMES}\nHello\n\n2\n00:00:0l,000 --> 00:00:02,500\nBye",
            "line 6 has times that cannot be read",
        ),
        (f"1\n{TIMES}\nHello\n\n2\nBye", "line 6 must be the times of the cue 2, such as"),
    ],
)
def test_what_is_no_subrip(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        srt_cues(text, "a.srt")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WEBVTT", []),
        (
            "WEBVTT - a title\nKind: captions\n\nNOTE no\n\n00:01.000 --> 00:02.000\nHello\nyou",
            ["Hello\nyou"],
        ),
        (
            "WEBVTT\n\nSTYLE\n::cue { color: red }\n\nREGION\nid:a\n\nintro\n00:01.000 --> 00:02.000 line:0\nHello",
            ["Hello"],
        ),
        ("WEBVTT\r\n\r\n1\r\n00:01.000 --> 00:02.000\r\n\r\nNOTE\r\nno\r\n", [""]),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n00:03.000 --> 00:04.000\nBye", ["Hello", "Bye"]),
        ("WEBVTT\n00:01.000 --> 00:02.000\nHello", ["Hello"]),
        ("WEBVTT\n\nNOTE\n00:01.000 --> 00:02.000\na cue with this name", ["a cue with this name"]),
    ],
)
def test_cues_of_webvtt(text: str, expected: list[str]) -> None:
    assert words(text, vtt_cues(text, "a.vtt")) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "a.vtt, line 1 is not WEBVTT, which a WebVTT file begins with; for SubRip add --format srt"),
        ("WEBVTTX\n", "line 1 is not WEBVTT"),
        (f"1\n{TIMES}\nHello\n", "line 1 is not WEBVTT"),
        ("WEBVTT\n\n00:01.000 --> 00:02\nHello", "line 3 has times that cannot be read"),
        (
            "WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n\nlost words\n",
            "line 6 begins neither a cue nor a note",
        ),
        ("WEBVTT\n\na\nb\n00:01.000 --> 00:02.000\nHello", "line 3 begins neither a cue nor a note"),
    ],
)
def test_what_is_no_webvtt(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        vtt_cues(text, "a.vtt")


def test_lines_of_a_text() -> None:
    text = "One\r\n\r\n two\n\t\nthree"
    assert words(text, plain_cues(text, "a.txt")) == ["One", " two", "three"]
