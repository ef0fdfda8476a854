"""`inferstream triage` with the real model and the example tickets."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from support.minilm_model import MiniLM

from inferstream.pipeline.cli.main import run

TICKETS = str(ROOT / "examples" / "tickets.jsonl")


@pytest.fixture
def home(minilm: MiniLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with the real models and without fitted models."""
    (tmp_path / "models").symlink_to(minilm.registry.root, target_is_directory=True)
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def tickets_of_three_categories(tmp_path: Path) -> str:
    """A file with the short example tickets of three categories."""
    tickets = [json.loads(line) for line in Path(TICKETS).read_text("utf-8").splitlines()]
    kept = {"payment_problem", "login_problem", "delivery_status"}
    short = [ticket for ticket in tickets if ticket["expected"] in kept and len(ticket["text"]) < 250]
    path = tmp_path / "tickets.jsonl"
    path.write_text("\n".join(map(json.dumps, short)), encoding="utf-8")
    return str(path)


def output_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["triage", *arguments]) == 0
    return capsys.readouterr().out


def test_fit_list_use_and_evaluate(
    home: Path, tickets_of_three_categories: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = [
        "fit",
        tickets_of_three_categories,
        "--label",
        "expected",
        "--name",
        "shop",
        "--no-static",
        "--json",
    ]
    fitted: dict[str, Any] = json.loads(output_of(capsys, *fit))
    assert (fitted["served"], fitted["tiers"]) == ("encoder", [])
    assert fitted["accuracy"] > 0.7
    assert fitted["report"]["rows"] == fitted["test_rows"]
    (row,) = json.loads(output_of(capsys, "list", "--json"))
    assert (row["name"], row["version"], row["current"], row["labels"]) == (
        "shop",
        fitted["version"],
        True,
        3,
    )
    assert (home / "heads" / "shop" / fitted["version"] / "head.msgpack").exists()
    assert f"shop is now fit {fitted['version']}, encoder answers" in output_of(
        capsys, "use", "shop", fitted["version"]
    )
    assert run(["triage", "evaluate", *fit[1:4], "--model", "shop", "--json"]) == 0
    printed = capsys.readouterr()
    assert f"shop was fitted on {fitted['train_rows']} of the " in printed.err
    measured = json.loads(printed.out)
    found = (measured["report"]["rows"], measured["report"]["accuracy"])
    assert found == (fitted["test_rows"], fitted["accuracy"]), "the rows that it was fitted on are left out"


def test_fit_prints_what_each_tier_costs_and_wins(
    home: Path,
    tickets_of_three_categories: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("inferstream.pipeline.optimize.triage.static.rows.MAX_ROWS", 2_000)
    file = [tickets_of_three_categories, "--label", "expected"]
    printed = output_of(capsys, "fit", *file, "--name", "shop", "--serve", "static")
    assert "TICKETS/S, ONE CORE" in printed
    assert "The tier static answers." in printed
    (row,) = json.loads(output_of(capsys, "list", "--json"))
    assert row["served"] == "static"
    figures = [
        json.loads(output_of(capsys, "evaluate", *file, "--model", "shop", "--json", *tier))["report"][
            "accuracy"
        ]
        for tier in ([], ["--tier", "static"], ["--tier", "encoder"])
    ]
    assert figures[0] == figures[1]
    assert min(figures) > 0.8
    assert "shop, its encoder tier: " in output_of(
        capsys, "evaluate", *file, "--model", "shop", "--tier", "encoder"
    )


def test_evaluate_prints_classes_thresholds_and_the_overall_figures(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = output_of(capsys, "evaluate", TICKETS, "--label", "expected")
    assert "MISTAKEN FOR" in printed
    assert "ANSWERED WITHOUT A HUMAN" in printed
    assert "tickets right, macro F1" in printed


def test_check_and_draft(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drafted = output_of(capsys, "draft", TICKETS, "--label", "expected", "--examples", "1")
    path = tmp_path / "draft.toml"
    path.write_text(drafted, encoding="utf-8")
    rows = json.loads(output_of(capsys, "check", str(path), "--json"))
    assert len(rows) == 14
    assert {(row["route"], row["priority"], row["phrases"]) for row in rows} == {("support", "normal", 2)}
    assert "ROUTE" in output_of(capsys, "check")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fit", TICKETS, "--name", "shop"], "has no row with both a text and a label (352 rows lack one"),
        (["fit", "absent.csv", "--name", "shop"], "Cannot read absent.csv: No such file or directory."),
        (
            ["fit", TICKETS, "--name", "minilm-int8"],
            "'minilm-int8' is the name of another model; choose another",
        ),
        (["fit", TICKETS, "--name", "../shop"], "'../shop' is not a model name"),
        (["use", "shop", "0123456789ab"], "shop has no version '0123456789ab'; its versions are: none."),
        (
            ["fit", TICKETS, "--name", "shop", "--serve", "static", "--no-static"],
            "--serve static needs the tier that --no-static leaves out: give one of the two.",
        ),
        (
            ["evaluate", TICKETS, "--label", "expected", "--tier", "static"],
            "minilm-int8 has no static tier: it is no fitted model.",
        ),
        (["check", "absent.toml"], "Cannot read the taxonomy absent.toml: No such file or directory."),
    ],
)
def test_a_mistake_prints_one_sentence(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert run(["triage", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("Error: ")
    assert sentence in printed.err
    assert len(printed.err.strip().splitlines()) == 1
