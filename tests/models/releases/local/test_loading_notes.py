"""What notes of dead processes say of a version, and for how long."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from inferstream.pipeline.models.releases.local.loading_notes import (
    KEPT_S,
    CrashedBefore,
    LoadingNotes,
    Meant,
)

BAD, GOOD = "0123456789ab", "ba9876543210"
PROD = Meant("prod", 2)


def died(folder: Path, version: str, meant: Meant = PROD, times: int = 1, age_s: float = 0.0) -> None:
    """Leave the notes of processes that were killed while they tried the version."""
    for number in range(times):
        path = folder / f"{version}.{number}.{meant.alias}{meant.number}.trial"
        path.write_bytes(msgspec.json.encode(meant))
        os.utime(path, (time.time() - age_s,) * 2)


def notes(folder: Path, version: str = "") -> list[str]:
    return [path.name for path in folder.glob(f"{version}*.trial")]


@contextmanager
def tried(folder: Path, version: str, meant: Meant = PROD) -> Iterator[None]:
    with LoadingNotes(folder).tried("triage", version, meant):
        yield


def test_a_version_that_ended_ten_processes_is_refused_and_no_other_one_is_blamed(tmp_path: Path) -> None:
    died(tmp_path, BAD, times=10)
    with tried(tmp_path, GOOD):
        pass
    for _ in range(3):
        with pytest.raises(CrashedBefore, match="has ended 10 processes"), tried(tmp_path, BAD):
            pass
    assert len(notes(tmp_path, BAD)) == 10
    assert notes(tmp_path, GOOD) == []


def test_one_process_that_was_killed_says_nothing_and_a_sound_trial_clears_it(tmp_path: Path) -> None:
    died(tmp_path, GOOD)
    with tried(tmp_path, GOOD):
        assert len(notes(tmp_path, GOOD)) == 2
    assert notes(tmp_path) == []


@pytest.mark.parametrize("age_s", [KEPT_S + 60, -KEPT_S - 60])
def test_notes_are_forgotten_after_some_hours(tmp_path: Path, age_s: float) -> None:
    died(tmp_path, BAD, times=10, age_s=age_s)
    died(tmp_path, GOOD, times=10)
    with tried(tmp_path, BAD):
        assert len(notes(tmp_path, BAD)) == 1, "that of this trial"
    assert len(notes(tmp_path)) == 10


def test_those_of_another_change_of_the_alias_or_of_another_alias_do_not_count(tmp_path: Path) -> None:
    died(tmp_path, BAD, Meant("prod", 1), times=5)
    died(tmp_path, BAD, Meant("other", 2), times=5)
    (tmp_path / f"{BAD}.9.half.trial").write_bytes(b"{")
    with suppress(ZeroDivisionError), tried(tmp_path, BAD):
        assert len(notes(tmp_path, BAD)) == 5 + 1
        raise ZeroDivisionError
    assert len(notes(tmp_path, BAD)) == 5, "of a trial that failed in order there is none"


def test_a_process_that_lives_is_not_counted(tmp_path: Path) -> None:
    with tried(tmp_path, BAD), tried(tmp_path, BAD), tried(tmp_path, BAD):
        pass
    assert notes(tmp_path) == []
