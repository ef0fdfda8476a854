"""Tiny runs of `inferstream bench` on a real Kafka. Their figures mean nothing; that they come out whole does."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from inferstream.pipeline.cli.main import run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A few short tickets."""
    path = tmp_path / "tickets.jsonl"
    texts = ["Where is my order?", "The app crashes on start.", "Please refund the second charge to my card."]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_a_quick_run_gives_all_figures(
    kafka: str, minilm: None, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(data), "--kafka", kafka, "--out", str(tmp_path), "--quick", "--rounds", "1"]
    assert run(["bench", *arguments, "--memory-requests", "80", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {figure["name"] for figure in shown} == {"P1", "P2", "P3", "P4", "P5", "P6", "P9", "memory"}
    assert all(len(figure["values"]) == 1 for figure in shown)
    stored = json.loads((tmp_path / "figures.json").read_bytes())
    assert len(stored["figures"]) == len(shown)
    assert len(stored["speeds"]) == 7
    assert (tmp_path / "plot.png").exists()
    assert left_behind() == []


def test_this_checkout_against_itself(
    kafka: str, minilm: None, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    itself = str(Path(sys.executable).parent / "inferstream")
    arguments = [
        "--data",
        str(data),
        "--kafka",
        kafka,
        "--out",
        str(tmp_path),
        "--quick",
        "--against",
        itself,
    ]
    assert run(["bench", *arguments, "--markdown"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("| at full load")
    assert "| P6 | p50 latency at 50 requests/s, old ÷ new |" in shown
    stored = json.loads((tmp_path / "against.json").read_bytes())
    assert [figure["name"] for figure in stored["figures"]] == ["P1", "P1", "P5", "P5", "P6"]
    assert all(figure["low"] <= figure["median"] <= figure["high"] for figure in stored["figures"])
    assert left_behind() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_what_it_started(
    kafka: str, minilm: None, data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    arguments = ["--data", str(data), "--kafka", kafka, "--out", str(tmp_path / "out"), "--quick"]
    command = [sys.executable, "-m", "inferstream.pipeline.cli.main", "bench", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as bench:
        started = psutil.Process(bench.pid)
        while not (workers := started.children(recursive=True)):
            assert bench.poll() is None
            time.sleep(0.05)
        bench.send_signal(number)
        assert bench.wait(60) == 130
        assert bench.stderr is not None
        assert bench.stderr.read().strip() == ""
    assert not [worker.pid for worker in workers if worker.is_running()]
    assert not (tmp_path / "out").exists()


def test_the_help_needs_no_extra_and_a_run_names_the_one_it_lacks(data: Path) -> None:
    code = """
import sys
sys.modules["psutil"] = sys.modules["matplotlib"] = None
from inferstream.pipeline.cli.main import run
assert run(["bench", "--help"]) == 0
sys.exit(run(["bench", "--data", sys.argv[1], "--kafka", "127.0.0.1:1"]))
"""
    command = [sys.executable, "-c", code, str(data)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "Usage: inferstream bench" in result.stdout
    assert (
        result.stderr
        == "Error: This command needs more packages: run pip install '.[bench]' in a checkout of inferstream.\n"
    )


def left_behind() -> list[int]:
    """The measured processes that this one still has."""
    return [
        child.pid
        for child in psutil.Process(os.getpid()).children(recursive=True)
        if any(word in " ".join(child.cmdline()) for word in ("policy_worker", "bench.echo", "worker triage"))
    ]
