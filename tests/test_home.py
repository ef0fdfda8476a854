"""The folder of models, caches and crash notes."""

from pathlib import Path

import pytest

from inferstream.pipeline.home import home_folder


def test_the_variable_selects_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path))
    assert home_folder() == tmp_path
    monkeypatch.delenv("INFERSTREAM_HOME")
    assert home_folder().name == "inferstream"
