"""`inferstream worker`: mistakes end with one sentence, a signal ends the process with status 0."""

import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import INFERSTREAM

from inferstream.pipeline.cli.main import run


@contextmanager
def restored_root_logger() -> Iterator[None]:
    """Restore the handlers and the level of the root logger, which the command replaces."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    level = root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@pytest.fixture(scope="module")
def model() -> None:
    """The default model of workers; does nothing if it is in the cache folder."""
    subprocess.run([INFERSTREAM, "models", "pull", "minilm"], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["triage", "--kafka", "k:1", "--embedded", "d"], "either --kafka or --embedded"),
        (["sorting", "--kafka", "k:1"], "There is no task 'sorting'"),
        (["triage", "--embedded", "d", "--model", "nonsense"], "There is no model 'nonsense'"),
        (["triage", "--config", "missing.toml"], "Cannot read the settings file missing.toml"),
        (["triage", "--lanes", "0"], "--lanes"),
        (["triage", "--threshold", "2"], "--threshold"),
    ],
)
def test_a_mistake_prints_one_sentence(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with restored_root_logger():
        assert run(["worker", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("Error: ") == 1


def test_help_says_how_releases_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["worker", "triage", "--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    for sentence in ("TASK@ALIAS or TASK@VERSION is a release", "--registry", "Batches that run in parallel"):
        assert sentence in words
    assert "RanBatches" not in words


def test_the_registry_of_a_worker_is_an_option(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with restored_root_logger():
        words = ["triage", "--embedded", "d", "--model", "triage@prod", "--registry", str(tmp_path / "mine")]
        assert run(["worker", *words]) != 0
    assert str(tmp_path / "mine") in capsys.readouterr().err


def test_without_faust_the_worker_says_what_to_install() -> None:
    without = (
        "import sys; sys.modules['faust'] = None; from inferstream.pipeline.cli.main import main; main()"
    )
    command = [sys.executable, "-c", without, "worker", "triage", "--kafka", "127.0.0.1:1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert (
        ended.stderr
        == "Error: This command needs more packages: run pip install '.[faust]' in a checkout of inferstream.\n"
    )


def test_sigterm_ends_a_worker_on_a_folder_with_status_0(tmp_path: Path, model: None) -> None:
    command = [INFERSTREAM, "worker", "triage", "--embedded", tmp_path / "queue"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        assert any("Serving" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
