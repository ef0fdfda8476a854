"""Which steps there are for which model. A recipe with another one is refused, a profile leaves it out and says so."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import structs

from ...graphs.llama.decoder import KIND as DECODER
from ...graphs.marian.translator import KIND as TRANSLATOR
from ...models.manifest import CLASSIFIER, ENCODER
from .model_facts import KINDS, ModelFacts
from .recipe import DistillStep, EvaluateStep, FittingStep, Method, PruneStep, QuantizeStep, Recipe, Step

METHODS: Final[Mapping[str, Sequence[Method]]] = {
    CLASSIFIER: ("int8", "dynamic", "fp16"),
    TRANSLATOR: ("int8",),
    DECODER: ("int8", "int4", "fp16"),
}
"""Of quantize; a sentence encoder has all that its step knows."""

USES: Final[Mapping[type, str]] = {PruneStep: "prunes", DistillStep: "trains"}


class AdaptedRecipe(NamedTuple):
    """A recipe with the steps that there are for its model, and a sentence for each that was left out or changed."""

    recipe: Recipe
    notes: tuple[str, ...] = ()


def reason_against(step: Step, model: str, facts: ModelFacts) -> str | None:
    """Why the step cannot be made for the model; None if it can."""
    what = KINDS.get(facts.kind, f"a {facts.kind}")
    if isinstance(step, PruneStep | DistillStep | FittingStep) and facts.kind != ENCODER:
        use = USES.get(type(step), "fits a triage model to")
        return f"it {use} a sentence encoder, and {model} is {what}"
    if isinstance(step, PruneStep | DistillStep) and facts.graph_from:
        return f"the graph of {model} was not built here from weights (it is from {facts.graph_from})"
    if not isinstance(step, QuantizeStep):
        return None
    if facts.graph_from and step.method != "int8":
        return f"the graph of {model} is from {facts.graph_from}: its pull makes int8 of it, and no other variant"
    methods = METHODS.get(facts.kind)
    if methods and step.method not in methods:
        return f"{model} is {what}, of which there is {', '.join(methods)}"
    return None


def adapted(recipe: Recipe, facts: ModelFacts) -> AdaptedRecipe:
    """A profile for this model: without the steps that there are not for it, and what is made of these.

    What is fitted to an encoder that is left out is fitted to the model itself.
    """
    model = recipe.model.name
    kept: list[Step] = []
    notes: list[str] = []
    absent: set[str] = set()
    for step in recipe.step:
        of = getattr(step, "of", None)
        if reason := reason_against(step, model, facts):
            notes.append(f"{_named(step)} is left out: {reason}.")
            if isinstance(step, PruneStep | QuantizeStep):
                absent.add(_made(step, model))
        elif isinstance(step, EvaluateStep):
            kept.append(structs.replace(step, of=tuple(one for one in step.of if not _is_of(one, absent))))
        elif isinstance(of, str) and _is_of(of, absent):
            if isinstance(step, FittingStep):
                kept.append(structs.replace(step, of=None))
                notes.append(f"{_named(step)} is of {model}-int8, since {of} is left out.")
            else:
                notes.append(f"{_named(step)} is left out, as {of} is.")
        else:
            kept.append(step)
    return AdaptedRecipe(structs.replace(recipe, step=tuple(kept)), tuple(notes))


def _named(step: Step) -> str:
    kind = str(step.__struct_config__.tag)
    method = f" {step.method}" if isinstance(step, QuantizeStep) else ""
    share = f" {step.share:g}" if isinstance(step, PruneStep) else ""
    return f"The step {kind}{method}{share}"


def _made(step: PruneStep | QuantizeStep, model: str) -> str:
    """The name of what the step would make."""
    of = step.of or model
    if isinstance(step, QuantizeStep):
        return f"{of}-{step.method}"
    return step.name or f"{of}-pruned{round(step.share * 100)}"


def _is_of(name: str, absent: set[str]) -> bool:
    return any(name == one or name.startswith(f"{one}-") for one in absent)
