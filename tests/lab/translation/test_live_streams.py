"""The parts of the live streams of `bench-translate` that need no machine to themselves."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.lab.translation.live import LiveMeasurements, LiveTurn, speeches
from inferstream.pipeline.lab.translation.live_figures import live_figures, live_plot, live_rows
from inferstream.pipeline.lab.translation.speakers import known_texts
from inferstream.pipeline.lab.translation.speakers_report import (
    PARTS,
    SpeakersMode,
    SpeakersReport,
    together,
)

words = st.lists(st.sampled_from(["a", "bb", "ccc"]), min_size=1, max_size=40)


@given(words)
def test_a_segment_grows_until_it_is_whole(spoken: list[str]) -> None:
    segment = " ".join(spoken)
    known = known_texts(segment)
    assert 1 <= len(known) <= PARTS
    assert known[-1] == segment
    lengths = [len(text) for text in known]
    assert lengths == sorted(set(lengths))
    assert all(segment.startswith(text) for text in known)


def test_each_stream_has_other_segments_in_each_turn() -> None:
    lines = [str(number) for number in range(20)]
    first = speeches(lines, 3, 5, seed=1)
    assert [len(set(segments)) for segments in first] == [5, 5, 5]
    assert first == speeches(lines, 3, 5, seed=1)
    assert first != speeches(lines, 3, 5, seed=2)
    assert first[0] != first[1]


def test_reports_of_processes_are_added_up() -> None:
    one = SpeakersReport(finals_ms=[1.0], failed=1, words=3, word_s=[0.5])
    other = SpeakersReport(finals_ms=[2.0, 3.0], behind=2, words=4)
    assert together([one, other]) == SpeakersReport(
        finals_ms=[1.0, 2.0, 3.0], failed=1, behind=2, words=7, word_s=[0.5]
    )


def a_turn(mode: SpeakersMode, factor: float, erased: int, failed: int = 0) -> LiveTurn:
    """A turn of two streams that meets its goals with a factor of 1."""
    report = SpeakersReport(
        finals_ms=[50.0 * factor, 55.0 * factor],
        failed=failed,
        behind=failed,
        erased=erased,
        words=10,
        first_s=[0.5],
        last_s=[0.1],
        word_s=[0.2, 0.3],
        loop_ms=[1.0],
    )
    return LiveTurn(mode, 2, 9.0, 1.0 * factor, 1.5, 0.5, report)


def measured(factor: float, erased: int, failed: int) -> LiveMeasurements:
    calm = {
        "stable": a_turn("stable", factor, erased, failed),
        "plain": a_turn("plain", 2.0, 0),
        "live": a_turn("live", 1.0, 5),
        "final": a_turn("final", 1.0, erased // 3),
    }
    return LiveMeasurements(calm, 10.0, a_turn("stable", 10 * factor, 0, failed))


@pytest.mark.parametrize(("factor", "erased", "failed", "met"), [(0.9, 1, 0, True), (10.0, 3, 1, False)])
def test_each_figure_of_live_streams_has_its_goal(factor: float, erased: int, failed: int, met: bool) -> None:
    figures = {figure.what: figure for figure in live_figures(measured(factor, erased, failed))}
    assert figures.pop("erasure, live").met
    assert [figure.met for figure in figures.values()] == [met] * 8


def test_a_turn_without_a_final_meets_no_goal() -> None:
    silent = LiveTurn("stable", 2, 9.0, 1.0, 1.5, 0.5, SpeakersReport(failed=4, behind=2))
    base = measured(0.9, 0, 0)
    figures = live_figures(LiveMeasurements({**base.calm, "stable": silent}, 10.0, silent))
    latencies = [figure for figure in figures if "p50" in figure.what or "p99" in figure.what]
    assert len(latencies) == 3
    assert not any(figure.met for figure in latencies)


def test_the_table_and_the_plot_have_all_modes(tmp_path: Path) -> None:
    found = measured(0.9, 1, 0)
    assert [row.mode for row in live_rows(found)] == ["stable", "plain", "live", "final"]
    live_plot(found, tmp_path / "live.png")
    assert (tmp_path / "live.png").stat().st_size > 1_000
