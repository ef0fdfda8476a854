"""`models evaluate` from end to end with tiny encoders: a bad one is closed to workers, and force is kept for ever."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from support.tiny_model import WORDS, write_tiny_model

from inferstream.pipeline.cli.main import run
from inferstream.pipeline.errors import ModelError, UsageError
from inferstream.pipeline.models.judgements import read_judgement, write_judgement
from inferstream.pipeline.models.manifest import read_manifest, write_manifest
from inferstream.pipeline.models.metrics import FITTED, ZERO_SHOT, Gate
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.evaluation import models
from inferstream.pipeline.optimize.evaluation.keeping import keep_judgement
from inferstream.pipeline.optimize.evaluation.models import split_rows
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.optimize.triage.labeled import Labeled, read_labeled
from inferstream.pipeline.tasks.embed.definition import EmbedDefinition, EmbedSettings
from inferstream.pipeline.tasks.triage.definition import TriageDefinition
from inferstream.pipeline.tasks.triage.head import HeadStore
from inferstream.pipeline.tasks.triage.settings import TriageSettings

TOPICS = ("card", "refund", "parcel", "login")


def quiet(step: str, done: int, total: int | None) -> None:
    pass


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with `tiny`, and `other` of the same shape with other weights."""
    folder = tmp_path_factory.mktemp("pulled")
    for seed, name in enumerate(("tiny", "other")):
        pull(ModelRegistry(folder / "home"), name, quiet, write_tiny_model(folder / name, seed))
    return folder / "home"


@pytest.fixture
def home(pulled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models").mkdir()
    for name in ("tiny", "other"):
        (tmp_path / "models" / name).mkdir()
        for path in (pulled / "models" / name).iterdir():
            (tmp_path / "models" / name / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    return tmp_path


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    """Texts whose label is a word that they have."""
    rng = np.random.default_rng(0)
    others = [word for word in WORDS if word not in TOPICS]
    lines = [
        f"{topic} {' '.join(rng.permutation(others)[:4])},{topic}" for topic in TOPICS for _ in range(30)
    ]
    path = tmp_path / "tickets.csv"
    path.write_text("\n".join(["text,label", *lines]))
    return path


def evaluate(*arguments: object) -> int:
    return run(["models", "evaluate", *map(str, arguments), "--no-speed"])


def fit(tickets: Path, base: str) -> int:
    return run(["triage", "fit", str(tickets), "--name", "shop", "--base", base, "--no-static"])


def fit_unjudged(home: Path, tickets: Path, base: str) -> None:
    """A fit that was killed before it was judged."""
    assert fit(tickets, base) == 0
    (home / "heads" / "shop" / HeadStore(home).current("shop") / "judgement.json").unlink()


def manifest_of(home: Path, name: str, precision: str) -> Path:
    return home / "models" / name / f"{precision}.json"


def test_the_figures_are_printed_and_kept_in_the_manifests(
    home: Path, tickets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "evaluate", "tiny-int8", str(tickets)]) == 0
    printed = capsys.readouterr().out
    assert "24 rows that nothing was made from, heads fitted on 96" in printed
    assert "tiny-int8" in printed
    found = read_manifest(manifest_of(home, "tiny", "int8")).judgements[FITTED]
    assert found.gate.passed
    assert (found.evaluation.original, found.evaluation.rows) == ("tiny-fp32", 24)
    assert found.evaluation.cosine_mean > 0.99
    (speed,) = found.evaluation.speeds
    assert speed.served_by.provider == "cpu"
    assert speed.resident_bytes is not None
    original = read_manifest(manifest_of(home, "tiny", "fp32")).judgements[FITTED]
    assert original.evaluation.share.value == 1
    assert run(["models", "show", "tiny-int8"]) == 0
    assert "passed for fitted" in capsys.readouterr().out


def test_a_variant_that_fails_is_closed_to_workers_until_it_is_forced_which_is_kept_for_ever(
    home: Path, tickets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = ("--threshold", "min_agreement=1", "--threshold", "min-cosine=0.999")
    assert evaluate("other-int8", tickets, "--original", "tiny-fp32", *limits) == 0
    printed = capsys.readouterr().out
    assert "other-int8: Its vectors have the mean cosine" in printed
    assert "Workers refuse other-int8 from now on. --force publishes it nevertheless." in printed
    fit_unjudged(home, tickets, "other-int8")
    with pytest.raises(ModelError, match=r"other-int8 did not pass its gate: .*--force"):
        TriageDefinition().load(ModelRegistry(), "shop", TriageSettings())
    assert run(["models", "show", "other-int8"]) == 0, "it can be looked at"
    assert "closed for fitted" in capsys.readouterr().out

    assert evaluate("other-int8", tickets, "--original", "tiny-fp32", *limits, "--force") == 0
    assert TriageDefinition().load(ModelRegistry(), "shop", TriageSettings()).manifest.name == "other-int8"
    assert evaluate("other-int8", tickets, "--original", "tiny-fp32", "--threshold", "min_share=0.1") == 0
    gate = read_manifest(manifest_of(home, "other", "int8")).judgements[FITTED].gate
    assert (gate.passed, gate.forced) == (True, True), "that it was forced is never forgotten"
    assert evaluate("other-int8", tickets, "--original", "tiny-fp32", *limits) == 0
    assert read_manifest(manifest_of(home, "other", "int8")).judgements[FITTED].gate.open


def test_a_judgement_is_about_one_use(home: Path, tickets: Path) -> None:
    taxonomy = home / "taxonomy.toml"
    taxonomy.write_text("\n".join(f'[categories.{one}]\ndescription = "{one}"\n' for one in TOPICS))
    limit = ("--threshold", "min_cosine=1.1")
    assert evaluate("tiny-int8", tickets, "--zero-shot", "--taxonomy", taxonomy, *limit) == 0
    judged = read_manifest(manifest_of(home, "tiny", "int8")).judgements
    assert not judged[ZERO_SHOT].gate.open
    assert judged[ZERO_SHOT].evaluation.rows == 120, "nothing is fitted, so all rows are judged"
    with pytest.raises(ModelError, match=r"did not pass its gate: .* tiny-int8 DATA --zero-shot --force"):
        TriageDefinition().load(ModelRegistry(), "tiny-int8", TriageSettings())
    EmbedDefinition().load(ModelRegistry(), "tiny-int8", EmbedSettings())
    assert fit(tickets, "tiny-int8") == 0
    TriageDefinition().load(ModelRegistry(), "shop", TriageSettings())


def test_the_rows_that_a_model_was_fitted_on_do_not_judge_it(
    home: Path, tickets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(tickets, "tiny-int8") == 0
    folder = home / "heads" / "shop" / HeadStore(home).current("shop")
    capsys.readouterr()
    assert evaluate("shop", tickets) == 0
    assert "shop was fitted on 96 of the 120 rows: they are left out." in capsys.readouterr().err
    judgement = read_judgement(folder)
    assert judgement is not None
    assert judgement.evaluation.rows == 24

    known = tickets.with_name("known.csv")
    held_out = split_rows(read_labeled(tickets), None).unseen.texts
    rows = tickets.read_text().splitlines()
    known.write_text("\n".join(row for row in rows if row.split(",")[0] not in held_out))
    for command in (["models", "evaluate", "shop", known], ["triage", "evaluate", known, "--model", "shop"]):
        assert run([str(one) for one in command]) == 2
        assert "All rows are among those that shop was fitted on: give others" in capsys.readouterr().err

    (folder / "fit.msgpack").unlink()
    assert evaluate("shop", tickets) == 0, "a model that was fitted before this was kept"
    assert "It is not known which rows shop was fitted on" in capsys.readouterr().err
    (folder / "fit.msgpack").write_bytes(b"\x81")
    assert evaluate("shop", tickets) == 1
    assert "fit.msgpack cannot be read" in capsys.readouterr().err


def test_a_fitted_model_has_a_judgement_of_its_own_beside_its_head(home: Path, tickets: Path) -> None:
    assert fit(tickets, "tiny-int8") == 0
    heads = HeadStore(home)
    version = heads.current("shop")
    assert evaluate("shop", tickets) == 0
    assert evaluate("shop", tickets, "--threshold", "min_agreement=1.1") == 0
    judgement = read_judgement(home / "heads" / "shop" / version)
    assert judgement is not None
    assert judgement.evaluation.original == "tiny-fp32 fitted on the same rows"
    assert judgement.evaluation.version == version
    assert heads.current("shop") == version, "a judgement is no part of the version"
    with pytest.raises(
        ModelError, match=r"shop did not pass its gate: .* of its answers are those of tiny-fp32"
    ):
        TriageDefinition().load(ModelRegistry(), "shop", TriageSettings())
    assert evaluate("shop", tickets, "--threshold", "min_agreement=1.1", "--force") == 0
    TriageDefinition().load(ModelRegistry(), "shop", TriageSettings())


def test_a_judgement_of_the_model_itself_counts_and_not_that_of_its_encoder(
    home: Path, tickets: Path
) -> None:
    fit_unjudged(home, tickets, "tiny-int8")
    assert evaluate("tiny-int8", tickets, "--threshold", "min_cosine=1.1") == 0
    with pytest.raises(ModelError, match="tiny-int8 did not pass its gate"):
        TriageDefinition().load(ModelRegistry(), "shop", TriageSettings())
    assert evaluate("shop", tickets) == 0
    TriageDefinition().load(ModelRegistry(), "shop", TriageSettings())


def test_a_variant_that_was_built_anew_meanwhile_keeps_no_figures_of_the_old_one(
    home: Path, tickets: Path
) -> None:
    assert evaluate("tiny-int8", tickets) == 0
    registry = ModelRegistry(judged=False)
    path = manifest_of(home, "tiny", "int8")
    measured = read_manifest(path)
    write_manifest(replace(measured, max_tokens=40, judgements={}), path)
    assert read_manifest(path).judgements == {}, "the figures of another version are not taken over"
    with pytest.raises(ModelError, match="built anew while it was measured"):
        keep_judgement(registry, measured, measured.judgements[FITTED], quiet)


def test_a_manifest_that_is_written_again_keeps_that_its_build_was_forced(home: Path) -> None:
    path = manifest_of(home, "tiny", "int8")
    write_manifest(replace(read_manifest(path), gate=Gate({"min_share": 2}, False, ("Bad.",), True)), path)
    write_manifest(replace(read_manifest(path), gate=Gate({"min_share": 0}, True)), path)
    assert read_manifest(path).gate == Gate({"min_share": 0}, passed=True, forced=True)


FORCING = """
import sys
from pathlib import Path
import msgspec
from inferstream.pipeline.models.judgements import read_judgement, write_judgement
folder = Path(sys.argv[1])
own = read_judgement(folder)
for _ in range(100):
    write_judgement(folder, msgspec.structs.replace(own, gate=msgspec.structs.replace(own.gate, forced=True)))
"""


def test_that_one_was_forced_survives_another_process_that_measures(home: Path, tickets: Path) -> None:
    assert fit(tickets, "tiny-int8") == 0
    assert evaluate("shop", tickets) == 0
    folder = home / "heads" / "shop" / HeadStore(home).current("shop")
    judgement = read_judgement(folder)
    assert judgement is not None
    forcing = subprocess.Popen([sys.executable, "-c", FORCING, str(folder)])
    while forcing.poll() is None:
        write_judgement(folder, judgement)
    assert forcing.returncode == 0
    kept = read_judgement(folder)
    assert kept is not None
    assert kept.gate.forced
    assert [path.name for path in folder.iterdir() if path.suffix == ".part"] == []


def test_force_opens_the_gate_of_the_making_too(home: Path, tickets: Path) -> None:
    """It may be closed by the sample that is shipped, while the rows of the user say that all is well."""
    path = manifest_of(home, "tiny", "int8")
    closed = Gate({"min_agreement": 0.9}, passed=False, failures=("It gives only 80 %.",))
    write_manifest(replace(read_manifest(path), gate=closed), path)
    with pytest.raises(ModelError, match="It gives only 80 %"):
        EmbedDefinition().load(ModelRegistry(), "tiny-int8", EmbedSettings())
    assert evaluate("tiny-int8", tickets) == 0
    with pytest.raises(ModelError, match="It gives only 80 %"):
        EmbedDefinition().load(ModelRegistry(), "tiny-int8", EmbedSettings())
    assert evaluate("tiny-int8", tickets, "--force") == 0
    EmbedDefinition().load(ModelRegistry(), "tiny-int8", EmbedSettings())
    assert read_manifest(path).gate == replace(closed, forced=True)
    assert not read_manifest(path).judgements[FITTED].gate.forced, "that one passed"


def test_a_damaged_judgement_keeps_the_model_from_workers(home: Path, tickets: Path) -> None:
    """It may have been a closed one."""
    assert fit(tickets, "tiny-int8") == 0
    assert evaluate("shop", tickets) == 0
    folder = home / "heads" / "shop" / HeadStore(home).current("shop")
    judgement = read_judgement(folder)
    (folder / "judgement.json").write_text('{"evaluation": ')
    with pytest.raises(ModelError, match="models evaluate"):
        TriageDefinition().load(ModelRegistry(), "shop", TriageSettings())
    assert judgement is not None
    assert write_judgement(folder, judgement) == judgement, "another evaluation replaces it"
    TriageDefinition().load(ModelRegistry(), "shop", TriageSettings())


def test_rows_are_drawn_with_the_share_of_each_label_and_rare_labels_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models, "MAX_FITTED", 100)
    monkeypatch.setattr(models, "MAX_JUDGED", 50)
    labels = ["often"] * 900 + ["seldom"] * 97 + ["rare"] * 3
    rows = Labeled([f"{i} {label}" for i, label in enumerate(labels)], labels, {}, {})
    test = Labeled([f"new {text}" for text in rows.texts], labels, {}, {})
    fitted, unseen, _ = split_rows(rows, test)
    assert Counter(fitted.labels) == {"often": 90, "seldom": 10, "rare": 3}
    assert Counter(unseen.labels) == {"often": 45, "seldom": 5, "rare": 3}
    assert split_rows(rows, test)[:2] == (fitted, unseen), "the same rows each time"
    assert not set(fitted.texts) & set(unseen.texts)
    with pytest.raises(UsageError, match="each label needs at least 3"):
        split_rows(rows.at([*range(999)]), test)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny-int8", "--taxonomy", "x.toml"], "--taxonomy is for fitted models, and for encoders with"),
        (["tiny-int8", "--threshold", "min_share"], "must be NAME=NUMBER"),
        (["tiny-int8", "--threshold", "accuracy=1"], "no threshold 'accuracy'"),
        (
            ["tiny-int8", "--original", "tiny-int8", "--no-speed"],
            "cannot be judged beside itself: name its original",
        ),
        (["nothing", "--no-speed"], "There is no model 'nothing'"),
        (["tiny-int8", "--zero-shot", "--no-speed"], "tiny-fp32 answers no row with its label"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    home: Path, tickets: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "evaluate", arguments[0], str(tickets), *arguments[1:]]) != 0
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
