"""The lineage of what recipes made, from the records of their steps."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.models.releases.release import Origin
from inferstream.pipeline.optimize.recipes import lineage
from inferstream.pipeline.optimize.recipes.lineage import with_recorded_steps
from inferstream.pipeline.optimize.recipes.making import MadeByStep
from inferstream.pipeline.optimize.recipes.store import StepRecord, StepStore, key_of

ORIGIN = Origin("the hub")


def record(kind: str, models: dict[str, str], inputs: dict[str, str], at: int, **settings: Any) -> StepRecord:
    content = {"kind": kind, "name": f"{kind}-{at}", "inputs": inputs, "settings": settings}
    made = MadeByStep(heads=models) if kind == "static" else MadeByStep(models)
    return StepRecord(
        key=key_of(content),
        **content,
        rows_sha256="f" * 64 if kind == "prune" else "",
        revision=1,
        result=made,
        seconds=1.0,
        reference_s=None,
        machine="a machine",
        made_at=f"2026-01-01T00:00:{at:02}",
        packages={"numpy": "2.0.0"},
    )


def test_the_steps_that_made_a_model_are_told_in_order(tmp_path: Path) -> None:
    store = StepStore(tmp_path)
    store.root.mkdir(parents=True)
    made = [
        record("model", {"base-fp32": "a"}, {}, 1, source="minilm"),
        record("prune", {"small-fp32": "b"}, {"base-fp32": "a"}, 2, share=0.6, forced=None),
        record("quantize", {"small-int8": "c"}, {"small-fp32": "b"}, 3),
        record("quantize", {"other-int8": "d"}, {"base-fp32": "a"}, 4),
        record("prune", {"small-fp32": "later"}, {"base-fp32": "a"}, 5, share=0.7),
    ]
    for one in made:
        store.save(one)
    found = with_recorded_steps(ORIGIN, {"small-int8": "c"}, tmp_path)
    assert found.steps == (
        "recipe step model-1: model (source minilm)",
        "recipe step prune-2: prune (share 0.6)",
        "recipe step quantize-3: quantize",
    )
    assert found.recipe_sha256 == made[2].key
    assert found.data == {"prune prune-2": "f" * 64}
    assert (found.made_on, found.made_at) == ("a machine", made[2].made_at)
    assert with_recorded_steps(ORIGIN, {"small-int8": "another"}, tmp_path) == ORIGIN


def test_a_fitted_model_is_told_with_the_steps_that_made_its_encoder(tmp_path: Path) -> None:
    store = StepStore(tmp_path)
    store.root.mkdir(parents=True)
    store.save(record("quantize", {"small-int8": "c"}, {}, 1))
    store.save(record("static", {"light": "e"}, {"small-int8": "c"}, 2))
    found = with_recorded_steps(ORIGIN, {"light": "e"}, tmp_path)
    assert found.steps == ("recipe step quantize-1: quantize", "recipe step static-2: static")
    assert found.made_with == {"numpy": "2.0.0"}


def test_a_home_without_recipes(tmp_path: Path) -> None:
    assert with_recorded_steps(ORIGIN, {"small-int8": "c"}, tmp_path) == ORIGIN


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=12))
def test_records_that_name_each_other_end(edges: list[tuple[str, str]]) -> None:
    made = [record("prune", {one: "1"}, {other: "1"}, at) for at, (one, other) in enumerate(edges)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lineage.StepStore, "all", lambda _: made)
        found = with_recorded_steps(ORIGIN, {"a": "1"}, Path("anywhere"))
    assert len(found.steps) == len(set(found.steps))
