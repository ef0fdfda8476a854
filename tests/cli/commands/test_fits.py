"""The judgement that `triage fit` writes, and what follows a fit: `triage use --serve`, `models promote`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.tiny_model import WORDS, write_tiny_model

from inferstream.pipeline.cli.main import run
from inferstream.pipeline.errors import ModelError
from inferstream.pipeline.models.judgements import read_judgement
from inferstream.pipeline.models.metrics import Judgement
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.optimize.triage.static import rows as static_rows
from inferstream.pipeline.tasks.triage.definition import TriageDefinition
from inferstream.pipeline.tasks.triage.fit_record import read_fit
from inferstream.pipeline.tasks.triage.head import HeadStore
from inferstream.pipeline.tasks.triage.settings import TriageSettings

TOPICS = ("card", "refund", "parcel", "login")
TAXONOMY = """
[categories.card]
description = "card"
[categories.login]
description = "login"
[urgency]
urgent = ["card now"]
calm = ["login"]
"""
Run = Callable[..., str]


def quiet(step: str, done: int, total: int | None) -> None:
    pass


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with `shop`, which was fitted with all its tiers, and `card`, without a static tier."""
    folder = tmp_path_factory.mktemp("fitted")
    home = folder / "home"
    pull(ModelRegistry(home), "tiny", quiet, write_tiny_model(folder / "tiny"))
    rng = np.random.default_rng(0)
    others = [word for word in WORDS if word not in TOPICS]
    lines = [
        f"{topic} {' '.join(rng.permutation(others)[:4])},{topic}" for topic in TOPICS for _ in range(30)
    ]
    (folder / "tickets.csv").write_text("\n".join(["text,label", *lines]))
    (folder / "mine.toml").write_text(TAXONOMY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFERSTREAM_HOME", str(home))
        patch.setattr(static_rows, "MAX_ROWS", 2_000)
        fit = ["triage", "fit", str(folder / "tickets.csv"), "--base", "tiny-int8", "--name"]
        mine = ["--taxonomy", str(folder / "mine.toml")]
        assert run([*fit, "shop", "--serve", "cascade", *mine]) == 0
        assert run([*fit, "plain", "--no-static"]) == 0
    return home


@pytest.fixture
def home(fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path in fitted.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(fitted)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def tickets(fitted: Path) -> str:
    return str(fitted.parent / "tickets.csv")


@pytest.fixture
def mine(fitted: Path) -> list[str]:
    return ["--taxonomy", str(fitted.parent / "mine.toml")]


@pytest.fixture
def command(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_one(*words: str, status: int = 0) -> str:
        """What it prints; the sentence of a failure."""
        assert run(list(words)) == status
        printed = capsys.readouterr()
        return printed.out if status == 0 else printed.err.splitlines()[-1]

    return run_one


def judgement_of(home: Path, name: str) -> Judgement | None:
    return read_judgement(home / "heads" / name / HeadStore(home).current(name))


def test_a_fit_is_judged_on_its_test_rows_beside_the_right_original(home: Path) -> None:
    cascade, encoder = judgement_of(home, "shop"), judgement_of(home, "plain")
    assert cascade is not None
    assert encoder is not None
    assert cascade.evaluation.original == "the encoder tier of shop"
    assert encoder.evaluation.original == "tiny-fp32 fitted on the same rows"
    for found in (cascade, encoder):
        assert found.evaluation.rows == 24, "a fifth of 120, which was held out"
        assert found.gate.passed
        assert found.gate.thresholds == {"min_share_high": 0.97}
        assert found.evaluation.speeds == ()
    head = HeadStore(home).load("plain")
    assert encoder.evaluation.accuracy.value == head.measured.accuracy, "the same rows as its own figures"
    assert encoder.evaluation.version == head.version


def test_what_was_judged_is_promoted_without_another_measurement(
    home: Path, command: Run, mine: list[str]
) -> None:
    assert "triage@prod is release" in command("models", "promote", "plain", "triage@prod")
    other = home / "other.toml"
    other.write_text(TAXONOMY.replace("card now", "refund now"))
    refused = command("models", "promote", "shop", "triage@prod", "--taxonomy", str(other), status=1)
    assert (
        "was chosen for other urgent phrases than those of the taxonomy: give the taxonomy of its fit"
        in refused
    )
    assert "triage@prod is release" in command("models", "promote", "shop", "triage@prod", *mine)
    state = open_registry(home=home).alias("triage", "prod")
    release = open_registry(home=home).release("triage", state.stable)
    assert (release.metrics, release.gate.passed) == (judgement_of(home, "shop").evaluation, True)
    assert not any(path.endswith(("original.msgpack", "fit.msgpack")) for path in release.files)
    again = command("models", "promote", "shop", "triage@prod", *mine)
    assert "triage@prod is release" in again
    assert open_registry(home=home).alias("triage", "prod") == state, "a second one changes nothing"
    assert "is for models of this machine" in command(
        "models", "promote", f"triage@{state.stable}", "triage@two", *mine, status=2
    )
    assert "is for releases of triage" in command(
        "models", "promote", "tiny-int8", "embed@prod", *mine, status=2
    )


def test_another_tier_answers_without_another_fit(
    home: Path, command: Run, tickets: str, mine: list[str]
) -> None:
    heads = HeadStore(home)
    cascade = heads.current("shop")
    printed = command("triage", "use", "shop", "--serve", "ensemble")
    ensemble = heads.current("shop")
    assert f"shop is now fit {ensemble}, ensemble answers" in printed
    assert "`inferstream models evaluate shop DATA`" in printed, "a judgement is about what answers"
    assert ensemble != cascade, "cached answers are kept apart by it"
    assert "It was not measured" in command("models", "promote", "shop", "triage@prod", *mine, status=1)
    command("models", "evaluate", "shop", tickets, "--no-speed", *mine)
    found = judgement_of(home, "shop")
    assert (found.evaluation.version, found.evaluation.rows) == (ensemble, 24), (
        "the rows of the fit are left out"
    )
    assert "triage@prod is release" in command("models", "promote", "shop", "triage@prod", *mine)
    shown = json.loads(command("models", "show", "shop", "--json"))
    of_both = read_fit(home / "heads/shop" / ensemble).measured
    of_ensemble = of_both["ensemble"]
    assert shown["accuracy"] == f"{of_ensemble.accuracy:.1%} of 24 held-out rows"
    for row in json.loads(command("triage", "list", "--json")):
        if row["name"] == "shop":
            assert row["accuracy"] == of_both[row["served"]].accuracy
    assert "not measured" not in command("triage", "use", "shop", "--serve", "cascade")
    assert heads.current("shop") == cascade, "the version that the fit has made"
    assert judgement_of(home, "shop") is not None
    command("triage", "use", "shop", "--serve", "encoder")
    command("models", "evaluate", "shop", tickets, "--no-speed")
    assert judgement_of(home, "shop").evaluation.original == "tiny-fp32", "fitted anew: the fit kept none"
    assert "plain has no static to answer, only encoder" in command(
        "triage", "use", "plain", "--serve", "static", status=2
    )
    assert "Say which fit of shop is to be served" in command("triage", "use", "shop", status=2)


def test_a_fit_that_does_not_pass_is_refused_and_says_what_to_do(
    home: Path, command: Run, tickets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inferstream.pipeline.optimize.evaluation.fits.THRESHOLDS", {"min_agreement": 1.1})
    fit = ("triage", "fit", tickets, "--base", "tiny-int8", "--name", "shop", "--no-static")
    before = HeadStore(home).current("shop")
    printed = command(*fit)
    assert "It did not pass its gate: " in printed
    assert "models promote" not in printed
    assert f"inferstream models evaluate shop {tickets} --force" in printed
    assert f"inferstream triage use shop {before} " in printed
    with pytest.raises(ModelError, match="did not pass its gate"):
        TriageDefinition().load(ModelRegistry(), "shop", TriageSettings())
    assert "110.00% are needed" in command("models", "promote", "shop", "triage@prod", status=1)
    command("models", "promote", "shop", "triage@prod", "--force")
    assert json.loads(command(*fit, "--json"))["judgement"]["gate"]["passed"] is False


def test_a_fit_without_its_original_stands_and_is_not_judged(home: Path, command: Run, tickets: str) -> None:
    (home / "models/tiny/fp32.json").unlink()
    fit = ("triage", "fit", tickets, "--base", "tiny-int8", "--name", "shop", "--no-static")
    printed = command(*fit)
    assert "shop was not judged: There is no model 'tiny-fp32'" in printed
    assert f"inferstream models evaluate shop {tickets} " in printed
    assert judgement_of(home, "shop") is None
    TriageDefinition().load(ModelRegistry(), "shop", TriageSettings())
    assert "There is no model" in json.loads(command(*fit, "--json"))["unjudged"]


KILLED = """
import os, signal, sys
from inferstream.pipeline.cli.main import run
from inferstream.pipeline.optimize.evaluation import {module} as place
def killed(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
place.{function} = killed
run(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("module", "function"), [("originals", "publish"), ("models", "evaluate"), ("models", "write_judgement")]
)
def test_a_fit_that_is_killed_while_it_is_judged_stands_unjudged(
    home: Path, command: Run, tickets: str, module: str, function: str
) -> None:
    code = KILLED.format(module=module, function=function)
    fit = ["triage", "fit", tickets, "--base", "tiny-int8", "--name", "new", "--no-static"]
    done = subprocess.run(
        [sys.executable, "-c", code, *fit], capture_output=True, env=os.environ, timeout=120
    )
    assert done.returncode == -signal.SIGKILL
    TriageDefinition().load(ModelRegistry(), "new", TriageSettings())
    assert "It was not measured" in command("models", "promote", "new", "triage@prod", status=1)
    command("models", "evaluate", "new", tickets, "--no-speed")
    assert "triage@prod is release" in command("models", "promote", "new", "triage@prod")
