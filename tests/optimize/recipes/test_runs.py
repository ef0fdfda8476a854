"""Runs of recipes, with a tiny encoder: killed, at once, again, with other rows."""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import numpy as np
import pytest
from support.recipe_runs import Quiet, run
from support.tiny_model import WORDS, write_tiny_model

from inferstream.pipeline.errors import ModelError, UsageError
from inferstream.pipeline.models.metrics import FITTED
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.optimize.machine.machine import this_machine
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.optimize.recipes.plan import plan_of
from inferstream.pipeline.optimize.recipes.reading import read_recipe
from inferstream.pipeline.optimize.recipes.rows import RecipeRows
from inferstream.pipeline.optimize.recipes.runner import RecipeRun
from inferstream.pipeline.optimize.recipes.store import StepStore
from inferstream.pipeline.optimize.triage import fit_tiers as tiers
from inferstream.pipeline.optimize.triage.cascade.fit import with_cascade
from inferstream.pipeline.tasks.triage.head import HeadStore
from inferstream.pipeline.tasks.triage.loading import load_triage
from inferstream.pipeline.tasks.triage.settings import TriageSettings

TOPICS = ("card", "refund", "parcel", "login")
RECIPE = """
[model]
name = "tiny"
[data]
file = "rows.csv"
[[step]]
kind = "prune"
share = 0.5
name = "half"
[[step]]
kind = "quantize"
of = "half"
"""


def write_rows(path: Path, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    others = [word for word in WORDS if word not in TOPICS]
    texts = [" ".join([topic, *rng.permutation(others)[:4]]) for topic in TOPICS for _ in range(25)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("text", "label"), *((text, text.split()[0]) for text in texts)])


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the tiny encoder."""
    folder = tmp_path_factory.mktemp("pulled")
    pull(ModelRegistry(folder / "home"), "tiny", Quiet(), write_tiny_model(folder / "tiny"))
    return folder / "home"


@pytest.fixture
def home(pulled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pulled, tmp_path / "home"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_rows(tmp_path / "rows.csv")
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def versions(home: Path) -> dict[str, str]:
    return {one.name: one.version for one in ModelRegistry(home).list()}


def test_a_run_that_is_killed_wherever_it_finishes_a_file_goes_on_and_lists_nothing_half_written(
    recipe: Path, home: Path, pulled: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "support.recipe_runs", recipe, home]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    killed = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert killed.returncode == 0, killed.stderr
    assert len(killed.stdout.splitlines()) > 7, "it was killed before each file that it finishes"
    calm = Path(shutil.copytree(pulled, tmp_path / "calm"))
    run(recipe, calm)
    assert versions(home) == versions(calm)
    assert not [*home.rglob("*.part")], "what was half-written is cleared"


def test_what_was_made_is_kept_until_rows_or_variants_change(recipe: Path, home: Path) -> None:
    assert [one.kept for one in run(recipe, home)] == [False, False, False]
    assert [one.kept for one in run(recipe, home)] == [True, True, True]
    graph = Path(ModelRegistry(home).load("half-int8").graph_path)
    graph.write_bytes(graph.read_bytes()[:-1])
    assert [one.kept for one in run(recipe, home)] == [True, False, True], "the same bytes as before"
    write_rows(recipe.parent / "rows.csv", seed=1)
    assert [one.kept for one in run(recipe, home)] == [True, False, False]


def test_two_runs_at_once_carry_out_each_step_once(recipe: Path, home: Path) -> None:
    kept: list[bool] = []
    threads = [Thread(target=lambda: kept.extend(one.kept for one in run(recipe, home))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(kept) == [False, False, False, True, True, True]


def test_a_step_that_fails_leaves_what_others_made(recipe: Path, home: Path) -> None:
    recipe.write_text(RECIPE + '[[step]]\nkind = "prune"\nshare = 0.9\nname = "small"\nof = "half"\n')
    before = ModelRegistry(home)
    graph = before.load("tiny-fp32").graph_path
    (Path(graph).parent / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"The weights in .* are not those of tiny-fp32"):
        run(recipe, home)
    assert {"tiny-fp32", "tiny-int8"} == versions(home).keys()


def test_the_plan_says_what_is_kept_and_what_it_learned_from_earlier_runs(recipe: Path, home: Path) -> None:
    wanted = read_recipe(recipe)

    def planned() -> list[tuple[bool, str]]:
        found = RecipeRun(
            ModelRegistry(home), plan_of(wanted), RecipeRows(wanted.data), this_machine()
        ).planned()
        return [(one.kept, one.expected.basis) for one in found]

    first = planned()
    assert [kept for kept, _ in first] == [False, False, False]
    assert first[1][1].startswith("reference, at ")
    assert first[2][1] == "known when the model is here"
    run(recipe, home)
    assert planned() == [(True, "kept from an earlier run")] * 3
    slow = StepStore(home)
    for record in slow.all():
        slow.save(msgspec.structs.replace(record, seconds=50.0, reference_s=25.0))
    write_rows(recipe.parent / "rows.csv", seed=2)
    assert planned()[1] == (False, "learned from 1 earlier run here")


def test_the_oldest_records_are_removed(home: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(recipe, home)
    monkeypatch.setattr("inferstream.pipeline.optimize.recipes.store.MAX_RECORDS", 2)
    store = StepStore(home)
    store.save(msgspec.structs.replace(store.all()[0], key="f" * 64, made_at="9999-01-01T00:00:00+00:00"))
    assert len(store.all()) == 2
    assert store.all()[0].key == "f" * 64


def test_a_recipe_without_rows_says_how_to_name_them(recipe: Path, home: Path) -> None:
    recipe.write_text(RECIPE.replace('file = "rows.csv"', ""))
    with pytest.raises(UsageError, match="name their file by --data FILE, or by `file` below"):
        run(recipe, home)


JUDGED = """
[[step]]
kind = "evaluate"
speeds = false
[[step]]
kind = "gate"
"""


def test_what_does_not_pass_the_gate_is_refused_by_workers_unless_it_is_forced(
    recipe: Path, home: Path
) -> None:
    recipe.write_text(RECIPE + JUDGED)
    evaluated, gate = run(recipe, home)[-2:]
    assert evaluated.record.result.evaluations.keys() == {"tiny-fp32", "tiny-int8", "half-int8"}
    assert all(one.passed for one in gate.record.result.gates.values())
    found = evaluated.record.result.evaluations["half-int8"]
    assert (found.rows, found.original) == (20, "tiny-fp32"), "a fifth, which no step saw"
    assert ModelRegistry(home).load("half-int8", use=FITTED)

    recipe.write_text(RECIPE + JUDGED + "thresholds = { min_cosine = 0.999999 }")
    *_, before, gate = run(recipe, home)
    assert (before.kept, gate.kept) == (True, False), "it is judged anew, and not measured anew"
    assert not gate.record.result.gates["half-int8"].passed
    assert gate.record.result.notes[-1].startswith("half-int8 did not pass: Its vectors have the mean cosine")
    with pytest.raises(ModelError, match="half-int8 did not pass its gate"):
        ModelRegistry(home).load("half-int8", use=FITTED)
    assert [one.kept for one in run(recipe, home)] == [True] * 5, "the recipe itself looks at what is refused"

    recipe.write_text(RECIPE + JUDGED + "thresholds = { min_cosine = 0.999999 }\nforce = true")
    assert run(recipe, home)[-1].record.result.gates["half-int8"].forced
    assert ModelRegistry(home).load("half-int8", use=FITTED)


def test_a_static_tier_is_a_fitted_model_that_is_measured_and_judged_like_any_variant(
    recipe: Path, home: Path
) -> None:
    publish = 'thresholds = { min_share = 0.5 }\n[[step]]\nkind = "publish"\nchoose = "smallest"\n'
    recipe.write_text(
        RECIPE + '[[step]]\nkind = "static"\nof = "half-int8"\nname = "light"\n' + JUDGED + publish
    )
    *_, static, evaluated, gate, published = run(recipe, home)
    heads = HeadStore(home)
    assert static.record.result.heads == {"light": heads.current("light")}
    assert heads.load("light").served == "static"
    assert evaluated.record.result.evaluations["light"].version == heads.current("light")
    assert gate.record.result.gates["light"].passed
    store = open_registry(home=home)
    version = store.alias("triage", "prod").stable
    assert version in published.record.result.notes[0]
    origin = store.release("triage", version).origin
    assert origin.recipe_sha256 == static.record.key
    assert [step.split(":")[0] for step in origin.steps if step.startswith("recipe step")] == [
        "recipe step tiny",
        "recipe step half",
        "recipe step half-int8",
        "recipe step light",
    ]
    assert origin.data["static light"] == static.record.rows_sha256
    assert origin.data["judge"] == evaluated.record.result.evaluations["light"].rows_sha256
    assert origin.made_on == this_machine().name
    assert origin.made_with["numpy"] == np.__version__
    assert all(one.kept for one in run(recipe, home))
    shutil.rmtree(home / "heads" / "light")
    again = [one.kept for one in run(recipe, home)]
    assert again == [True, True, True, False, True, False, True], "the same bytes; their judgement was gone"
    write_rows(recipe.parent / "rows.csv", seed=3)
    assert not any(one.kept for one in run(recipe, home)[1:])


def test_what_does_not_pass_is_not_published(recipe: Path, home: Path) -> None:
    strict = RECIPE + JUDGED + "thresholds = { min_cosine = 0.999999 }\n"
    recipe.write_text(strict + '[[step]]\nkind = "publish"\ntask = "embed"\nmodel = "half-int8"\n')
    with pytest.raises(
        ModelError, match="half-int8 is not published: what passed gate and embed serves is tiny-fp32"
    ):
        run(recipe, home)
    recipe.write_text(strict + '[[step]]\nkind = "publish"\n')
    with pytest.raises(ModelError, match="Nothing is published: no fitted model passed gate"):
        run(recipe, home)
    assert not (home / "registry").exists()


def test_a_static_tier_a_cascade_and_an_ensemble_share_a_fit(
    recipe: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[str] = []

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            fits.append(function.__name__)
            return function(*arguments)

        return call

    for function in (tiers.fit_tiers, with_cascade):
        place = f"inferstream.pipeline.optimize.recipes.steps.tiers.{function.__name__}"
        monkeypatch.setattr(place, counted(function))
    recipe.write_text(
        RECIPE
        + '[[step]]\nkind = "static"\nof = "half-int8"\nname = "light"\n'
        + '[[step]]\nkind = "cascade"\nof = "half-int8"\nname = "both"\n'
        + '[[step]]\nkind = "ensemble"\nof = "half-int8"\nname = "added"\n'
    )
    *_, static, cascade, ensemble = run(recipe, home)
    assert fits == ["fit_tiers", "with_cascade"]
    heads = HeadStore(home)
    made = [heads.load(name) for name in ("light", "both", "added")]
    assert [one.served for one in made] == ["static", "cascade", "ensemble"]
    assert made[0].files == made[1].files == made[2].files
    assert not ensemble.record.result.notes
    assert "of the answers are others than the encoder's" in cascade.record.result.notes[0]
    assert not static.record.result.notes
    assert static.record.key != cascade.record.key


TAXONOMY = """
[categories.card]
description = "the card"
route = "cards"
[categories.refund]
description = "the refund"
[urgency]
urgent = ["my card is late now"]
calm = ["the card"]
"""


def test_a_cascade_is_served_with_the_taxonomy_of_its_recipe_and_published_with_it(
    recipe: Path, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "own.toml").write_text(TAXONOMY)
    recipe.write_text(
        '[triage]\ntaxonomy = "own.toml"\n'
        + RECIPE
        + '[[step]]\nkind = "cascade"\nof = "half-int8"\nname = "both"\n'
        + JUDGED
        + 'thresholds = { min_share = 0.1 }\n[[step]]\nkind = "publish"\nmodel = "both"\n'
    )
    done = run(recipe, home)
    registry = ModelRegistry(home)
    assert load_triage(registry, "both", TriageSettings(taxonomy=str(tmp_path / "own.toml")))
    with pytest.raises(ModelError, match="urgent"):
        load_triage(registry, "both", TriageSettings())
    release = done[-1].record.result.releases[0]
    store = open_registry(home=home)
    assert "settings/triage/taxonomy.toml" in store.release("triage", release.version).files
    assert all(one.kept for one in run(recipe, home))
    (tmp_path / "own.toml").write_text(TAXONOMY.replace("cards", "others"))
    anew = [one.record.kind for one in run(recipe, home) if not one.kept]
    assert anew == ["cascade", "evaluate", "publish"], "the figures are the same, and so is the judgement"
    shutil.rmtree(home / "registry")
    assert [one.kept for one in run(recipe, home)][-2:] == [True, False], "the release is gone"


def test_a_candidate_is_tried_once_however_often_its_step_is_carried_out(recipe: Path, home: Path) -> None:
    def publish(model: str) -> str:
        recipe.write_text(
            RECIPE
            + JUDGED
            + "thresholds = { min_share = 0.5 }\n"
            + f'[[step]]\nkind = "publish"\ntask = "embed"\nmodel = "{model}"\ncanary = 0.2\n'
        )
        record = run(recipe, home)[-1].record
        (
            StepStore(home).root / f"{record.key}.json"
        ).unlink()  # as if the run was killed before it was written
        return record.result.notes[0]

    store = open_registry(home=home)
    assert publish("half-int8").startswith("embed@prod is "), (
        "there is nothing yet that it could be tried beside"
    )
    assert publish("half-int8").endswith("already.")
    assert publish("tiny-int8").startswith("embed@prod tries for 20% of the keys ")
    assert publish("tiny-int8").endswith("already.")
    assert [state.number for state in store.history("embed", "prod")] == [1, 2]
