"""What workers count of a rollout. Counts of several workers are added."""

from collections.abc import Iterable

from msgspec import Struct, field

from .histogram import Histogram, count_value


class SideFigures(Struct):
    """Of the requests that one of the two versions answered.

    Attributes:
        answered: requests, cached answers included.
        failed: requests that failed and of which the version is at fault.
        latency: from the arrival to the answer, in milliseconds, of answers that were computed and waited for.
        cost: of the batches, in times of what the stable version takes for the same shape.
    """

    answered: int = 0
    failed: int = 0
    latency: Histogram = field(default_factory=dict)
    cost: Histogram = field(default_factory=dict)

    def add(self, other: "SideFigures") -> None:
        """Add the counts of another worker."""
        self.answered += other.answered
        self.failed += other.failed
        _add(self.latency, other.latency)
        _add(self.cost, other.cost)


class RolloutFigures(Struct):
    """Of the stable version and the candidate since the rollout began.

    Attributes:
        crashes: of workers, while requests were on the candidate's device.
        agreed, differed: requests that both versions answered alike, or not.
        both_right, both_wrong: labeled requests on which the versions are equally right.
        stable_right, candidate_right: labeled requests on which only that version is right.
    """

    stable: SideFigures = field(default_factory=SideFigures)
    candidate: SideFigures = field(default_factory=SideFigures)
    crashes: int = 0
    agreed: int = 0
    differed: int = 0
    both_right: int = 0
    both_wrong: int = 0
    stable_right: int = 0
    candidate_right: int = 0

    @property
    def labeled(self) -> int:
        """Labeled requests that both versions answered."""
        return self.both_right + self.both_wrong + self.stable_right + self.candidate_right

    def compare(self, *, alike: bool) -> None:
        """Count a request that both versions answered."""
        if alike:
            self.agreed += 1
        else:
            self.differed += 1

    def label(self, *, stable: bool, candidate: bool) -> None:
        """Count a labeled request by which versions were right."""
        if stable and candidate:
            self.both_right += 1
        elif stable:
            self.stable_right += 1
        elif candidate:
            self.candidate_right += 1
        else:
            self.both_wrong += 1

    def add(self, other: "RolloutFigures") -> None:
        """Add the counts of another worker."""
        self.stable.add(other.stable)
        self.candidate.add(other.candidate)
        self.crashes += other.crashes
        self.agreed += other.agreed
        self.differed += other.differed
        self.both_right += other.both_right
        self.both_wrong += other.both_wrong
        self.stable_right += other.stable_right
        self.candidate_right += other.candidate_right


def total(figures: Iterable[RolloutFigures]) -> RolloutFigures:
    """The sum."""
    added = RolloutFigures()
    for one in figures:
        added.add(one)
    return added


def answer(side: SideFigures, latency_ms: float | None) -> None:
    """Count an answered request; ``latency_ms`` if its answer was computed and waited for."""
    side.answered += 1
    if latency_ms is not None:
        count_value(side.latency, latency_ms)


def _add(counts: Histogram, other: Histogram) -> None:
    for bucket, count in other.items():
        counts[bucket] = counts.get(bucket, 0) + count
