"""Slow grammars have a share of the time, and no more; grammars that are known to be quick are not held up by them."""

from pathlib import Path

import pytest
from support.byte_tokens import END, write_byte_tokens

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.errors import BadRequest, Overloaded
from inferstream.pipeline.tasks.generate import grammar as grammar_module
from inferstream.pipeline.tasks.generate.grammar import Grammars
from inferstream.pipeline.tasks.generate.slow_work import BURST_S, SHARE, SlowWork
from inferstream.schemas.generation import GenerateOptions


def test_what_was_spent_is_forgotten_with_time() -> None:
    clock = FakeClock()
    work = SlowWork(clock)
    work.check()
    work.add(BURST_S + 0.3)
    with pytest.raises(Overloaded) as caught:
        work.check()
    assert caught.value.retry_after_ms == pytest.approx(300 / SHARE, abs=2)
    clock.advance(caught.value.retry_after_ms / 1e3)
    work.check()


def test_in_a_long_time_slow_work_has_its_share() -> None:
    clock = FakeClock()
    work = SlowWork(clock)
    spent = 0.0
    for _ in range(1000):
        clock.advance(0.1)
        try:
            work.check()
        except Overloaded:
            continue
        work.add(0.3)
        spent += 0.3
    assert spent == pytest.approx(100 * SHARE, abs=2)


def test_after_slow_grammars_quick_ones_that_are_known_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grammars = Grammars(write_byte_tokens(tmp_path / "tokenizer.json"), [END])
    quick = GenerateOptions(regex="ab")
    assert grammars.of(quick) is not None
    grammars._slow.add(BURST_S + 10)
    assert grammars.of(quick) is not None
    with pytest.raises(Overloaded, match="slow to compile"):
        grammars.of(GenerateOptions(regex="abc"))
    monkeypatch.setattr(grammar_module, "SLOW_MS", -1.0)
    with pytest.raises(Overloaded, match="slow to compile"):
        grammars.of(quick)
    grammars.close()


def test_each_slow_grammar_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are refused, too."""
    grammars = Grammars(write_byte_tokens(tmp_path / "tokenizer.json"), [END])
    counted: list[float] = []
    monkeypatch.setattr(grammars._slow, "add", counted.append)
    grammars.of(GenerateOptions(regex="ab"))
    assert not counted
    with pytest.raises(BadRequest):
        grammars.of(GenerateOptions(regex=".?" * 1500 + "a" * 1000))
    assert len(counted) == 1
    assert counted[0] > 0.03
    grammars.close()
