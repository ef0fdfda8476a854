"""The plan of a recipe: each step behind what it is made of."""

import pytest

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.optimize.recipes.plan import plan_of
from inferstream.pipeline.optimize.recipes.recipe import ModelPart, PruneStep, QuantizeStep, Recipe


def plan(*steps: PruneStep | QuantizeStep) -> list[str]:
    return [step.name for step in plan_of(Recipe(model=ModelPart("mine"), step=steps))]


def test_steps_may_stand_in_any_order() -> None:
    again = PruneStep(0.2, of="mine-pruned50", name="smallest")
    assert plan(again, PruneStep(0.5)) == ["mine", "mine-pruned50", "smallest"]
    assert plan(PruneStep(0.5), again) == ["mine", "mine-pruned50", "smallest"]


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([], "has no step"),
        ([PruneStep(0.5), PruneStep(0.501)], "Two steps of the recipe make mine-pruned50"),
        ([PruneStep(0.5, name="mine")], "Two steps of the recipe make mine:"),
        (
            [PruneStep(0.5, of="min")],
            "mine-pruned50|min-pruned50 is made of 'min', which no step makes: did you mean",
        ),
        (
            [PruneStep(0.5, of="a", name="b"), PruneStep(0.5, of="b", name="a")],
            "are made of each other: (a of b|b of a)",
        ),
        ([PruneStep(0.5, of="a", name="a")], "are made of each other: a of a"),
    ],
)
def test_what_is_no_plan_is_told(steps: list[PruneStep], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan(*steps)
