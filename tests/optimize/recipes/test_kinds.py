"""Recipes for classifiers, translators, language models, and graphs that were not built here; all of them tiny."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.decoder_home import with_decoder
from support.recipe_runs import Quiet, run
from support.tiny_families import LABELS, write_tiny
from support.tiny_imported import write_imported
from support.tiny_marian import TEXT, write_tiny_marian
from support.word_overlap import WordOverlap

from inferstream.pipeline.cli.main import run as command
from inferstream.pipeline.errors import ModelError, UnknownModel, UsageError
from inferstream.pipeline.models.metrics import CLASSIFY, GENERATE, TRANSLATE
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.optimize.pull.translators import import_translator
from inferstream.pipeline.optimize.recipes.model_facts import facts_of
from inferstream.pipeline.optimize.recipes.offered import adapted
from inferstream.pipeline.optimize.recipes.plan import plan_of
from inferstream.pipeline.optimize.recipes.reading import PROFILES, read_profile, with_model
from inferstream.pipeline.optimize.recipes.recipe import ModelPart, Recipe
from inferstream.pipeline.optimize.sample import load_sample
from inferstream.pipeline.tasks.classify.definition import ClassifyDefinition
from inferstream.pipeline.tasks.classify.settings import ClassifySettings

WORDS = TEXT.split()
JUDGED = '[[step]]\nkind = "evaluate"\n[[step]]\nkind = "gate"\n'
PUBLISHED = '[[step]]\nkind = "publish"\nchoose = "smallest"\n'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    if not find_spec("sacrebleu"):
        stand_in = SimpleNamespace(BLEU=WordOverlap, CHRF=WordOverlap)
        monkeypatch.setitem(sys.modules, "sacrebleu.metrics", stand_in)
    return tmp_path / "home"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(" ".join(WORDS[start : start + 5]) for start in range(len(WORDS) - 5)))
    return path


@pytest.fixture
def sorter(tmp_path: Path) -> Path:
    """A classifier, and labeled rows, of one label too few to hold any out."""
    sentences, _ = load_sample()
    labels = sorted(LABELS.values())
    rows = [f'"{text}",{labels[number % 2]}' for number, text in enumerate(sentences[:40]) if '"' not in text]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows, f"one more,{labels[2]}"]))
    return write_tiny(tmp_path / "sorter", "bert", classifier=True)


def published(home: Path, task: str) -> str:
    store = open_registry(home=home)
    return store.release(task, store.alias(task, "prod").stable).name


def test_a_classifier_is_quantized_measured_judged_and_published(sorter: Path, home: Path) -> None:
    recipe = Path("recipe.toml")
    data = '[model]\nname = "sorter"\nfrom = "sorter"\n[data]\nfile = "rows.csv"\n'
    quantized = "".join(f'[[step]]\nkind = "quantize"\nmethod = "{one}"\n' for one in ("int8", "dynamic"))
    gate = "thresholds = { min_agreement = 0.5 }\n"
    recipe.write_text(data + quantized + JUDGED + gate + PUBLISHED)
    assert not home.exists()
    *_, evaluated, gated, _ = run(recipe, home)
    found = evaluated.record.result.evaluations
    assert found.keys() == {"sorter-fp32", "sorter-int8", "sorter-dynamic"}
    assert {one.use for one in found.values()} == {CLASSIFY}
    assert {one.rows for one in found.values()} == {len(Path("rows.csv").read_text().splitlines()) - 1}
    assert found["sorter-dynamic"].speeds[0].resident_bytes
    assert all(one.passed for one in gated.record.result.gates.values())
    assert ClassifyDefinition().load(ModelRegistry(home), "sorter-dynamic", ClassifySettings())
    assert published(home, "classify") in ("sorter-int8", "sorter-dynamic")
    assert all(one.kept for one in run(recipe, home))


def test_a_translator_is_measured_judged_and_published(texts: Path, home: Path, tmp_path: Path) -> None:
    import_translator(ModelRegistry(home), write_tiny_marian(tmp_path / "one"), Quiet())
    Path("recipe.toml").write_text(
        '[model]\nname = "translate-xx-yy"\n[data]\nfile = "texts.txt"\nreferences = "texts.txt"\n'
        '[[step]]\nkind = "quantize"\n' + JUDGED + "thresholds = { min_bleu = 1 }\n" + PUBLISHED
    )
    assert command(["optimize", "recipe.toml", "--json"]) == 0
    report = json.loads(Path("optimize-report/report.json").read_text())
    rows = {row["name"]: row["evaluation"] for row in report["variants"]}
    assert rows["translate-xx-yy-int8"]["bleu"] > 1
    assert rows["translate-xx-yy-int8"]["use"] == TRANSLATE
    assert rows["translate-xx-yy-fp32"]["reference_bleu"] >= 0
    assert published(home, "translate") == "translate-xx-yy-int8"
    page = Path("optimize-report/report.html").read_text()
    assert "BLEU against the translations of the original" in page
    assert "Accuracies are of" not in page


def test_a_language_model_is_measured_judged_and_published(
    texts: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_decoder(tmp_path)
    Path("recipe.toml").write_text(
        '[model]\nname = "tiny"\n[data]\nfile = "texts.txt"\n[[step]]\nkind = "quantize"\n'
        + JUDGED
        + "thresholds = { max_kl = 0.3 }\n"
        + PUBLISHED
    )
    assert command(["optimize", "recipe.toml"]) == 0
    printed = capsys.readouterr().out
    assert "PERPLEXITY" in printed
    assert "ACCURACY" not in printed
    report = json.loads(Path("optimize-report/report.json").read_text())
    found = next(row["evaluation"] for row in report["variants"] if row["name"] == "tiny-int8")
    assert (found["use"], found["kl"] < 0.3) == (GENERATE, True)
    assert published(home, "generate") == "tiny-int8"


def test_what_there_is_not_for_a_model_is_refused_before_anything_is_pulled(
    sorter: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_imported(tmp_path / "modern", "modernbert")

    def refusal(source: str, step: str) -> str:
        Path("recipe.toml").write_text(
            f'[model]\nname = "mine"\nfrom = "{source}"\n[[step]]\nkind = "evaluate"\n[[step]]\n{step}\n'
        )
        assert command(["optimize", "recipe.toml", "--dry-run"]) == 2
        return capsys.readouterr().err

    assert "Step 2 of the recipe (prune) cannot be made: the graph of mine was not built here" in refusal(
        "modern", 'kind = "prune"'
    )
    assert "its pull makes int8 of it, and no other variant" in refusal(
        "modern", 'kind = "quantize"\nmethod = "mixed"'
    )
    assert "it prunes a sentence encoder, and mine is a classifier" in refusal("sorter", 'kind = "prune"')
    assert "(cascade) cannot be made: it fits a triage model to a sentence encoder" in refusal(
        "sorter", 'kind = "cascade"'
    )
    assert "mine is a classifier, of which there is int8, dynamic, fp16" in refusal(
        "sorter", 'kind = "quantize"\nmethod = "mixed"'
    )
    assert not home.exists()


def test_a_profile_leaves_out_what_there_is_not_for_a_model_and_says_so(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = ModelPart("mine", str(write_imported(tmp_path / "modern", "modernbert")))
    facts = facts_of(part, ModelRegistry(home), Quiet())
    recipe, notes = adapted(with_model(read_profile("edge"), "mine"), facts)
    assert notes[0].startswith(
        "The step prune 0.6 is left out: the graph of mine was not built here from weights"
    )
    assert notes[1:] == (
        "The step static is of mine-int8, since mine-pruned60-int8 is left out.",
        "The step cascade is of mine-int8, since mine-pruned60-int8 is left out.",
    )
    assert [one.name for one in plan_of(recipe, facts)] == [
        "mine",
        "mine-static",
        "mine-cascade",
        "evaluation",
        "gate",
    ]
    assert command(["optimize", "--profile", "cpu", "--model", "translate-en-pt", "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert "The step static is left out: it fits a triage model to a sentence encoder" in printed.err
    assert [line.split()[0] for line in printed.out.splitlines()[1:]] == [
        "model",
        "quantize",
        "evaluate",
        "gate",
    ]
    assert command(["optimize", "--profile", "cpu", "--model", "translate-en-pt", "--print-recipe"]) == 0
    assert 'kind = "prune"' not in capsys.readouterr().out


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("model", ["minilm", "translate-en-pt", "smollm2-135m"])
def test_profiles_are_plans_for_each_kind(name: str, model: str, home: Path) -> None:
    facts = facts_of(ModelPart(model), ModelRegistry(home), Quiet())
    assert plan_of(adapted(with_model(read_profile(name), model), facts).recipe, facts)
    assert not home.exists()


def test_what_no_model_is(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="There is no model 'mine' on this machine: pull it first"):
        facts_of(ModelPart("mine"), ModelRegistry(home), Quiet())
    with pytest.raises(UsageError, match="neither a folder nor ORG/NAME of the hub"):
        facts_of(ModelPart("mine", "no folder"), ModelRegistry(home), Quiet())
    (tmp_path / "empty").mkdir()
    assert facts_of(ModelPart("mine", str(tmp_path / "empty")), ModelRegistry(home), Quiet()).kind
    recipe = Recipe(model=ModelPart("mine", str(tmp_path / "empty")))
    with pytest.raises((UsageError, ModelError)):
        plan_of(recipe)
