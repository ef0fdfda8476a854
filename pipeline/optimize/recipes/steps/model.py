"""The first step of every recipe: the model is on this machine, with its float32 variant."""

from pathlib import Path
from typing import Any

import msgspec

from ....errors import ModelError, UnknownModel, UsageError
from ....models.catalogue import CATALOGUE
from ....models.hub import parse_hub_id
from ....models.manifest import ENCODER, Manifest
from ....models.progress import Progress
from ....models.registry import ModelRegistry, split_name
from ...pull.pulling import pull
from ...pull.variants import RECIPE
from ..making import MadeByStep, StepPlace
from ..recipe import ModelPart

DOWNLOADED_S = 20.0  # 91 MB at 5 MB a second
BUILT_S_PER_MB = 0.25  # of a float32 graph; 22 s of CPU time for minilm


class ModelMaking:
    """Finds the model here, or pulls it."""

    kind = "model"
    needs: tuple[str, ...] = ()
    reads_rows = False
    revision = RECIPE

    def __init__(self, part: ModelPart) -> None:
        base, precision = split_name(part.name)
        if precision:
            raise UsageError(
                f"{part.name} names one variant: name the model of the recipe without it, {base}."
            )
        self.name = part.name
        self._part = part

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(self._part)
        return found

    def reference_s(self, place: StepPlace) -> float | None:
        if _found(place.registry, self.name):
            return 0.0
        published = CATALOGUE.get(self.name)
        if published is None:
            return None
        return DOWNLOADED_S + BUILT_S_PER_MB * sum(file.size_bytes for file in published.files) / 1e6

    def make(self, place: StepPlace, progress: Progress) -> MadeByStep:
        found = _found(place.registry, self.name) or self._pulled(place.registry, progress)
        return MadeByStep({one.name: one.version for one in found})

    def _pulled(self, registry: ModelRegistry, progress: Progress) -> list[Manifest]:
        source = self._part.source
        if source is None:
            if self.name not in CATALOGUE:
                raise UnknownModel(
                    f"There is no model {self.name!r} on this machine: pull it first, or say where it is by `from` "
                    "below [model]: a folder, or ORG/NAME of the hub."
                )
            return pull(registry, self.name, progress)
        if Path(source).is_dir():
            return pull(registry, self.name, progress, Path(source))
        if parse_hub_id(source) is None:
            raise UsageError(f"`from` of the model is {source!r}: neither a folder nor ORG/NAME of the hub.")
        return pull(registry, source, progress, known_as=self.name)


def _found(registry: ModelRegistry, base: str) -> list[Manifest]:
    """The variants that are here: at least the float32 one, of which steps make others."""
    try:
        original = registry.load(f"{base}-fp32", ENCODER)
    except (ModelError, UnknownModel):
        return []
    try:
        return [original, registry.load(f"{base}-int8", ENCODER)]
    except (ModelError, UnknownModel):
        return [original]
