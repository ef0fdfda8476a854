"""The demo of captions: how talks are spoken, and the whole of it as a user runs it."""

import json

import pytest

from inferstream.pipeline.cli.main import run
from inferstream.pipeline.lab.demo.captions import ShownSegment, ShownTalk
from inferstream.pipeline.lab.demo.talks import TALKS, WORDS_A_PARTIAL, spoken
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.pulling import pull

FAST = ("--words-per-second", "40", "--streams", "6")


@pytest.fixture(scope="module")
def translators() -> None:
    """The models in the user's cache folder, as a user has them; fetched on the first run."""
    for name in ("translate-en-pt", "translate-pt-en"):
        pull(ModelRegistry(), name, lambda step, done, total: None)


def test_a_segment_grows_by_a_few_words_and_ends_with_all() -> None:
    for talk in TALKS:
        for segment in talk.segments:
            known = list(spoken(segment))
            assert known[-1].text == segment
            assert [one.final for one in known] == [False] * (len(known) - 1) + [True]
            assert sum(one.words for one in known) == len(segment.split())
            assert all(one.words <= WORDS_A_PARTIAL for one in known)
            assert all(segment.startswith(one.text) for one in known)


def test_the_demo_in_one_process(translators: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "translate", *FAST]) == 0
    shown = capsys.readouterr().out
    segments = sum(len(talk.segments) for talk in TALKS)
    assert shown.count("  final   ") == segments, "of the five talks that are shown"
    finals = [line for line in shown.splitlines() if "  final   " in line]
    assert all(line.partition("→")[2].strip() for line in finals)
    for talk in TALKS:
        order = [
            next(number for number, line in enumerate(finals) if segment in line) for segment in talk.segments
        ]
        assert order == sorted(order)
    assert "0 lost, 0 duplicated, 0 out of order" in shown
    assert all(word in shown for word in ("erasure", "last word", "batches", "superseded", "1 more"))


def test_a_narrow_terminal_has_fewer_columns_and_none_is_cut(
    translators: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "42")
    assert run(["demo", "translate", *FAST]) == 0
    shown = capsys.readouterr().out
    table = shown[shown.index("\nCaptions") : shown.index("words: mean lag")]
    assert [line.split() for line in table.splitlines()[2:3]] == [
        ["stream", "finals", "last", "word", "erasure"]
    ]
    assert "…" not in table


@pytest.mark.parametrize("mode", ["live", "final"])
def test_the_figures_as_json(translators: None, capsys: pytest.CaptureFixture[str], mode: str) -> None:
    assert run(["demo", "translate", "--json", "--mode", mode, *FAST]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["lost"], figures["duplicated"], figures["out_of_order"]) == (0, 0, 0)
    assert [stream["failed"] for stream in figures["streams"]] == [0] * 6
    erased = [stream["erasure"] for stream in figures["streams"]]
    assert not any(erased) if mode == "final" else any(erased)


def test_an_option_before_the_name_of_the_demo_is_not_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--requests", "40", "translate"]) == 2
    assert "Options stand behind the demo's name: `inferstream demo translate …`" in capsys.readouterr().err
    assert run(["demo", "translate", "--kafka", "h:1", "--kafka-local"]) == 2


def test_a_final_is_settled_whole() -> None:
    from inferstream.pipeline.client.captions.caption import Caption

    talk = ShownTalk(0, TALKS[0], [ShownSegment("Good"), ShownSegment("")])
    assert talk.show(Caption(0, 0, "Bom dia", settled=3)).settled == 3
    assert talk.show(Caption(0, 1, "Bom dia!", final=True)).settled == 8
    assert talk.segments[1] == ShownSegment("")
