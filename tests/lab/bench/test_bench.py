"""What the benchmark computes from its measurements; tests/lab/bench/test_runs.py runs it."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.entries import a_flight

from inferstream.pipeline.engine.batching import Entry, Limits
from inferstream.pipeline.engine.carried import Carried
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.phase_queue import PhaseQueue
from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.lab.bench.against import TreeRound, against_figures, against_speeds
from inferstream.pipeline.lab.bench.figures import BenchFigure, figures, speeds
from inferstream.pipeline.lab.bench.measurements import AgainstEffort, Effort, Measurements, Round
from inferstream.pipeline.lab.bench.plot import plot
from inferstream.pipeline.lab.bench.policies import FifoBatcher, SingleBatcher
from inferstream.pipeline.lab.bench.rounds import MIN_ROUNDS, rotated, run_rounds
from inferstream.pipeline.lab.bench.runs import Cpu, Paced, Run
from inferstream.pipeline.lab.bench.tickets import mixed, read_texts, shortened
from inferstream.pipeline.runtime.model import RUN, Row

FLAT_MB = [100.0, 200.0, 210.0, 208.0, 209.0, 211.0, 210.0, 212.0]


def a_run(per_s: float, *, cpu_s: float = 0.2, padding: float = 0.01, label: str = "billing") -> Run:
    labels = {number: label if number == 0 else "other" for number in range(10)}
    return Run(100, 100 / per_s, Cpu(cpu_s, 0.1, 0.05), labels, padding)


def a_round(learned: float = 95.0) -> Round:
    return Round(
        full={"raw": a_run(100.0, cpu_s=0.19), "learned": a_run(learned), "single": a_run(80.0)},
        short={"learned": a_run(90.0), "fp32": a_run(50.0, cpu_s=0.4, label="refund"), "fifo": a_run(25.0)},
        cached={"cached": a_run(800.0), "echo": a_run(1_000.0)},
        loaded=[{"learned": Paced(40.0, [5.0, 6.0]), "single": Paced(40.0, [7.0, 8.0])}],
        latency={"learned": [12.0] * 100, "direct": [6.0] * 100, "echo": [3.0] * 100},
        resident_mb=230.0,
    )


def measurements(memory_mb: list[float] = FLAT_MB) -> Measurements:
    rounds = [a_round(learned) for learned in (95.0, 97.0, 85.0, 96.0, 94.0, 93.0, 99.0)]
    return Measurements(rounds, [40.0], memory_mb, 1_000)


def by_title(found: list[BenchFigure]) -> dict[tuple[str, str], BenchFigure]:
    return {(figure.name, figure.what): figure for figure in found}


def test_each_figure_is_the_median_of_the_rounds_with_its_interval_and_goal() -> None:
    found = by_title(figures(measurements(), Effort()))
    p1 = found["P1", "over Kafka ÷ raw loop"]
    assert (p1.median, p1.low, p1.high) == pytest.approx((0.95, 0.85, 0.99))
    assert p1.met
    assert p1.values == pytest.approx([0.95, 0.97, 0.85, 0.96, 0.94, 0.93, 0.99])
    assert found["P2", "÷ FIFO batches of 32, 10 ms"].median == pytest.approx(3.6)
    assert found["P3", "÷ one at a time, 40 requests/s"].detail == "p50 5.5 ms against 7.5 ms"
    assert found["P4", "int8 ÷ fp32"].median == pytest.approx(1.8)
    assert found["P4", "share of labels as fp32's"].median == pytest.approx(0.9)
    assert not found["P4", "share of labels as fp32's"].met
    assert found["P6", "added latency at 50 requests/s, p50, ms"].median == pytest.approx(3.0)
    assert found["P6", "added latency at 50 requests/s, p99, ms"].median == pytest.approx(3.0)
    assert found["memory", "resident, MB, peak"].met
    assert found["memory", "resident, MB, peak"].median == 230.0
    assert {figure.name for figure in found.values()} == {"P1", "P2", "P3", "P4", "P5", "P6", "P9", "memory"}


def test_p1_and_p4_by_cpu_time_do_not_depend_on_the_speed() -> None:
    found = figures(measurements(), Effort())
    by_cpu = {figure.name: figure for figure in found if figure.what == "the same by CPU time"}
    assert by_cpu["P1"].median == by_cpu["P1"].low == by_cpu["P1"].high == pytest.approx(0.95)
    assert by_cpu["P4"].median == pytest.approx(2.0)


def test_memory_that_grows_is_not_flat() -> None:
    found = figures(measurements([float(mb) for mb in range(100, 180)]), Effort())
    assert not next(figure for figure in found if figure.name == "memory").met


@given(st.lists(st.just(100.0), min_size=1, max_size=9))
def test_few_samples_of_memory_are_enough(memory_mb: list[float]) -> None:
    assert figures(measurements(memory_mb), Effort())[-1].met


def test_a_run_without_memory_has_no_figure_of_it() -> None:
    assert "memory" not in {figure.name for figure in figures(measurements([]), Effort())}


def test_cpu_time_is_given_by_request_and_process() -> None:
    learned = next(speed for speed in speeds(measurements().rounds) if speed.system == "inferstream")
    assert (learned.measured_ms, learned.broker_ms, learned.generator_ms) == pytest.approx((2.0, 1.0, 0.5))


def tree_rounds(new: float, old: float, count: int = 8) -> list[TreeRound]:
    return [
        TreeRound(
            full={"new": a_run(new), "old": a_run(old)},
            cached={"new": a_run(new * 10), "old": a_run(old * 10)},
            paced={"new": Paced(50.0, [1_000 / new] * 5), "old": Paced(50.0, [1_000 / old] * 5)},
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize(("new", "met"), [(100.0, True), (96.0, True), (94.0, False), (120.0, True)])
def test_a_checkout_that_is_more_than_5_percent_slower_misses_the_goal(new: float, met: bool) -> None:
    found = against_figures(tree_rounds(new, 100.0), AgainstEffort())
    by_wall_time = [figure for figure in found if "CPU" not in figure.what]
    assert [figure.name for figure in by_wall_time] == ["P1", "P5", "P6"]
    assert [figure.median for figure in by_wall_time] == pytest.approx([new / 100] * 3)
    assert [figure.met for figure in by_wall_time] == [met] * 3


def test_the_goal_of_a_comparison_is_for_the_low_end_of_the_interval() -> None:
    rounds = [*tree_rounds(100.0, 100.0, 6), *tree_rounds(80.0, 100.0, 2)]
    p1 = against_figures(rounds, AgainstEffort())[0]
    assert (p1.median, p1.low, p1.met) == (1.0, 0.8, False)


def test_the_speeds_of_both_checkouts_are_given() -> None:
    found = against_speeds(tree_rounds(90.0, 100.0))
    assert [speed.per_s for speed in found] == pytest.approx([90.0, 100.0, 900.0, 1_000.0])


async def test_rounds_end_at_the_time_limit_but_there_are_enough_for_an_interval() -> None:
    now = 0.0

    async def one_round(number: int) -> int:
        nonlocal now
        now += 10
        return number

    assert await run_rounds(one_round, rounds=12, end=1_000.0, clock=lambda: now) == list(range(12))
    now = 0.0
    assert await run_rounds(one_round, rounds=12, end=85.0, clock=lambda: now) == list(range(8))
    now = 0.0
    assert len(await run_rounds(one_round, rounds=12, end=5.0, clock=lambda: now)) == MIN_ROUNDS


def test_each_system_is_first_equally_often() -> None:
    orders = [rotated(["a", "b", "c"], number) for number in range(12)]
    assert Counter(order[0] for order in orders) == {"a": 4, "b": 4, "c": 4}
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    for memory_mb in (FLAT_MB, []):
        plot(measurements(memory_mb), tmp_path / "plot.png")
        assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@given(
    st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True), st.integers(1, 100), st.integers()
)
def test_texts_are_mixed_evenly_and_the_same_for_a_seed(texts: list[str], count: int, seed: int) -> None:
    chosen = mixed(texts, count, seed)
    assert len(chosen) == count
    assert chosen == mixed(texts, count, seed)
    times = Counter(chosen)
    assert max(times.values()) - min(times[text] for text in texts) <= 1


def test_shortened_texts_keep_their_first_words() -> None:
    assert shortened(["a b  c", "d"], 2) == ["a b", "d"]


@pytest.mark.parametrize(
    ("name", "body", "sentence"),
    [
        ("a.csv", "id,body\n1,x\n", "has no column 'text'; name the right one with --text: id, body"),
        ("a.jsonl", '{"id": 1}\n', "holds no texts in 'text': name the column by --text"),
        ("b.jsonl", "x\n", "line 1 is not JSON"),
        ("c.csv", 'text\n"a\n', "line 2 begins a cell with a quote that is never closed"),
    ],
)
def test_a_file_without_texts_is_the_users_mistake(
    tmp_path: Path, name: str, body: str, sentence: str
) -> None:
    (tmp_path / name).write_text(body)
    with pytest.raises(UsageError, match=sentence):
        read_texts(tmp_path / name)


def an_entry(number: int, prepared: float) -> Entry:
    flight = a_flight(b"k%d" % number, started_at=prepared)
    flight.prepared_at = prepared
    return Entry(Row([0] * (5 + number % 7)), flight, arrived=float(number))


@pytest.mark.parametrize(("policy", "rows"), [(FifoBatcher, 32), (SingleBatcher, 1)])
def test_baselines_take_rows_in_order_of_arrival(policy: type[FifoBatcher], rows: int) -> None:
    batcher = policy({RUN: PhaseQueue(Cost(), Limits(4_096, 64))}, clock=lambda: 1_000.0, drop=lambda _: None)
    batcher.put(an_entry(number, prepared=0.0) for number in range(70))
    taken = []
    while len(taken) < 70:
        batch = batcher.take(Carried())
        assert batch is not None
        assert len(batch) == min(rows, 70 - len(taken))
        taken += [entry.arrived for entry in batch]
    assert taken == sorted(taken)
    batcher.close()
    assert batcher.take(Carried()) is None
