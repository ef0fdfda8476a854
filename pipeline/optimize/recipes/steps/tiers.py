"""The step `static`: a model fitted to the known rows as `triage fit` does it, which answers by its static tier."""

from collections.abc import Sequence
from typing import Any, Final

from ....models.manifest import ENCODER
from ....models.progress import Progress
from ....runtime.sessions import Session
from ....runtime.tokenizer import Tokenizer
from ....tasks.triage.head import STATIC_TIER, HeadStore
from ....tasks.triage.loading import refuse_encoder_name
from ....tasks.triage.taxonomy import load_taxonomy
from ...triage.fit import fit
from ...triage.fit_tiers import FitEncoder, FittedTiers, fit_tiers
from ..making import MadeByStep, StepPlace
from ..recipe import StaticStep
from .made_by import made_by

FITTED_S_PER_ROW: Final = 0.012  # measured with minilm and 77 labels on two cores of an AMD EPYC with AVX2


class StaticMaking:
    """Fits a model whose static tier is served."""

    kind = "static"
    reads_rows = True
    revision = 1

    def __init__(self, step: StaticStep, model: str, makers: Sequence[str]) -> None:
        """``makers``: the names of the steps that make encoders."""
        self._of = step.of or f"{model}-int8"
        self.name = step.name or f"{model}-static"
        self.needs = (made_by(self._of, makers, self.kind),)

    @property
    def settings(self) -> dict[str, Any]:
        return {"of": self._of}

    def reference_s(self, place: StepPlace) -> float | None:
        return FITTED_S_PER_ROW * len(place.rows.known.texts)

    def make(self, place: StepPlace, progress: Progress) -> MadeByStep:
        refuse_encoder_name(place.registry, self.name)
        made = self._fitted(place, progress)
        version = HeadStore(place.registry.root.parent).save(self.name, made.head, made.files)
        return MadeByStep(heads={self.name: version})

    def _fitted(self, place: StepPlace, progress: Progress) -> FittedTiers:
        manifest = place.registry.load(self._of, ENCODER)
        tokenizer = Tokenizer(manifest.tokenizer_path, manifest.max_tokens, manifest.pad_id)
        encoder = FitEncoder(manifest, tokenizer, Session(manifest.graph_path, provider="cpu"))
        known, unseen = place.rows.known, place.rows.unseen
        fitted = fit(known, unseen, manifest, tokenizer, encoder.session, progress)
        return fit_tiers(fitted, encoder, load_taxonomy(None), STATIC_TIER, progress)
