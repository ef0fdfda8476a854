"""The plan of a recipe: each step behind what it is made of."""

import pytest

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.optimize.recipes.plan import plan_of
from inferstream.pipeline.optimize.recipes.recipe import (
    EvaluateStep,
    GateStep,
    ModelPart,
    PruneStep,
    PublishStep,
    QuantizeStep,
    Recipe,
    StaticStep,
    Step,
)


def plan(*steps: Step) -> list[str]:
    return [step.name for step in plan_of(Recipe(model=ModelPart("mine"), step=steps))]


def test_steps_may_stand_in_any_order() -> None:
    again = PruneStep(0.2, of="mine-pruned50", name="smallest")
    assert plan(again, PruneStep(0.5)) == ["mine", "mine-pruned50", "smallest"]
    assert plan(PruneStep(0.5), again) == ["mine", "mine-pruned50", "smallest"]


def test_what_judges_stands_behind_what_it_judges() -> None:
    pruned = [PruneStep(0.5, name="b"), PruneStep(0.5, name="a")]
    assert plan(GateStep(), EvaluateStep(), *pruned)[-2:] == ["evaluation", "gate"]
    assert plan(EvaluateStep(of=("a-int8",)), *pruned).index("evaluation") > 1
    needs = {one.name: one.needs for one in plan_of(Recipe(step=(EvaluateStep(of=("a-int8",)), *pruned)))}
    assert needs["evaluation"] == ("minilm", "a"), "the original is measured in any case"


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
        ([QuantizeStep("int4")], "The method int4 of quantize is not made: .* 0.91 times the speed of fp32"),
        ([QuantizeStep("bf16")], "The method bf16 of quantize is not made: .*: use int8, or fp16 for a GPU"),
        (
            [EvaluateStep(of=("b-int8",))],
            "The step evaluate is of 'b-int8', which no step makes; they make mine",
        ),
        ([StaticStep(of="b-int8")], "The step static is of 'b-int8', which no step makes; they make mine"),
        ([PublishStep("A b")], "The step publish has the alias 'A b': use small letters"),
        ([PublishStep()], "publish is made of 'gate', which no step makes"),
        ([GateStep()], "gate is made of 'evaluation', which no step makes"),
        ([GateStep({"min_sahre": 1.0})], "There is no threshold 'min_sahre'"),
        ([PruneStep(0.5, of="a", name="a")], "are made of each other: a of a"),
    ],
)
def test_what_is_no_plan_is_told(steps: list[Step], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan(*steps)
