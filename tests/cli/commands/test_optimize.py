"""`inferstream optimize` with a tiny model of the user."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.tiny_model import WORDS, write_tiny_model

from inferstream.pipeline.cli.main import run

TOPICS = ("card", "refund", "parcel", "login")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_tiny_model(tmp_path / "tiny")
    others = [word for word in WORDS if word not in TOPICS]
    texts = [f"{topic} {one} {other}" for topic in TOPICS for one in others[:5] for other in others[5:]]
    rows = "".join(f"{text};{text.split()[0]}<b>\n" for text in texts)
    (tmp_path / "tickets.csv").write_text(f"text;kind\n{rows}", "utf-8-sig")
    path = tmp_path / "recipe.toml"
    path.write_text(
        '[model]\nname = "mine"\nfrom = "tiny"\n[[step]]\nkind = "prune"\nshare = 0.5\n[[step]]\nkind = "evaluate"\n'
    )
    return path


def test_a_run_ends_in_a_report_which_can_be_repeated(
    recipe: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", "tickets.csv", "--label", "kind", "--delimiter", ";"]
    assert run(["optimize", str(recipe), *options, "--dry-run"]) == 0
    plan = capsys.readouterr().out
    assert [line.split()[:2] for line in plan.splitlines()[1:]] == [
        ["model", "mine"],
        ["prune", "mine-pruned50"],
        ["evaluate", "evaluation"],
    ]
    assert not home.exists(), "a plan makes nothing"
    assert run(["optimize", str(recipe), *options]) == 0
    told = capsys.readouterr()
    assert "2 of 3  prune mine-pruned50: pruning layer 1 of 2" in told.err
    assert "\x1b" not in told.out + told.err, "no colors where there is no terminal"
    assert "mine-pruned50-int8" in told.out
    assert "The report: optimize-report/report.html" in told.out
    report = json.loads((tmp_path / "optimize-report/report.json").read_text())
    assert [one["name"] for one in report["variants"]] == [
        "mine-fp32",
        "mine-int8",
        "mine-pruned50-fp32",
        "mine-pruned50-int8",
    ]
    assert report["data"]["labels"] == 4
    found = report["variants"][3]["evaluation"]
    assert found["share"]["value"] >= 0.97
    assert found["by_label"].keys() == {f"{topic}<b>" for topic in TOPICS}
    assert report["commands"][-1] == "inferstream optimize recipe.toml"
    assert any("inferstream[" in line and "onnxruntime==" in line for line in report["commands"])
    page = (tmp_path / "optimize-report/report.html").read_text()
    assert "card&lt;b&gt;" in page
    assert "card<b>" not in page
    assert run(["optimize", "optimize-report/recipe.toml", "--out", "again", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["variants"] == report["variants"]
    assert [step["kept"] for step in again["steps"]] == [True, True, True]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Name a recipe: a file, or a --profile"),
        (["recipe.toml", "--profile", "cpu"], "Name a recipe: a file, or a --profile"),
        (["missing.toml"], "Cannot read the recipe missing.toml"),
        (["recipe.toml"], "The recipe needs rows"),
        (["recipe.toml", "--data", "missing.csv"], "Cannot read"),
        (["recipe.toml", "--data", "tickets.csv", "--label", "kind"], "--delimiter ';'"),
        (["recipe.toml", "--data", "empty.csv"], "empty.csv"),
        (["recipe.toml", "--model", "no model"], 'name = "no model" is wrong'),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], sentence: str, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty.csv").touch()
    assert run(["optimize", *arguments]) in (1, 2)
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("Error: ")
    assert sentence in told


def test_a_gpu_that_is_not_there_is_told_before_the_work(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    assert run(["optimize", "--profile", "gpu", "--data", "tickets.csv"]) == 1
    assert "The execution provider cuda was requested and is not usable here" in capsys.readouterr().err
    assert not home.exists()


def test_a_recipe_of_ones_own_starts_from_a_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["optimize", "--profile", "edge", "--data", "t.csv", "--print-recipe"]) == 0
    Path("own.toml").write_text(capsys.readouterr().out)
    assert run(["optimize", "own.toml", "--print-recipe"]) == 0
    assert f'file = "{tmp_path / "t.csv"}"' in capsys.readouterr().out


def test_the_schema_of_the_report_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["optimize", "--print-schema"]) == 0
    assert "RecipeReport" in json.loads(capsys.readouterr().out)["$defs"]


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
from inferstream.pipeline.cli.main import run
assert run(["optimize", "--help"]) == 0
print(sorted({"numpy", "onnxruntime", "sklearn", "matplotlib", "jinja2"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
