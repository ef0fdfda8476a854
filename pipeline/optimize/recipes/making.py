"""What a step of a recipe gives, and what each kind of step must say about itself."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from ...models.metrics import Evaluation, Gate
from ...models.progress import Progress
from ...models.registry import ModelRegistry
from .rows import RecipeRows


class PublishedRelease(Struct, frozen=True):
    """A release in a registry."""

    registry: str | None  # its folder or address; None: the one below the home folder
    task: str
    version: str


class MadeByStep(Struct, frozen=True, omit_defaults=True):
    """What a step made."""

    models: dict[str, str] = {}  # the version of each variant by its name
    heads: dict[str, str] = {}  # the same of fitted models
    evaluations: dict[str, Evaluation] = {}  # of variants and fitted models, by their names
    gates: dict[str, Gate] = {}  # the same
    releases: tuple[PublishedRelease, ...] = ()
    notes: tuple[str, ...] = ()  # what the reader of the report should know, in sentences


class StepPlace(NamedTuple):
    """Where a step works, and what the steps before it made, by their names."""

    registry: ModelRegistry
    rows: RecipeRows
    results: Mapping[str, MadeByStep]


class Making(Protocol):
    """A step that can be carried out.

    Attributes:
        kind: as in the recipe.
        name: of what it makes; other steps name it in ``of``.
        needs: the names of the steps that it takes the results of.
        settings: all that decides its result, besides these results and the rows.
        reads_rows: whether the rows decide its result too.
        revision: of the code; raised whenever the same would give another result.
    """

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def needs(self) -> tuple[str, ...]: ...
    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def reads_rows(self) -> bool: ...
    @property
    def revision(self) -> int: ...

    def reference_s(self, place: StepPlace) -> float | None:
        """The seconds that it takes on the reference machine, see `costs`; None if that cannot be said yet."""
        ...

    def make(self, place: StepPlace, progress: Progress) -> MadeByStep:
        """Carry it out. May be killed at any point, and is then carried out again."""
        ...
