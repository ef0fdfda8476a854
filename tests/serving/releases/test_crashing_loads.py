"""A version that ends the process that tries it is refused after two crashes, whatever ended it; others are served."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.released_models import ReleasedModels

TESTS = Path(__file__).parents[2]


@pytest.fixture
def models(tmp_path: Path) -> ReleasedModels:
    return ReleasedModels(tmp_path)


def worker(models: ReleasedModels, bad: str, way: str) -> tuple[int, dict[str, Any]]:
    """Start it, let it look once. How it ended, and what it said."""
    environment = os.environ | {
        "INFERSTREAM_HOME": str(home_of(models)),
        "PYTHONPATH": str(TESTS),
        "PYTHONFAULTHANDLER": "",
    }
    command = [sys.executable, "-m", "support.crashing_release", str(models.registry), bad, way]
    done = subprocess.run(
        command, env=environment, cwd=TESTS, stdout=subprocess.PIPE, timeout=30, check=False
    )
    return done.returncode, json.loads(done.stdout or b"{}")


def home_of(models: ReleasedModels) -> Path:
    return models.registry.with_name("worker")


def notes_of(models: ReleasedModels, version: str) -> Sequence[Path]:
    return list((home_of(models) / "releases").glob(f"{version}.*.trial"))


def test_it_is_refused_after_two_crashes_until_the_alias_changes_or_the_notes_are_removed(
    models: ReleasedModels,
) -> None:
    good, bad = models.triage(1), models.triage(2)
    models.promote(good)
    assert worker(models, bad, "segv")[1]["release"] == good
    models.promote(bad)
    assert [worker(models, bad, way)[0] for way in ("segv", "kill")] == [-signal.SIGSEGV, -signal.SIGKILL]
    for _ in range(2):
        status, said = worker(models, bad, "segv")
        assert (status, said["release"], said["counted"]) == (0, good, True)
        assert "has ended 2 processes of this machine" in said["refused"][bad]
        assert f"{bad}.*.trial" in said["refused"][bad]
    notes_of(models, bad)[0].unlink()
    assert worker(models, bad, "segv")[0] == -signal.SIGSEGV, "one crash is allowed again"
    models.promote(good)
    models.promote(bad)
    status, said = worker(models, "another one", "segv")
    assert (status, said["release"], said["refused"]) == (0, bad, {}), "the alias has changed"
    assert not notes_of(models, bad), "it is sound"


def test_a_model_that_does_not_return_is_refused_and_leaves_no_note(models: ReleasedModels) -> None:
    good, bad = models.triage(1), models.triage(2)
    models.promote(good)
    assert worker(models, bad, "hang")[1]["release"] == good
    models.promote(bad)
    status, said = worker(models, bad, "hang")
    assert (status, said["release"], said["counted"]) == (0, good, True)
    assert "has not answered one of its first texts in 1 s" in said["refused"][bad]
    assert not notes_of(models, bad)


def test_a_process_that_ends_in_order_while_it_tries_one_leaves_no_note(models: ReleasedModels) -> None:
    good, bad = models.triage(1), models.triage(2)
    models.promote(good)
    models.promote(bad)
    states = models.registry / "aliases" / "triage" / "prod"
    (states / "00000002.json").rename(states / "later")
    assert worker(models, bad, "exit") == (0, {})
    assert not notes_of(models, bad)
