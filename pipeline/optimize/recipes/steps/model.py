"""The first step of every recipe: the model is on this machine, with its float32 variant."""

from pathlib import Path
from typing import Any

import msgspec

from ....errors import ModelError, UnknownModel
from ....graphs.llama.decoder import KIND as DECODER
from ....models.catalogue import CATALOGUE
from ....models.manifest import Manifest
from ....models.progress import Progress
from ....models.registry import ModelRegistry
from ...pull.pulling import pull
from ...pull.variants import BUILDER_VERSION
from ..making import MadeByStep, StepPlace
from ..model_facts import ModelFacts, check_base
from ..recipe import ModelPart

DOWNLOADED_S = 20.0  # 91 MB at 5 MB a second
BUILT_S_PER_MB = 0.25  # of a float32 graph; 22 s of CPU time for minilm


class ModelMaking:
    """Finds the model here, or pulls it."""

    kind = "model"
    needs: tuple[str, ...] = ()
    reads_rows = False
    revision = BUILDER_VERSION

    def __init__(self, part: ModelPart, facts: ModelFacts, *, fp16: bool = False) -> None:
        """``fp16``: whether that is made of a language model too."""
        check_base(part)
        self.name = part.name
        self._part = part
        self._facts = facts
        self._fp16 = fp16 and facts.kind == DECODER

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(self._part)
        return found | ({"fp16": True} if self._fp16 else {})

    def reference_s(self, place: StepPlace) -> float | None:
        if self._found(place.registry):
            return 0.0
        published = CATALOGUE.get(self.name)
        if published is None:
            return None
        return DOWNLOADED_S + BUILT_S_PER_MB * sum(file.size_bytes for file in published.files) / 1e6

    def make(self, place: StepPlace, progress: Progress) -> MadeByStep:
        found = self._found(place.registry) or self._pulled(place.registry, progress)
        return MadeByStep({one.name: one.version for one in found})

    def _pulled(self, registry: ModelRegistry, progress: Progress) -> list[Manifest]:
        source = self._part.source
        if source is None:
            return pull(registry, self.name, progress, fp16=self._fp16)
        if Path(source).is_dir():
            return pull(registry, self.name, progress, Path(source), fp16=self._fp16)
        return pull(registry, source, progress, known_as=self.name, fp16=self._fp16)

    def _found(self, registry: ModelRegistry) -> list[Manifest]:
        """The variants of a pull that are here: at least those that steps make others of, or take as they are."""
        needed = ("fp32", "fp16") if self._fp16 else ("fp32",)
        others = ("int8", "int4") if self._facts.kind == DECODER else ("int8",)
        found = []
        for precision in (*needed, *others):
            try:
                found.append(registry.load(f"{self.name}-{precision}", self._facts.kind))
            except (ModelError, UnknownModel):
                if precision in needed:
                    return []
        return found
