"""The parts of `bench-translate` that need no machine to themselves: texts, figures, quality."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.broker.base import Record
from inferstream.pipeline.cli.commands import bench_translate
from inferstream.pipeline.cli.main import run as run_command
from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.lab.bench.runs import Cpu, Run, run_of
from inferstream.pipeline.lab.translation.figures import quality, translation_figures
from inferstream.pipeline.lab.translation.loops import in_lanes
from inferstream.pipeline.lab.translation.suite import (
    Translated,
    TranslationMeasurements,
    TranslationRound,
)
from inferstream.pipeline.lab.translation.texts import distinct, part_of_distinct, read_lines

LINES = [f"line number {number}" for number in range(12)]


@given(st.integers(1, 140), st.integers(0, 100))
def test_no_text_occurs_twice(count: int, seed: int) -> None:
    texts = distinct(LINES, count, seed)
    assert len(set(texts)) == len(texts) == count
    assert set(LINES) <= set(texts) or count <= len(LINES)
    assert texts == distinct(LINES, count, seed)


def test_a_part_has_as_many_joined_lines_as_the_whole() -> None:
    """A fleet of one worker that had single lines only was measured against a larger one that had pairs too."""
    lines = [f"line {number}" for number in range(1_000)]
    part, whole = (part_of_distinct(lines, count, 4_000, seed=1) for count in (1_000, 4_000))
    shares = [sum(text.count("line") for text in texts) / len(texts) for texts in (part, whole)]
    assert shares[0] == pytest.approx(shares[1], rel=0.05)


def test_lines_that_cannot_be_used_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    with pytest.raises(UsageError, match="Cannot read"):
        read_lines(path)
    for content in ("one\n", "\n".join([*LINES, "", "last"])):
        path.write_text(content)
        with pytest.raises(UsageError, match="at least 10 lines, none of them empty"):
            read_lines(path)
    path.write_text("\n".join(LINES))
    assert read_lines(path) == LINES


def test_lanes_do_each_part_once() -> None:
    done: list[int] = []
    in_lanes(range(100), done.append, 3)
    assert sorted(done) == list(range(100))


def test_the_share_of_equal_lines_counts() -> None:
    (equal,) = quality(Translated(["a", "b", "c", "d"], ["a", "b", "c", "x"]), None)
    assert equal.median == 0.75


def test_bleu_that_cannot_be_measured_is_refused_before_anything_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    monkeypatch.setattr(bench_translate, "_speed", pytest.fail)
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(LINES))
    arguments = ["--lines", str(lines), "--reference", str(lines), "--out", str(tmp_path / "out")]
    assert run_command(["bench-translate", *arguments]) == 2
    assert "pip install sacrebleu" in capsys.readouterr().err


def a_round(factor: float) -> TranslationRound:
    """A round in which all that is ours is ``factor`` times as fast as it should be."""

    def run(per_s: float, cpu_ms: float = 1.0) -> Run:
        return Run(1_000, 1_000 / per_s, Cpu(cpu_ms), steady_per_s=per_s)

    return TranslationRound(
        full={"raw": run(300), "learned": run(280 * factor, 1 / factor), "native": run(100)},
        alone={"alone": run(250 * factor), "native alone": run(100)},
        fleets={"1-worker": run(100), "2-workers": run(200 * factor), "4-workers": run(400 * factor)},
    )


@pytest.mark.parametrize(("factor", "met"), [(1.0, True), (0.9, False)])
def test_each_figure_has_its_goal(factor: float, met: bool) -> None:
    same = Translated(LINES, LINES)
    measured = TranslationMeasurements([a_round(factor)] * 6, same, [300 / factor**2] * 8, [4.9 / factor] * 3)
    figures = translation_figures(measured)
    assert [figure.met for figure in figures if figure.name != "BLEU"] == [met] * 8
    assert figures[0].median == pytest.approx(2.8 * factor)


def test_memory_that_grows_is_not_flat() -> None:
    growing = [float(mb) for mb in np.linspace(200, 300, 40)]
    measured = TranslationMeasurements([a_round(1.0)] * 6, Translated(LINES, LINES), growing, [1.0])
    (memory,) = [figure for figure in translation_figures(measured) if figure.name == "memory"]
    assert not memory.met


def test_the_steady_rate_leaves_the_start_and_the_end_out() -> None:
    times = [0, *range(10_000, 10_080), 50_000]  # 1 a millisecond, but for the first and the last
    records = [
        Record("replies", 0, number, b"0-%d" % number, b"echo", (), time) for number, time in enumerate(times)
    ]
    assert run_of(records, 0.0, Cpu(1.0)).steady_per_s == pytest.approx(1_000)
