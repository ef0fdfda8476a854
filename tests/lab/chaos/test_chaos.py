"""The chaos command: the whole short scenario, and one that is interrupted."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from support import INFERSTREAM

pytestmark = pytest.mark.kafka

TIMEOUT_S = 300.0


@pytest.fixture(scope="module", autouse=True)
def model() -> None:
    """The model that the workers serve; fetched once, then this takes no time."""
    subprocess.run([INFERSTREAM, "models", "pull", "minilm"], check=True, capture_output=True)


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The TMPDIR of the command, which must be empty in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@contextmanager
def chaos(out: Path, temporary: Path, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    command = [INFERSTREAM, "chaos", "--out", out, "--json", *arguments]
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_after_the_short_scenario_nothing_is_lost_and_nothing_left_behind(
    tmp_path: Path, temporary: Path
) -> None:
    with chaos(tmp_path / "out", temporary, "--scenario", "short", "--seed", "2") as process:
        output, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, errors.decode()
    figures = {row["name"]: row["value"] for row in json.loads(output)}
    assert (figures["lost"], figures["out_of_order"], figures["unwanted_exits"]) == (0, 0, 0)
    assert figures["requests"] > 2_500
    assert figures["failures"] > 100, "garbage gets failure replies"
    assert figures["dead_letters"] > 0, "a reply topic that is not allowed gives a dead letter"
    assert figures["faults"] + figures["faults_skipped"] == 6
    assert figures["aborted_answers"] == 0
    assert figures["memory_mb"] < 400, "a bomb is 900 MB"
    assert figures["customer_answers"] > 50
    assert (figures["customer_doubled"], figures["customer_unanswered"]) == (0, 0)
    out = tmp_path / "out" / "short"
    assert json.loads((out / "audit.json").read_bytes())["requests"] == figures["requests"]
    assert (out / "timeline.png").stat().st_size > 10_000
    assert not (out / "home").exists()
    assert list(temporary.glob("inferstream-*")) == []


def test_ctrl_c_ends_all_that_was_started(tmp_path: Path, temporary: Path) -> None:
    status = tmp_path / "out" / "short" / "worker-1" / "status"
    with chaos(tmp_path / "out", temporary, "--scenario", "short") as process:
        while not status.exists():
            assert process.poll() is None, process.communicate()[1].decode()
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, errors.decode()
    assert len(children) >= 5, "three brokers and two workers"
    assert [child for child in children if child.is_running()] == []
    assert list(temporary.glob("inferstream-*")) == []
