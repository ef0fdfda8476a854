"""The commands that install what carried a recipe out, by where inferstream came from."""

import json
import shlex
import subprocess
from typing import Any

import pytest

from inferstream.pipeline.optimize.recipes.report import installation
from inferstream.pipeline.optimize.recipes.report.installation import install_commands

FOUND = {"inferstream": "0.1.0", "onnxruntime": "1.22.0", "numpy": "2.1.0", "scikit-learn": "1.6.0"}


def commands(monkeypatch: pytest.MonkeyPatch, source: dict[str, Any] | None) -> list[str]:
    """``source``: what the installer has recorded."""

    class Recorded:
        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return None if source is None else json.dumps(source)

    monkeypatch.setattr(installation, "distribution", lambda name: Recorded())
    return list(install_commands(FOUND))


def test_a_release_is_installed_by_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = commands(monkeypatch, None)
    assert shlex.split(line)[3:] == [
        "install",
        "inferstream[cpu,fit]==0.1.0",
        "onnxruntime==1.22.0",
        "numpy==2.1.0",
        "scikit-learn==1.6.0",
    ]


def test_a_commit_is_installed_by_its_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    source = {
        "url": "https://git.example/inferstream",
        "vcs_info": {"vcs": "git", "commit_id": "c" * 40},
    }
    (line,) = commands(monkeypatch, source)
    assert f"inferstream[cpu,fit] @ git+https://git.example/inferstream@{'c' * 40}" in shlex.split(line)


@pytest.mark.parametrize("changes", ["", " M pipeline/clock.py"])
def test_a_checkout_is_installed_at_its_commit(monkeypatch: pytest.MonkeyPatch, changes: str) -> None:
    said = {"rev-parse": "c" * 40, "status": changes}
    monkeypatch.setattr(installation, "_git", lambda *words: said[words[0]])
    about, checkout, install = commands(
        monkeypatch, {"url": "file:///private/place", "dir_info": {"editable": True}}
    )
    assert about.startswith(f"# ./inferstream: a checkout of inferstream 0.1.0, {'c' * 40}")
    assert ("not committed" in about) == bool(changes)
    assert checkout == f"git -C inferstream checkout {'c' * 40}"
    assert "./inferstream[cpu,fit]" in shlex.split(install)
    assert "private" not in about + install, "paths of this machine are not told"


def test_without_git_the_commit_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", absent)
    about, _ = commands(monkeypatch, {"url": "file:///x", "dir_info": {"editable": True}})
    assert about.endswith("whose commit is not known")


def test_what_the_installer_recorded_may_be_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    class Damaged:
        def read_text(self, _: str) -> str:
            return "{"

    monkeypatch.setattr(installation, "distribution", lambda name: Damaged())
    assert len(list(install_commands(FOUND))) == 1
