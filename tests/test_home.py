"""The folder of models, caches and crash notes, also for a user without a home."""

import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.home import expanded, home_folder, make_folder, writable_folder

HOMES = ("HOME", "XDG_CACHE_HOME", "INFERSTREAM_HOME")


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id without an entry, and no variable that names a folder: as containers run with any uid."""

    def no_entry(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    for name in HOMES:
        monkeypatch.delenv(name, raising=False)


def test_the_variable_selects_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path))
    assert home_folder() == tmp_path
    monkeypatch.delenv("INFERSTREAM_HOME")
    assert home_folder().name == "inferstream"


@pytest.mark.usefixtures("nobody")
def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no home folder: set INFERSTREAM_HOME"):
        home_folder()
    monkeypatch.setenv("INFERSTREAM_HOME", "~/models")
    with pytest.raises(
        UsageError, match=r"INFERSTREAM_HOME is ~/models, and the home folder .* is not known"
    ):
        home_folder()
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path))
    assert home_folder() == tmp_path


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("path", ["~", "~/x", "~nobody-of-this-name/x"])
def test_a_home_that_cannot_be_resolved_is_named(path: str) -> None:
    with pytest.raises(UsageError, match="taxonomy is ~"):
        expanded(path, "triage.taxonomy")


def test_a_folder_that_cannot_be_made_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"Cannot create .*: set INFERSTREAM_HOME"):
        make_folder(tmp_path / "file" / "models")


@pytest.mark.parametrize(
    "arguments",
    [
        ["models", "list"],
        ["models", "pull", "minilm"],
        ["models", "show", "minilm"],
        ["triage", "list"],
        ["triage", "use", "shop", "0"],
        ["kafka", "--port", "0"],
        ["request", "triage", "text"],
        ["worker", "triage", "--embedded", "queue"],
        ["demo"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("home", [None, "~/x", "/proc/none"])
def test_no_command_ends_with_a_traceback(arguments: list[str], home: str | None, tmp_path: Path) -> None:
    code = """
import pwd, sys
def no_entry(uid):
    raise KeyError(uid)
pwd.getpwuid = no_entry
from inferstream.pipeline.cli.main import run
sys.exit(run(sys.argv[1:]))
"""
    environment = {"PYTHONPATH": str(ROOT)} | ({} if home is None else {"INFERSTREAM_HOME": home})
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 1, 2)
    if done.returncode:
        assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert not (tmp_path / "~").exists()


def test_a_folder_that_is_read_only_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert writable_folder(tmp_path / "heads") == tmp_path / "heads"
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write to any folder
    with pytest.raises(UsageError, match="heads, which is read-only: set INFERSTREAM_HOME"):
        writable_folder(tmp_path / "heads")
