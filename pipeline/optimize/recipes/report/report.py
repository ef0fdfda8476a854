"""What a run of a recipe has found, with all that is needed to repeat it. Its JSON has these fields."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from ....models.metrics import Evaluation, Gate, MachineSpeed
from ...machine.machine import Machine
from ..quality import ACCURACY, QUALITIES, quality_of
from .pareto import front

FORMAT: Final = 1


def _about(sentence: str) -> Meta:
    return Meta(description=sentence)


class VariantRow(Struct, frozen=True):
    """One variant: a row of the table, a point of the plots. A figure that is null was not measured."""

    name: Annotated[str, _about("of the model, as workers name it")]
    version: Annotated[str, _about("12 hexadecimal digits of the digest of all that decides its output")]
    step: Annotated[str, _about("the step that made it")]
    size_bytes: Annotated[int, _about("of all files that are read to serve it")]
    agreement: Annotated[float | None, _about("share of the shipped sentences with the label of fp32")] = None
    evaluation: Annotated[Evaluation | None, _about("on the rows that no step saw")] = None
    gate: Annotated[Gate | None, _about("the judgement by thresholds")] = None
    fronts: Annotated[
        tuple[str, ...], _about("the plots in which no other variant is better in both directions")
    ] = ()

    @property
    def quality(self) -> float | None:
        """On the rows that no step saw: the accuracy, of translators and language models see `quality`."""
        return quality_of(self.evaluation) if self.evaluation else None

    @property
    def speed(self) -> MachineSpeed | None:
        """On the machine that ran the recipe."""
        return next(iter(self.evaluation.speeds), None) if self.evaluation else None

    @property
    def p50_ms(self) -> float | None:
        return self.speed.p50_ms if self.speed else None

    @property
    def rows_per_s(self) -> float | None:
        return self.speed.rows_per_s if self.speed else None


class StepRow(Struct, frozen=True):
    """One step of the recipe."""

    kind: str
    name: str
    settings: dict[str, Any]
    made_of: Annotated[dict[str, str], _about("versions of the models that it was made of, by name")]
    made: Annotated[dict[str, str], _about("versions of the variants that it made, by name")]
    key: Annotated[
        str, _about("SHA-256 of all that decides its result: settings, inputs, rows, code revision")
    ]
    seconds: Annotated[float, _about("that it took when it was carried out")]
    kept: Annotated[bool, _about("whether it was carried out by an earlier run, and kept")]
    made_at: Annotated[str, _about("ISO 8601, UTC")]
    notes: tuple[str, ...] = ()


class DataFacts(Struct, frozen=True):
    """The labeled rows."""

    file: str
    test: Annotated[str | None, _about("the file with the rows that judge; null: a fifth of the other")]
    sha256: Annotated[str, _about("of the rows that were read")]
    known: Annotated[int, _about("rows that variants were made with")]
    unseen: Annotated[int, _about("rows that no variant was made with")]
    labels: int
    skipped: Annotated[int, _about("rows without a text or a label")]


class RecipeReport(Struct, frozen=True):
    """The report of one run."""

    format: int
    made_at: Annotated[str, _about("ISO 8601, UTC")]
    about: str
    recipe: Annotated[str, _about("the whole recipe, as TOML")]
    commands: Annotated[tuple[str, ...], _about("that repeat the run, in order")]
    machine: Machine
    versions: Annotated[dict[str, str], _about("of the packages that decide a variant or a figure")]
    seeds: Annotated[dict[str, int], _about("of everything that is drawn")]
    data: DataFacts | None
    steps: tuple[StepRow, ...]
    variants: tuple[VariantRow, ...]
    left_out: Annotated[
        tuple[str, ...], _about("steps of the profile that there are not for this model")
    ] = ()

    @property
    def measured_by(self) -> str:
        """What stands for the quality of the variants."""
        uses = (row.evaluation.use for row in self.variants if row.evaluation)
        return QUALITIES.get(next(uses, ""), ACCURACY)

    @property
    def is_of_texts(self) -> bool:
        """Whether the variants answer with texts."""
        return self.measured_by != ACCURACY


class Axis(Struct, frozen=True):
    """What accuracy is plotted against."""

    name: str  # of the plot, in `fronts`
    field: str  # of `VariantRow`
    label: str
    unit: float = 1.0  # that the label names, in units of the field
    rising: bool = False  # whether more is better


AXES: Final = (
    Axis("latency", "p50_ms", "latency of a row that comes alone, p50, ms"),
    Axis("throughput", "rows_per_s", "rows/s in batches, one core", rising=True),
    Axis("size", "size_bytes", "size of all files, MB", 1e6),
)


def with_fronts(rows: tuple[VariantRow, ...]) -> tuple[VariantRow, ...]:
    """The rows, each with the plots on whose Pareto front it is."""
    best = {axis.name: front(points_of(rows, axis), rising=axis.rising) for axis in AXES}
    return tuple(
        msgspec.structs.replace(row, fronts=tuple(name for name, names in best.items() if row.name in names))
        for row in rows
    )


def points_of(rows: tuple[VariantRow, ...], axis: Axis) -> dict[str, tuple[float, float]]:
    """(what the axis shows, quality) of each variant of which both are known."""
    found = {row.name: (getattr(row, axis.field), row.quality) for row in rows}
    return {name: (x / axis.unit, y) for name, (x, y) in found.items() if x is not None and y is not None}
