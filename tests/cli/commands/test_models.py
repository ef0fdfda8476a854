"""`inferstream models` with a model of the user."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.tiny_model import write_tiny_model

from inferstream.pipeline.cli.main import run
from inferstream.pipeline.models.catalogue import languages_of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # `pull` sets it if it is not set, for the whole process
    return tmp_path


def test_pull_list_and_show(model: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "pull", "mine", "--from", str(model)]) == 0
    pulled = capsys.readouterr()
    assert [line.split()[0] for line in pulled.out.splitlines()] == ["NAME", "mine-fp32", "mine-int8"]
    assert "building mine-int8" in pulled.err

    assert run(["models", "list"]) == 0
    assert capsys.readouterr().out == pulled.out

    assert run(["models", "list", "--json"]) == 0
    fp32, int8 = json.loads(capsys.readouterr().out)
    assert fp32["agreement"] is None
    assert int8["agreement"]["sentences"] == 240
    assert len(int8["graph_sha256"]) == len(int8["weights_sha256"]) == len(int8["tokenizer_sha256"]) == 64
    assert Path(int8["graph_path"]).parent == home / "models" / "mine"
    assert Path(int8["graph_path"]).exists()

    assert run(["models", "show", "mine"]) == 0
    shown = capsys.readouterr().out
    assert int8["graph_sha256"] in shown
    assert "of 240" in shown
    assert "not said by its files" in shown, "its languages"

    assert run(["models", "show", "mine-int8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == int8


THREADS = """
import sys
from threadpoolctl import threadpool_info
from inferstream.pipeline.cli.main import run
assert run(["models", "pull", "mine", "--from", sys.argv[1]]) == 0
print([pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"])
"""


def test_a_pull_computes_in_one_thread(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of a product spin while they wait for each other: on a busy machine that took most of the CPU time."""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    done = subprocess.run([sys.executable, "-c", THREADS, str(model)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] in {"[1]", "[]"}, done.stderr


def test_without_models_list_names_the_command_that_fetches_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list"]) == 0
    assert "models pull minilm" in capsys.readouterr().out
    assert run(["models", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["pull", "nonesuch"], 2, "There is no model 'nonesuch'"),
        (["pull", "mine", "--from", "/nonexistent"], 2, "There is no folder /nonexistent"),
        (["pull", "../mine"], 2, "not a model name"),
        (["pull", "mine", "yours", "--from", "."], 2, "give one NAME"),
        (["pull", "minilm", "nonesuch", "--as", "mine"], 2, "give one NAME"),
        (["show", "minilm"], 1, "inferstream models pull minilm"),
        (["show", "nonesuch"], 2, "There is no model 'nonesuch'"),
    ],
)
def test_a_mistake_prints_one_sentence(
    arguments: list[str], status: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", *arguments]) == status
    err = capsys.readouterr().err
    assert err.startswith("Error: ")
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_the_languages_of_a_published_model_are_known() -> None:
    assert [languages_of(name) for name in ("minilm", "minilm-int8", "minilm-fp32", "mine")] == [
        "English"
    ] * 3 + [None]
