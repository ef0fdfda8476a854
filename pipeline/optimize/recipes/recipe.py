"""A recipe: the model, the labeled rows, and the steps that make variants of the model and judge them."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9._]*(-[a-z0-9._]+)*$",
        max_length=100,
        description="the name of a model here",
    ),
]
Share = Annotated[float, Meta(gt=0, lt=1)]
Text = Annotated[str, Meta(min_length=1)]
Provider = Literal["cpu", "cuda", "tensorrt"]
Method = Literal["int8", "dynamic", "mixed", "fp16", "int4", "bf16"]


class ModelPart(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The model to make variants of, and where it is fetched from if it is not on this machine."""

    name: Name = "minilm"
    source: Text | None = field(name="from", default=None)  # ORG/NAME[@REVISION] on the hub, or a folder


class DataPart(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The rows, which have labels for encoders and classifiers, and how their file is read."""

    file: Text | None = None
    test: Text | None = None  # rows that judge; without it, a fifth of the file
    references: Text | None = None  # for translators: the texts translated by people, line by line
    text: Text = "text"
    label: Text = "label"
    clean: Literal["mail", "none"] | None = None
    format: Literal["jsonl", "csv", "tsv", "txt"] | None = None
    delimiter: Text | None = None
    encoding: Text | None = None


class TriagePart(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The settings of the task triage that decide what is fitted, measured and published."""

    taxonomy: Text | None = None  # a file; without it, the built-in example


class QuantizeStep(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind", tag="quantize"
):
    """A variant in other numbers: MODEL-METHOD."""

    method: Method = "int8"
    of: Name | None = None
    min_cosine: Share = 0.999  # mixed: the mean cosine to the vectors of fp32
    min_agreement: Annotated[float, Meta(gt=0, le=1)] = 0.99  # mixed: share of the labels as fp32's
    budget: Share = 0.3  # mixed: the largest share of the multiplications that stays in fp32


class PruneStep(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind", tag="prune"
):
    """A smaller encoder, see `prune`: NAME-fp32 and NAME-int8."""

    share: Share = 0.6  # of the heads and units to remove
    of: Name | None = None
    name: Name | None = None  # MODEL-pruned60 without it
    force: bool = False  # also if it keeps too little accuracy


class DistillStep(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind", tag="distill"
):
    """An encoder that is trained towards its original: NAME-fp32 and NAME-int8. Needs torch."""

    of: Name | None = None  # what training begins with: a pruned encoder, say
    layers: Annotated[int, Meta(ge=1)] | None = None  # that are kept; all without it
    passes: Annotated[int, Meta(ge=1, le=1000)] = 4  # over the texts
    name: Name | None = None  # OF-distilled without it
    force: bool = False  # also if it keeps too little accuracy


class StaticStep(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind", tag="static"
):
    """A fitted model that answers by its static tier: a table of token vectors, and no encoder."""

    of: Name | None = None  # the encoder that teaches it; MODEL-int8 without it
    name: Name | None = None  # MODEL-static without it


class CascadeStep(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind", tag="cascade"
):
    """A fitted model that answers by its static tier where that is sure, and else by its encoder."""

    of: Name | None = None  # the encoder; MODEL-int8 without it
    name: Name | None = None  # MODEL-cascade without it
    changed: Share = 0.01  # of the answers, at most: other than the encoder alone would give
    bound: Literal["upper", "expected"] = "upper"  # what of that share is kept


class EnsembleStep(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind", tag="ensemble"
):
    """A fitted model that answers by its encoder and its static tier together: their log-probabilities, added."""

    of: Name | None = None  # the encoder; MODEL-int8 without it
    name: Name | None = None  # MODEL-ensemble without it


class EvaluateStep(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind", tag="evaluate"
):
    """Measures variants beside the recipe's model in float32, on the rows that no step sees."""

    of: tuple[
        Name, ...
    ] = ()  # variants and fitted models, or all that a step made; without it, what all steps made
    speeds: bool = True
    name: Name = "evaluation"


class GateStep(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind", tag="gate"
):
    """Judges what was measured; workers refuse what does not pass."""

    thresholds: dict[str, float] = {}  # none: those of `models evaluate`, 97 % of the accuracy
    force: bool = False  # let what fails be served; that stays on record
    of: Name = "evaluation"
    name: Name = "gate"


class PublishStep(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind", tag="publish"
):
    """Makes what passed a gate a release, and lets workers serve it under an alias."""

    alias: Text = "prod"
    task: Text | None = None  # without it, triage for an encoder, else the task of such models
    model: Name | None = None  # without it, the one that is chosen
    choose: Literal["fastest", "smallest", "most accurate"] = "fastest"
    canary: Share | None = None  # of the keys, beside the stable version
    of: Name = "gate"
    name: Name = "publish"


FittingStep = StaticStep | CascadeStep | EnsembleStep
Step = QuantizeStep | PruneStep | DistillStep | FittingStep | EvaluateStep | GateStep | PublishStep
STEPS: Final[Mapping[str, type[Step]]] = {
    "quantize": QuantizeStep,
    "prune": PruneStep,
    "distill": DistillStep,
    "static": StaticStep,
    "cascade": CascadeStep,
    "ensemble": EnsembleStep,
    "evaluate": EvaluateStep,
    "gate": GateStep,
    "publish": PublishStep,
}
"""The type of each kind of step."""


class Recipe(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to do, in words that a file can hold. Steps may stand in any order: each says what it is made of."""

    about: str = ""
    provider: Provider = "cpu"  # that will serve, and that measures
    model: ModelPart = ModelPart()
    data: DataPart = DataPart()
    triage: TriagePart = TriagePart()
    step: tuple[Step, ...] = ()
