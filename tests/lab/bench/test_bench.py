"""What the benchmark computes from its runs; the runs themselves are `inferstream bench --quick`."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.entries import a_flight

from inferstream.pipeline.engine.batching import Entry, Limits
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.lab.bench.figures import figures, speeds
from inferstream.pipeline.lab.bench.latency import Paced
from inferstream.pipeline.lab.bench.plot import plot
from inferstream.pipeline.lab.bench.policies import FifoBatcher, SingleBatcher
from inferstream.pipeline.lab.bench.raw import RawRun, _batches
from inferstream.pipeline.lab.bench.runs import Cpu, Run
from inferstream.pipeline.lab.bench.suite import Added, Effort, Measured, Round, Steady
from inferstream.pipeline.lab.bench.tickets import mixed, read_texts


def a_run(
    per_s: float, *, padding: float = 0.01, label: str = "billing", memory: tuple[float, ...] = ()
) -> Run:
    labels = {str(number): label if number == 0 else "other" for number in range(10)}
    return Run(100, 100 / per_s, Cpu(0.2, 0.1, 0.05), labels, padding, list(memory))


def a_round(learned: float = 95.0) -> Round:
    return Round(
        raw=RawRun(100, 1.0, Cpu(0.19, 0.0, 0.0), 256),
        learned=a_run(learned),
        single=a_run(80.0),
        fifo=a_run(25.0),
        fp32=a_run(50.0, label="refund"),
        cached=a_run(800.0),
        echo=a_run(1_000.0),
    )


def measured() -> Measured:
    steady = Steady(40.0, Paced(40.0, [5.0, 6.0]), Paced(40.0, [5.0, 6.0]))
    added = Added([12.0] * 100, [6.0] * 100, [3.0] * 100)
    memory = a_run(95.0, memory=(100.0, 200.0, 210.0, 208.0, 209.0, 211.0, 210.0, 212.0))
    return Measured([a_round(), a_round(97.0), a_round(85.0)], [steady], added, memory)


def test_each_figure_is_the_median_of_the_rounds_beside_its_goal() -> None:
    found = {(figure.name, figure.what): figure for figure in figures(measured(), Effort())}
    assert found["P1", "over Kafka ÷ raw loop, sorted"].median == pytest.approx(0.95)
    assert found["P2", "÷ FIFO batches of 32, 10 ms"].median == pytest.approx(3.8)
    assert found["P4", "share of labels as fp32's"].median == pytest.approx(0.9)
    assert not found["P4", "share of labels as fp32's"].met
    assert found["P6", "added latency, p50, ms"].median == pytest.approx(3.0)
    assert found["memory", "resident, MB, peak"].met
    assert {figure.name for figure in found.values()} == {"P1", "P2", "P3", "P4", "P5", "P6", "P9", "memory"}


def test_memory_that_grows_is_not_flat() -> None:
    growing = a_run(95.0, memory=tuple(float(mb) for mb in range(100, 180)))
    result = measured()
    found = figures(Measured(result.rounds, result.steady, result.added, growing), Effort())
    assert not next(figure for figure in found if figure.name == "memory").met


def test_cpu_time_is_told_by_request_and_process() -> None:
    learned = next(speed for speed in speeds(measured().rounds) if speed.system == "inferstream")
    assert (learned.measured_ms, learned.broker_ms, learned.generator_ms) == pytest.approx((2.0, 1.0, 0.5))


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    plot(measured().rounds, [100.0, 200.0], tmp_path / "plot.png")
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


@pytest.mark.parametrize(
    ("name", "body"), [("a.csv", "id,body\n1,x\n"), ("a.jsonl", '{"id": 1}\n'), ("b.jsonl", "x\n")]
)
def test_a_file_without_texts_is_the_users_mistake(tmp_path: Path, name: str, body: str) -> None:
    (tmp_path / name).write_text(body)
    with pytest.raises(UsageError, match="needs a text in each line"):
        read_texts(tmp_path / name)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.sampled_from([64, 256]))
def test_the_raw_loop_runs_every_row_within_the_budget(lengths: list[int], budget: int) -> None:
    rows = sorted(([0] * length for length in lengths), key=len)
    batches = _batches(rows, budget)
    assert sorted(len(row) for batch in batches for row in batch) == sorted(lengths)
    assert all(len(batch) == 1 or len(batch) * max(map(len, batch)) <= budget for batch in batches)


def an_entry(number: int, prepared: float) -> Entry:
    flight = a_flight(b"k%d" % number, started_at=prepared)
    flight.prepared_at = prepared
    return Entry([0] * (5 + number % 7), flight, arrived=float(number))


@pytest.mark.parametrize(("policy", "rows"), [(FifoBatcher, 32), (SingleBatcher, 1)])
def test_baselines_take_rows_in_order_of_arrival(policy: type[FifoBatcher], rows: int) -> None:
    batcher = policy(Cost(), Limits(4_096, 64), clock=lambda: 1_000.0, drop=lambda _: None)
    batcher.put(an_entry(number, prepared=0.0) for number in range(70))
    taken = []
    while len(taken) < 70:
        batch = batcher.take()
        assert batch is not None
        assert len(batch) == min(rows, 70 - len(taken))
        taken += [entry.arrived for entry in batch]
    assert taken == sorted(taken)
    batcher.close()
    assert batcher.take() is None
