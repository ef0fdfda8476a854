"""Processes that are killed while they change a registry, and processes that change it at once."""

import subprocess
import sys
from pathlib import Path

import pytest

LEAST = {"publishing": 12, "laying_out": 25, "collecting": 8, "racing": 4, "laying_out_at_once": 8}
"""Steps or changes: the scenario has done what it says."""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("scenario", LEAST)
def test_whatever_is_killed_a_release_is_whole_or_absent(scenario: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "support.killed_releases", scenario, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert int(ended.stdout) >= LEAST[scenario]
