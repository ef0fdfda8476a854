"""A command whose registry hangs ends with a sentence."""

from pathlib import Path

import pytest
from support.hanging_file import hanging
from support.static_tiers import save_static_head

from inferstream.pipeline.cli.main import run

STATE = "aliases/triage/prod/*"
MANIFEST = "releases/triage/*"


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ("promote shop triage@prod --force", STATE),
        ("rollback triage@prod", STATE),
        ("report triage@prod", STATE),
        ("show triage@prod", MANIFEST),
        ("list triage@", MANIFEST),
        ("gc", MANIFEST),
    ],
)
def test_a_command_ends(
    words: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path))
    save_static_head(tmp_path, "shop", ("refund", "login"))
    assert run(["models", "promote", "shop", "triage@prod", "--force"]) == 0
    capsys.readouterr()
    monkeypatch.setenv("INFERSTREAM_REGISTRY_TIMEOUT_S", "1")
    (path,) = (tmp_path / "registry").glob(file)
    with hanging(path):
        assert run(["models", *words.split()]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"Error: The registry {tmp_path / 'registry'} cannot be used: it has not answered in time (`timeout_s` in "
        "[registry])."
    )
