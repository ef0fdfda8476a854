"""The plan of a recipe: its steps in an order in which each follows what it is made of."""

from collections.abc import Sequence
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter

from ...errors import UsageError
from .making import Making
from .recipe import (
    CascadeStep,
    EvaluateStep,
    GateStep,
    PruneStep,
    PublishStep,
    QuantizeStep,
    Recipe,
    StaticStep,
)
from .steps.evaluate import EvaluateMaking
from .steps.gate import GateMaking
from .steps.model import ModelMaking
from .steps.prune import PruneMaking
from .steps.publish import PublishMaking
from .steps.quantize import QuantizeMaking
from .steps.tiers import TierFits, TierMaking


def plan_of(recipe: Recipe) -> list[Making]:
    """The steps in order, the model first. Raises UsageError for two of one name, an unknown name, and a circle."""
    if not recipe.step:
        raise UsageError('The recipe has no step: add one below [[step]], kind = "prune" for example.')
    encoders: list[Making] = [
        ModelMaking(recipe.model),
        *(_encoder(step, recipe) for step in recipe.step if isinstance(step, QuantizeStep | PruneStep)),
    ]
    names = [one.name for one in encoders]
    fits = TierFits()
    fitted = [
        TierMaking(step, recipe.model.name, names, fits)
        for step in recipe.step
        if isinstance(step, StaticStep | CascadeStep)
    ]
    names += [one.name for one in fitted]
    judges: list[Making] = [
        GateMaking(step) if isinstance(step, GateStep) else EvaluateMaking(step, recipe, names)
        for step in recipe.step
        if isinstance(step, EvaluateStep | GateStep)
    ]
    published = [PublishMaking(step) for step in recipe.step if isinstance(step, PublishStep)]
    return _ordered([*encoders, *fitted, *judges, *published])


def _encoder(step: QuantizeStep | PruneStep, recipe: Recipe) -> Making:
    of = step.of or recipe.model.name
    return QuantizeMaking(step, of) if isinstance(step, QuantizeStep) else PruneMaking(step, of)


def _ordered(steps: Sequence[Making]) -> list[Making]:
    by_name: dict[str, Making] = {}
    for step in steps:
        if step.name in by_name:
            raise UsageError(
                f"Two steps of the recipe make {step.name}: remove one, or give it another `name` where it has one."
            )
        by_name[step.name] = step
    for step in steps:
        for name in step.needs:
            if name not in by_name:
                raise UsageError(f"The step {step.name} is made of {name!r}, {_unknown(name, list(by_name))}")
    try:
        order = list(TopologicalSorter({step.name: step.needs for step in steps}).static_order())
    except CycleError as error:
        raise UsageError(
            f"Steps of the recipe are made of each other: {' of '.join(error.args[1])}."
        ) from error
    return [by_name[name] for name in order]


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return (
        f"which no step makes: did you mean {near[0]!r}?"
        if near
        else f"which no step makes; they make {', '.join(known)}."
    )
