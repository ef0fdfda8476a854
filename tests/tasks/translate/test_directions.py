"""The models that a command loads for one direction."""

from pathlib import Path

import pytest

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.tasks.translate.directions import models_for
from inferstream.pipeline.tasks.translate.settings import TranslateSettings

PROD = "translate@prod"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("source", "target", "names"),
    [
        (None, None, [PROD, "other"]),
        ("en", "pt", [PROD, "translate-en-pt-int8"]),
        ("de", "fr", [PROD]),
    ],
)
def test_a_release_may_have_any_direction(source: str | None, target: str | None, names: list[str]) -> None:
    assert models_for(source, target, TranslateSettings(model=PROD, models=("other",))) == names


def test_without_a_release_a_direction_that_is_not_here_is_told() -> None:
    with pytest.raises(UsageError, match="no model for source 'de' and target 'fr' on this machine"):
        models_for("de", "fr", TranslateSettings())
