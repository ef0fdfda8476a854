"""The plan of a recipe: its steps in an order in which each follows what it is made of."""

from collections.abc import Sequence
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter

from msgspec import structs

from ...config import Config
from ...errors import UsageError
from ...tasks.triage.definition import TRIAGE
from .making import Making
from .model_facts import BUILT_ENCODER, ModelFacts
from .offered import reason_against
from .recipe import (
    DistillStep,
    EvaluateStep,
    FittingStep,
    GateStep,
    PruneStep,
    PublishStep,
    QuantizeStep,
    Recipe,
)
from .steps.distill import DistillMaking
from .steps.evaluate import EvaluateMaking
from .steps.gate import GateMaking
from .steps.model import ModelMaking
from .steps.prune import PruneMaking
from .steps.publish import PublishMaking
from .steps.quantize import QuantizeMaking
from .steps.tiers import TierFits, TierMaking
from .taxonomies import RecipeTaxonomy


def plan_of(recipe: Recipe, facts: ModelFacts = BUILT_ENCODER, config: Config | None = None) -> list[Making]:
    """The steps in order, the model first. Raises UsageError for two of one name, an unknown name, a circle, and a step
    that there is not for such a model.

    ``config``: for what is published; the recipe's taxonomy goes before its own.
    """
    config = config or Config()
    _check_offered(recipe, facts)
    taxonomy = RecipeTaxonomy(recipe.triage.taxonomy)
    if not recipe.step:
        raise UsageError('The recipe has no step: add one below [[step]], kind = "prune" for example.')
    variants: list[Making] = [
        ModelMaking(
            recipe.model,
            facts,
            fp16=any(isinstance(one, QuantizeStep) and one.method == "fp16" for one in recipe.step),
        ),
        *(
            _variant(step, recipe, facts)
            for step in recipe.step
            if isinstance(step, QuantizeStep | PruneStep | DistillStep)
        ),
    ]
    names = [one.name for one in variants]
    fits = TierFits(taxonomy)
    fitted = [
        TierMaking(step, recipe.model.name, names, fits)
        for step in recipe.step
        if isinstance(step, FittingStep)
    ]
    names += [one.name for one in fitted]
    judges: list[Making] = [
        GateMaking(step)
        if isinstance(step, GateStep)
        else EvaluateMaking(step, recipe, names, taxonomy, facts)
        for step in recipe.step
        if isinstance(step, EvaluateStep | GateStep)
    ]
    if recipe.triage.taxonomy:
        served = {**config.tasks.get(TRIAGE, {}), "taxonomy": recipe.triage.taxonomy}
        config = structs.replace(config, tasks={**config.tasks, TRIAGE: served})
    published = [
        PublishMaking(step, config, facts, taxonomy) for step in recipe.step if isinstance(step, PublishStep)
    ]
    return _ordered([*variants, *fitted, *judges, *published])


def _check_offered(recipe: Recipe, facts: ModelFacts) -> None:
    for number, step in enumerate(recipe.step, 1):
        if reason := reason_against(step, recipe.model.name, facts):
            raise UsageError(
                f"Step {number} of the recipe ({step.__struct_config__.tag}) cannot be made: {reason}."
            )


def _variant(step: QuantizeStep | PruneStep | DistillStep, recipe: Recipe, facts: ModelFacts) -> Making:
    of = step.of or recipe.model.name
    if isinstance(step, DistillStep):
        return DistillMaking(step, of)
    return QuantizeMaking(step, of, facts) if isinstance(step, QuantizeStep) else PruneMaking(step, of)


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
