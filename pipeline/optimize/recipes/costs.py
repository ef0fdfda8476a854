"""How long a step is expected to take: as it took here before, else as on the machine that the figures are from."""

from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

from ..machine.machine import products_per_s
from .making import Making, StepPlace
from .rows import ASSUMED
from .store import StepRecord

REFERENCE_PRODUCTS_PER_S: Final = (
    310.0  # of one core of an AMD EPYC with AVX2, two such cores took `reference_s`
)
LEARNED_FROM: Final = 5  # the last runs
LEAST_S: Final = 0.5  # shorter steps teach nothing


class Expectation(NamedTuple):
    """The expected seconds, None if they are not known before an earlier step is done, and what they are based on."""

    seconds: float | None
    basis: str


class Costs:
    """Expects the costs of steps on this machine."""

    def __init__(self, records: Sequence[StepRecord], machine: str) -> None:
        self._records = [one for one in records if one.machine == machine]
        self._speed: float | None = None

    def expected(self, making: Making, place: StepPlace) -> Expectation:
        """What the step will take here."""
        reference_s = making.reference_s(place)
        if reference_s is None:
            return Expectation(None, "known when the model is here")
        ratios = [
            one.seconds / one.reference_s
            for one in self._records
            if one.kind == making.kind and one.reference_s and one.seconds > LEAST_S
        ][:LEARNED_FROM]
        assumed = making.reads_rows and not place.rows.named
        rows = f", for {ASSUMED.known + ASSUMED.unseen:,} rows" if assumed else ""
        if ratios:
            runs = f"{len(ratios)} earlier run{'s' * (len(ratios) != 1)}"
            return Expectation(reference_s * median(ratios), f"learned from {runs} here{rows}")
        return Expectation(
            reference_s / self._measured(), f"reference, at {self._measured():.2f} of its speed{rows}"
        )

    def _measured(self) -> float:
        """The speed of this machine in that of the reference."""
        if self._speed is None:
            self._speed = products_per_s() / REFERENCE_PRODUCTS_PER_S
        return self._speed
