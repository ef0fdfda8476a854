"""Chooses the fastest offer within limits, and says why, or which limit fails and what would do."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from .offers import Offer

OPTIONS: Final = ("--latency-ms", "--min-agreement", "--max-size-mb")
MOST_CHANGES: Final = 4


class ChoiceLimits(NamedTuple):
    """What an offer must keep. None: any."""

    latency_ms: float | None = None  # the 99th percentile of a row alone
    min_agreement: float | None = None
    max_size_mb: float | None = None


class Miss(NamedTuple):
    """A limit that an offer does not keep. ``enough``: the option with which it would; empty if none does."""

    why: str
    enough: str


class ChosenOffer(NamedTuple):
    """``offer`` is None if nothing fits. ``misses`` are those of each offer."""

    offer: Offer | None
    reason: str
    misses: list[list[Miss]]


def choose(offers: Sequence[Offer], limits: ChoiceLimits) -> ChosenOffer:
    """The offer with the most rows a second among those that keep all limits."""
    misses = [misses_of(offer, limits) for offer in offers]
    fitting = [offer for offer, missed in zip(offers, misses, strict=True) if not missed]
    if not fitting:
        return ChosenOffer(None, _nothing(offers, misses), misses)
    best = max(fitting, key=lambda offer: offer.rows_per_s or 0.0)
    others = f"the fastest of {len(fitting)} that fit" if len(fitting) > 1 else "the only one that fits"
    return ChosenOffer(best, f"{best.name} on {best.provider}: {others}{_kept(best, limits)}.", misses)


def misses_of(offer: Offer, limits: ChoiceLimits) -> list[Miss]:
    """The limits that it does not keep; a figure that is not known keeps none."""
    found = []
    if offer.gate is not None and not offer.gate.open:
        found.append(Miss("its gate is closed", ""))
    if offer.rows_per_s is None:
        found.append(Miss("its speed is not known", ""))
    values = (offer.p99_ms, offer.agreement, offer.size_mb)
    for name, value, limit, is_most in zip(OPTIONS, values, limits, (True, False, True), strict=True):
        if limit is None:
            continue
        if value is None:
            found.append(Miss(f"{name}: not known", ""))
        elif not (value <= limit if is_most else value >= limit):  # also for what is not a number
            found.append(Miss(f"{name}: {value:.4g}", _enough(name, value, is_most)))
    return found


def _enough(name: str, value: float, is_most: bool) -> str:
    """The option with a round number that this value keeps."""
    if math.isnan(value):
        return ""
    digits = 1 if is_most else 3
    rounded = (math.ceil if is_most else math.floor)(value * 10**digits) / 10**digits
    return f"{name} {rounded:g}"


def _kept(best: Offer, limits: ChoiceLimits) -> str:
    kept = []
    if limits.latency_ms is not None and best.p99_ms is not None:
        kept.append(f"99 % of single rows within {best.p99_ms:.2f} ms")
    if limits.min_agreement is not None and best.agreement is not None:
        kept.append(f"{best.agreement:.1%} of its answers those of {best.original}")
    if limits.max_size_mb is not None:
        kept.append(f"{best.size_mb:.1f} MB")
    return f", {best.rows_per_s:,.0f} rows/s of one core" + "".join(f", {one}" for one in kept)


def _nothing(offers: Sequence[Offer], misses: Sequence[Sequence[Miss]]) -> str:
    """Which limits nothing keeps, and what would do: the fewest changes first."""
    kept_by_none = [
        name
        for name in OPTIONS
        if all(any(miss.why.startswith(name) for miss in missed) for missed in misses)
    ]
    changes = sorted(
        (len(missed), f"{offer.name} on {offer.provider} with {' '.join(miss.enough for miss in missed)}")
        for offer, missed in zip(offers, misses, strict=True)
        if all(miss.enough for miss in missed)
    )
    failing = f": nothing keeps {' or '.join(kept_by_none)}" if kept_by_none else ""
    if not changes:
        return f"Nothing fits{failing}. No model here has all figures and an open gate."
    would = "; ".join(change for _, change in changes[:MOST_CHANGES])
    return f"Nothing fits{failing}. These would: {would}."
