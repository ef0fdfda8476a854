"""Where a grammar cannot be tried, it is refused by a sentence, and nothing is started."""

import os
from pathlib import Path

import pytest

from inferstream.pipeline.errors import BadRequest
from inferstream.pipeline.tasks.generate.grammar_trials import GrammarTrials


def test_a_system_without_forks_refuses_grammars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    trials = GrammarTrials(tmp_path / "tokenizer.json", [0], {})
    with pytest.raises(BadRequest, match="leave out `json_schema` and `regex`, or send"):
        trials.verdict("{}")
    assert trials._process is None
