"""Recipes as TOML: what is written is read again, and what is wrong is told with its place."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.optimize.recipes.plan import plan_of
from inferstream.pipeline.optimize.recipes.reading import (
    PROFILES,
    parse_recipe,
    read_profile,
    read_recipe,
    with_model,
    write_recipe,
)
from inferstream.pipeline.optimize.recipes.recipe import (
    DataPart,
    EvaluateStep,
    GateStep,
    ModelPart,
    PruneStep,
    QuantizeStep,
    Recipe,
)

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._]{0,10}(-[a-z0-9._]{1,10})?", fullmatch=True)
STEPS = st.one_of(
    st.builds(
        PruneStep,
        share=st.floats(0.01, 0.99),
        of=st.none() | NAMES,
        name=st.none() | NAMES,
        force=st.booleans(),
    ),
    st.builds(QuantizeStep, method=st.sampled_from(("int8", "mixed")), of=st.none() | NAMES),
    st.builds(EvaluateStep, of=st.lists(NAMES, max_size=2).map(tuple), speeds=st.booleans()),
    st.builds(GateStep, thresholds=st.dictionaries(TEXTS, st.floats(-9, 9), max_size=2), of=NAMES),
)
RECIPES = st.builds(
    Recipe,
    about=st.just("") | TEXTS,
    provider=st.sampled_from(("cpu", "cuda")),
    model=st.builds(ModelPart, name=NAMES, source=st.none() | TEXTS),
    data=st.builds(DataPart, file=st.none() | TEXTS, label=TEXTS, delimiter=st.none() | TEXTS),
    step=st.lists(STEPS, max_size=4).map(tuple),
)


@given(RECIPES)
def test_a_written_recipe_is_read_as_it_was(recipe: Recipe) -> None:
    assert parse_recipe(write_recipe(recipe), "it") == recipe


@pytest.mark.parametrize("name", PROFILES)
def test_the_profiles_that_ship_are_plans(name: str) -> None:
    recipe = read_profile(name)
    assert recipe.about
    assert next(step.name for step in plan_of(recipe)) == "minilm"


@pytest.mark.parametrize("name", PROFILES)
def test_the_profiles_are_plans_for_any_model(name: str) -> None:
    for step in plan_of(with_model(read_profile(name), "mine")):
        assert "minilm" not in f"{step.name} {step.needs} {step.settings}"


def test_paths_of_a_recipe_are_relative_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    path = tmp_path / "recipe.toml"
    path.write_text(
        '[model]\nname = "mine"\nfrom = "encoder"\n[data]\nfile = "tickets.csv"\ntest = "/else.csv"\n'
    )
    recipe = read_recipe(path)
    assert recipe.model.source == str(tmp_path / "encoder")
    assert (recipe.data.file, recipe.data.test) == (str(tmp_path / "tickets.csv"), "/else.csv")
    path.write_text('[model]\nname = "mine"\nfrom = "ORG/NAME"\n')
    assert read_recipe(path).model.source == "ORG/NAME", "of the hub"


def test_a_recipe_that_was_named_relatively_is_written_with_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub/encoder").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    Path("sub/recipe.toml").write_text(
        '[model]\nname = "mine"\nfrom = "encoder"\n[data]\nfile = "tickets.csv"\n'
    )
    recipe = read_recipe(Path("sub/recipe.toml"))
    Path("elsewhere").mkdir()
    Path("elsewhere/recipe.toml").write_text(write_recipe(recipe))
    assert read_recipe(Path("elsewhere/recipe.toml")) == recipe
    assert recipe.data.file == str(tmp_path / "sub/tickets.csv")
    assert recipe.model.source == str(tmp_path / "sub/encoder")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '[[step]]\nkind = "prun"',
            "it, step 1 is of the kind 'prun', which is unknown: did you mean 'prune'?",
        ),
        ("[[step]]\nshare = 0.5", 'it, step 1 does not say its kind: add kind = "quantize", for example.'),
        (
            '[[step]]\nkind = "prune"\nshar = 1',
            "it, step 1 (prune) has 'shar', which it does not know: did you mean",
        ),
        (
            '[[step]]\nkind = "prune"\nshare = 1.5',
            "it, step 1 (prune): share = 1.5 is wrong (expected `float` < 1.0).",
        ),
        ('[[step]]\nkind = "prune"\nshare = "a"', 'share = "a" is wrong (expected `float`, got `str`)'),
        ('[[step]]\nkind = "prune"\n[[step]]\nkind = 5', "it, step 2 is of the kind 5, which is unknown"),
        ("step = 3", "it has a `step` that is no list of tables"),
        ("step = [3]", "it, step 1 is no table"),
        ("model = 3", "it, [model] is no table"),
        ('[model]\nname = "A b"', 'it, [model]: name = "A b" is wrong'),
        ("[modle]", "it has 'modle', which is no part of a recipe: did you mean 'model'?"),
        ("about = 3", "it: about = 3 is wrong (expected `str`, got `int`)"),
        ('provider = "gpu"', 'it: provider = "gpu" is wrong'),
        ("[[step", "it is not TOML: "),
        ("a = " + "[" * 100_000, "it is not TOML: "),
        ('[data]\ntext = ""', 'it, [data]: text = "" is wrong'),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_recipe(text, "it")
    assert sentence in str(raised.value)


def test_a_recipe_has_a_hundred_steps_at_most() -> None:
    with pytest.raises(UsageError, match="101 steps; 100 are the most"):
        parse_recipe('[[step]]\nkind = "prune"\n' * 101, "it")
