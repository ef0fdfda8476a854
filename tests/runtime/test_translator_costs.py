"""What a translator tells the scheduler: rows to measure with, and how much each step has generated."""

from pathlib import Path

import pytest
from support.tiny_marian import WORDS, write_tiny_marian
from support.translators import graph_of, shortlist_of

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.graphs.builder import write_model
from inferstream.pipeline.runtime.graph import Feeds
from inferstream.pipeline.runtime.model import RUN
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.runtime.translator import SourceRow, Translator

STEP_MS = 2.0
ROW_MS = 0.1


class TimedGraph:
    """A graph whose runs take time by a fake clock: for each step, and for each row in it."""

    def __init__(self, session: Session, clock: FakeClock) -> None:
        self._session = session
        self._clock = clock

    def run(self, feeds: Feeds):  # type: ignore[no-untyped-def]
        found = self._session.run(feeds)
        rows, steps = found[0].shape
        self._clock.advance(steps * (STEP_MS + ROW_MS * rows) / 1e3)
        return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tiny_marian(tmp_path_factory.mktemp("tiny"), 4)
    write_model(graph_of(folder, "fp32"), folder / "fp32.onnx")
    return folder


def session(folder: Path) -> Session:
    return Session(folder / "fp32.onnx", provider="cpu")


def test_a_step_tells_how_much_it_has_generated(folder: Path) -> None:
    translator = Translator(session(folder), shortlist_of(folder))
    rows = [SourceRow([5, 9, 7, 0]), SourceRow([8, 0], [9] * 5), SourceRow([12, 3, 3, 21, 0], [4])]
    for row, found in zip(rows, translator.step(rows), strict=True):
        assert row.made == len(found.tokens) + found.ended
    assert [row.given for row in rows] == [0, 5, 1]


def test_the_rows_to_measure_with_are_sources_that_differ(folder: Path) -> None:
    translator = Translator(session(folder), shortlist_of(folder))
    for length in (1, 2, 16, 64):
        rows = translator.examples(4, length)
        assert {row.length for row in rows} == {max(2, length // 2)}
        assert all(0 < token < WORDS for row in rows for token in row.tokens[:-1])
        assert all(row.tokens[-1] == 0 for row in rows)
        assert [row.tokens for row in rows] == [row.tokens for row in translator.examples(4, length)]
    assert len({tuple(row.tokens) for row in rows}) == 4


def test_a_device_learns_what_each_token_of_the_longest_row_costs(folder: Path) -> None:
    clock = FakeClock()
    translator = Translator(TimedGraph(session(folder), clock), shortlist_of(folder))
    cost = Cost()
    device = Device(translator, Limits(1_024, 64), {RUN: cost}, LaneSettings(1, clock, clock))
    device.learn(64)
    assert cost.learned
    assert cost.ms(8, 32) < 0.4 * 8 * cost.ms(1, 32), "steps are shared"
    assert cost.ms(8, 64) > 1.5 * cost.ms(8, 32), "and each one costs"
