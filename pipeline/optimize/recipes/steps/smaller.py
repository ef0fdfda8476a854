"""What the steps that make smaller encoders share: their result, and the seconds that measuring it takes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ....models.manifest import Manifest
from ....models.metrics import FITTED
from ...derived.smaller import MAX_FITTED, MAX_UNSEEN
from ..making import MadeByStep, StepPlace

# Measured with minilm on two cores of an AMD EPYC with AVX2.
MEASURED_S_PER_ROW: Final = 0.01  # three encoders, each with a classifier fitted anew


def made_by_step(made: Sequence[Manifest]) -> MadeByStep:
    """The variants, and in sentences which of them keep too little accuracy."""
    notes = tuple(
        f"{one.name} did not pass: {' '.join(judged.gate.failures)}"
        for one in made
        if (judged := one.judgements.get(FITTED)) and not judged.gate.passed
    )
    return MadeByStep({one.name: one.version for one in made}, notes=notes)


def measuring_s(place: StepPlace) -> float:
    """How long the accuracy of the new encoder and of the original takes."""
    return MEASURED_S_PER_ROW * min(place.rows.counts.known, MAX_FITTED + MAX_UNSEEN)


def size_mb(place: StepPlace, base: str) -> float | None:
    """Of the float32 graph of a model, if it is here."""
    for manifest in place.registry.list():
        if manifest.name == f"{base}-fp32" and Path(manifest.graph_path).exists():
            return Path(manifest.graph_path).stat().st_size / 1e6
    return None
