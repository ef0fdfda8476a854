"""`inferstream models report`: what it says of a candidate, from the figures of its workers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from inferstream.pipeline.cli.main import run
from inferstream.pipeline.models.releases.alias import Change, Rollout, promoted, rolled_back, tried
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.models.releases.registry.rollout_files import RolloutFiles, WorkerFigures
from inferstream.pipeline.rollouts.figures import RolloutFigures, SideFigures

STABLE, CANDIDATE = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
CHANGE = Change(at="2026-01-01T00:00:00Z", by="Ada")


@pytest.fixture
def report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    store = open_registry(str(tmp_path))
    state = promoted(None, STABLE, CHANGE)
    store.put_alias("triage", "new", state)
    store.put_alias("triage", "prod", state)
    state = tried(state, CANDIDATE, Rollout("canary", 0.2), CHANGE)
    store.put_alias("triage", "prod", state)
    files = RolloutFiles(store, "triage", "prod", 2)
    for number in range(2):
        figures = RolloutFigures(
            SideFigures(800, 0, {32: 800}, {0: 400}),
            SideFigures(200, 1, {40: 200}, {0: 100}),
            agreed=195,
            differed=5,
            both_right=450,
            candidate_right=30,
            stable_right=2,
        )
        files.put(WorkerFigures(f"host/{number}", "2026-01-01T00:01:00Z", figures))

    def reported(*arguments: str, status: int = 0) -> str:
        assert run(["models", "report", "--registry", str(tmp_path), *arguments]) == status
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return printed.err if status else printed.out

    return reported


def test_a_report_says_whether_the_candidate_is_better(report: Callable[..., str]) -> None:
    found = report("triage@prod")
    assert "bbbbbbbbbbbb on trial since 2026-01-01T00:00:00Z (canary, 20%)" in found
    assert "400 requests to it, 1,600 to aaaaaaaaaaaa; workers that have written figures: 2." in found
    assert "Better. It answers more of the labeled requests rightly" in found
    assert "answers that differ, of 400" in found
    assert "+2.50%" in found


def test_a_report_as_json(report: Callable[..., str]) -> None:
    found = json.loads(report("triage@prod", "--json"))
    assert found["report"]["verdict"] == "better"
    assert found["report"]["accuracy"]["low"] > 0
    assert found["workers"] == ["host/0", "host/1"]
    assert found["state"]["candidate"] == CANDIDATE
    assert found["ended"] is None


def test_a_report_of_a_rollout_that_has_ended(report: Callable[..., str], tmp_path: Path) -> None:
    store = open_registry(str(tmp_path))
    change = Change(at="2026-01-02T00:00:00Z", by="worker host/1", reason="Rolled back: it is too slow.")
    store.put_alias("triage", "prod", rolled_back(store.history("triage", "prod"), change))
    found = report("triage@prod")
    assert "It ended at 2026-01-02T00:00:00Z, by worker host/1. Rolled back: it is too slow." in found


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("triage@new", "No candidate was ever tried as triage@new"),
        ("triage@aaaaaaaaaaaa", "is a version"),
        ("triage@nothing", "There is no alias triage@nothing"),
        ("triage", "is not the name of a release"),
    ],
)
def test_what_has_no_report_is_told(report: Callable[..., str], name: str, told: str) -> None:
    assert told in report(name, status=2)
