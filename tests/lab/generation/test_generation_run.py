"""A tiny run of `inferstream bench-assistant` on a real Kafka. Its figures mean nothing; that they come out does."""

import json
import os
import sys
from pathlib import Path

import psutil
import pytest

from inferstream.pipeline.cli.main import run
from inferstream.pipeline.models.manifest import Manifest

NAMES = {"long", "speed", "Kafka", "memory", "prefix", "scaling", "exact"}


def test_a_quick_run_gives_all_figures_of_what_is_here(
    kafka: str, tiny: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = os.sched_getaffinity(0)
    arguments = ["--model", tiny.name, "--peers", sys.executable, "--kafka", kafka, "--out", str(tmp_path)]
    assert run(["bench-assistant", *arguments, "--quick", "--json"]) == 0
    output = capsys.readouterr()
    shown = json.loads(output.out)
    assert {figure["name"] for figure in shown} == NAMES
    exact = [figure for figure in shown if figure["name"] == "exact"]
    assert all(figure["met"] for figure in exact)
    assert "llama.cpp is left out" in output.err
    stored = json.loads((tmp_path / "figures.json").read_bytes())
    assert len(stored["figures"]) == len(shown)
    assert [row["system"] for row in stored["parts"]["speed"]["speeds"]] == [
        "inferstream",
        "its engine without a broker",
    ]
    assert os.sched_getaffinity(0) == before
    assert not [
        child for child in psutil.Process().children() if "lab.generation" in " ".join(child.cmdline())
    ]
