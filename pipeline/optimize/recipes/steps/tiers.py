"""The steps `static`, `cascade` and `ensemble`: models fitted to the known rows as by `triage fit`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from ....models.manifest import ENCODER
from ....models.progress import Progress
from ....runtime.sessions import Session
from ....runtime.tokenizer import Tokenizer
from ....tasks.triage.head import CASCADE, ENSEMBLE, STATIC_TIER, HeadStore, Serve
from ....tasks.triage.loading import refuse_encoder_name
from ...triage.cascade.fit import ChangeLimit, with_cascade
from ...triage.fit import Fitted, fit
from ...triage.fit_tiers import FitEncoder, FittedTiers, fit_tiers
from ...triage.fitted_rows import files_with_fit
from ..making import MadeByStep, StepPlace
from ..recipe import CascadeStep, EnsembleStep, FittingStep, StaticStep
from ..taxonomies import RecipeTaxonomy
from .made_by import made_by

# Measured with minilm and 77 labels on two cores of an AMD EPYC with AVX2.
FITTED_S_PER_ROW: Final = 0.012
CHOSEN_S_PER_ROW: Final = 0.002

SERVED: Final[Mapping[type[FittingStep], Serve]] = {
    StaticStep: STATIC_TIER,
    CascadeStep: CASCADE,
    EnsembleStep: ENSEMBLE,
}
"""What answers in the model that a step makes."""


class TierFit(NamedTuple):
    """A model with a head and a static tier."""

    fitted: Fitted
    encoder: FitEncoder
    tiers: FittedTiers


class TierFits:
    """The last fits of a run: steps of the same encoder share them."""

    def __init__(self, taxonomy: RecipeTaxonomy) -> None:
        self.taxonomy = taxonomy
        self._last: tuple[tuple[str, str], TierFit] | None = None
        self._chosen: tuple[TierFit, ChangeLimit, FittedTiers] | None = None

    def of(self, base: str, place: StepPlace, progress: Progress) -> TierFit:
        """The model fitted on the encoder ``base`` and the known rows."""
        manifest = place.registry.load(base, ENCODER)
        key = (manifest.version, place.rows.digest)
        if self._last is None or self._last[0] != key:
            tokenizer = Tokenizer(manifest.tokenizer_path, manifest.max_tokens, manifest.pad_id)
            encoder = FitEncoder(manifest, tokenizer, Session(manifest.graph_path, provider="cpu"))
            fitted = fit(place.rows.known, place.rows.unseen, *encoder, progress)
            tiers = fit_tiers(fitted, encoder, self.taxonomy.loaded, STATIC_TIER, progress)
            self._last = key, TierFit(fitted, encoder, tiers)
        return self._last[1]

    def together(self, found: TierFit, limit: ChangeLimit, progress: Progress) -> FittedTiers:
        """The tiers of the fit with what they are together."""
        if self._chosen is None or self._chosen[0] is not found or self._chosen[1] != limit:
            fitted, encoder, tiers = found
            made = with_cascade(tiers, fitted, encoder, self.taxonomy.loaded, limit, progress)
            self._chosen = found, limit, made
        return self._chosen[2]


class TierMaking:
    """Fits a model that answers by its static tier, by the cascade of its tiers, or by both added."""

    reads_rows = True
    revision = 2

    def __init__(self, step: FittingStep, model: str, makers: Sequence[str], fits: TierFits) -> None:
        """``makers``: the names of the steps that make encoders."""
        self.kind: Serve = SERVED[type(step)]
        self._of = step.of or f"{model}-int8"
        self._limit = (
            ChangeLimit(step.changed, step.bound) if isinstance(step, CascadeStep) else ChangeLimit()
        )
        self._fits = fits
        self.name = step.name or f"{model}-{self.kind}"
        self.needs = (made_by(self._of, makers, self.kind),)

    @property
    def settings(self) -> dict[str, Any]:
        limit = self._limit._asdict() if self.kind == CASCADE else {}
        return {"of": self._of, **limit, **self._fits.taxonomy.settings}

    def reference_s(self, place: StepPlace) -> float | None:
        per_row = FITTED_S_PER_ROW + CHOSEN_S_PER_ROW * (self.kind != STATIC_TIER)
        return per_row * place.rows.counts.known

    def make(self, place: StepPlace, progress: Progress) -> MadeByStep:
        refuse_encoder_name(place.registry, self.name)
        found = self._fits.of(self._of, place, progress)
        tiers = found.tiers
        if self.kind != STATIC_TIER:
            tiers = self._fits.together(found, self._limit, progress)
        head = replace(tiers.head, serve=self.kind)
        files = files_with_fit(tiers.files, found.fitted.rows.train, tiers.measured_both)
        version = HeadStore(place.registry.root.parent).save(self.name, head, files)
        return MadeByStep(heads={self.name: version}, notes=_told(tiers) if self.kind == CASCADE else ())


def _told(made: FittedTiers) -> tuple[str, ...]:
    cascade = made.head.cascade
    if not cascade:
        return ()
    found = cascade.measured
    sentence = (
        f"The static tier answers {found.share:.1%} of {found.rows} rows that neither tier was fitted on; "
        f"{found.changed:.2%} of the answers are others than the encoder's, {found.changed_high:.2%} at most (95 %)."
    )
    return (sentence,)
