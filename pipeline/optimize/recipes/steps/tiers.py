"""The steps `static` and `cascade`: models fitted to the known rows as `triage fit` does it, and what answers."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from ....models.manifest import ENCODER
from ....models.progress import Progress
from ....runtime.sessions import Session
from ....runtime.tokenizer import Tokenizer
from ....tasks.triage.head import CASCADE, STATIC_TIER, HeadStore
from ....tasks.triage.loading import refuse_encoder_name
from ....tasks.triage.taxonomy import load_taxonomy
from ...triage.cascade.fit import ChangeLimit, with_cascade
from ...triage.fit import Fitted, fit
from ...triage.fit_tiers import FitEncoder, FittedTiers, fit_tiers
from ...triage.fitted_rows import files_with_fit
from ..making import MadeByStep, StepPlace
from ..recipe import CascadeStep, StaticStep
from .made_by import made_by

# Measured with minilm and 77 labels on two cores of an AMD EPYC with AVX2.
FITTED_S_PER_ROW: Final = 0.012
CHOSEN_S_PER_ROW: Final = 0.002


class TierFit(NamedTuple):
    """A model with a head and a static tier."""

    fitted: Fitted
    encoder: FitEncoder
    tiers: FittedTiers


class TierFits:
    """The last fit of a run: a static tier and a cascade of the same encoder share it."""

    def __init__(self) -> None:
        self._last: tuple[tuple[str, str], TierFit] | None = None

    def of(self, base: str, place: StepPlace, progress: Progress) -> TierFit:
        """The model fitted on the encoder ``base`` and the known rows."""
        manifest = place.registry.load(base, ENCODER)
        key = (manifest.version, place.rows.digest)
        if self._last is None or self._last[0] != key:
            tokenizer = Tokenizer(manifest.tokenizer_path, manifest.max_tokens, manifest.pad_id)
            encoder = FitEncoder(manifest, tokenizer, Session(manifest.graph_path, provider="cpu"))
            fitted = fit(place.rows.known, place.rows.unseen, *encoder, progress)
            tiers = fit_tiers(fitted, encoder, load_taxonomy(None), STATIC_TIER, progress)
            self._last = key, TierFit(fitted, encoder, tiers)
        return self._last[1]


class TierMaking:
    """Fits a model that answers by its static tier, or by the cascade of its tiers."""

    reads_rows = True
    revision = 1

    def __init__(
        self, step: StaticStep | CascadeStep, model: str, makers: Sequence[str], fits: TierFits
    ) -> None:
        """``makers``: the names of the steps that make encoders."""
        self.kind = CASCADE if isinstance(step, CascadeStep) else STATIC_TIER
        self._of = step.of or f"{model}-int8"
        self._limit = ChangeLimit(step.changed, step.bound) if isinstance(step, CascadeStep) else None
        self._fits = fits
        self.name = step.name or f"{model}-{self.kind}"
        self.needs = (made_by(self._of, makers, self.kind),)

    @property
    def settings(self) -> dict[str, Any]:
        return {"of": self._of} | (self._limit._asdict() if self._limit else {})

    def reference_s(self, place: StepPlace) -> float | None:
        per_row = FITTED_S_PER_ROW + CHOSEN_S_PER_ROW * (self._limit is not None)
        return per_row * len(place.rows.known.texts)

    def make(self, place: StepPlace, progress: Progress) -> MadeByStep:
        refuse_encoder_name(place.registry, self.name)
        fitted, encoder, tiers = self._fits.of(self._of, place, progress)
        if self._limit:
            tiers = with_cascade(tiers, fitted, encoder, load_taxonomy(None), self._limit, progress)
        head = replace(tiers.head, serve=CASCADE if self._limit else STATIC_TIER)
        files = files_with_fit(tiers.files, fitted.rows.train, tiers.measured_both)
        version = HeadStore(place.registry.root.parent).save(self.name, head, files)
        return MadeByStep(heads={self.name: version}, notes=_told(tiers))


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
