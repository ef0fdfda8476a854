"""Watches, while serving, whether the static tier changes more answers than its fit promised, for each tenant.

A sample of all texts is answered by the encoder, whatever the static tier would say, and the two answers are compared.
Each of the levels asks for more confidence than the one before; at the last one the encoder answers everything. A
tenant begins at level 0, the threshold of the fit, and never goes below it.

The tests are bets on each sampled text, so they may be looked at after each one: the capital of a bet against a share
within the limit grows by a likelihood ratio, and begins anew when it falls below 1 (e-detectors: Shin, Ramdas and
Rinaldo 2022). While the share is at the limit, a capital reaches STAKE once in STAKE sampled texts at most.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

LEVELS: Final = 6
"""Level 0 is the threshold of the fit, each next one halves what may be missing to certainty. At level 6 the encoder
answers all texts."""

STAKE: Final = 200.0
WORSE: Final = (2.0, 4.0, 10.0, 30.0)
"""Shares above the limit that are bet on, as its multiples."""

BETTER: Final = (0.5, 0.25, 0.0)
MAX_SHARE: Final = 0.9
MAX_TENANTS: Final = 1_000


class Bets:
    """Bets on shares, as multiples of the limit, against the limit itself. ``capital`` is their mean."""

    __slots__ = ("_capitals", "_steps")

    def __init__(self, limit: float, multiples: Iterable[float]) -> None:
        shares = [min(multiple * limit, MAX_SHARE) for multiple in multiples]
        self._steps = [((1 - share) / (1 - limit), share / limit) for share in shares]
        self._capitals = [1.0] * len(shares)

    def observe(self, changed: bool) -> None:
        """One more row."""
        self._capitals = [
            max(capital, 1.0) * step[changed]
            for capital, step in zip(self._capitals, self._steps, strict=True)
        ]

    @property
    def capital(self) -> float:
        return sum(self._capitals) / len(self._capitals)

    @property
    def lost(self) -> bool:
        """Whether none of them is above what it began with."""
        return max(self._capitals) <= 1.0


class Watched(NamedTuple):
    """What is known of a tenant: its level, its sampled texts, and how many answers changed at the levels it had."""

    tenant: str
    level: int
    sampled: int
    changed: int


class TenantPromise:
    """The level of one tenant."""

    __slots__ = (
        "_bets_above",
        "_bets_below",
        "_changed_at",
        "_limit",
        "_rows",
        "changed",
        "level",
        "sampled",
    )

    def __init__(self, limit: float) -> None:
        self.level = 0
        self.sampled = 0
        self.changed = 0
        self._limit = limit
        self._begin()

    def _begin(self) -> None:
        self._bets_above = Bets(self._limit, WORSE)  # that the share is above the limit at this level
        self._bets_below = Bets(self._limit, BETTER)  # that it is below the limit at the level before
        self._forget()

    def _forget(self) -> None:
        self._rows = 0
        self._changed_at = [0] * LEVELS

    def observe(self, reached: int, changed: bool) -> None:
        """A sampled text: the static tier would answer it at the levels below ``reached``, and change the answer."""
        at_level = changed and self.level < reached
        self.sampled += 1
        self.changed += at_level
        self._rows += 1
        if changed:
            for level in range(reached):
                self._changed_at[level] += 1
        self._bets_above.observe(at_level)
        self._bets_below.observe(changed and self.level - 1 < reached)
        if self._bets_above.capital >= STAKE:
            self._raise()
        elif self.level and self._bets_below.capital >= STAKE:
            self.level -= 1
            self._begin()
        elif self._bets_above.lost:
            self._forget()

    def _raise(self) -> None:
        """To the next level at which the texts since the share began to rise keep the limit."""
        within = (
            level
            for level in range(self.level + 1, LEVELS)
            if self._changed_at[level] <= self._limit * self._rows
        )
        self.level = next(within, LEVELS)
        self._begin()


class Promise:
    """The levels of all tenants. Several threads may call it.

    It remembers MAX_TENANTS tenants at level 0 and as many above it, and of each kind forgets the one that was
    compared least recently: strangers with new names do not end what was learned of others.
    """

    def __init__(self, limit: float, raised: Callable[[str, int], None] = lambda tenant, level: None) -> None:
        """``limit``: of the share of changed answers. ``raised`` is called when a tenant's level rises."""
        self._limit = limit
        self._raised = raised
        self._lock = threading.Lock()
        self._calm: OrderedDict[str, TenantPromise] = OrderedDict()
        self._above: OrderedDict[str, TenantPromise] = OrderedDict()
        self.sampled = 0
        self.changed = 0

    def level(self, tenant: str) -> int:
        """The level of the tenant: 0 unless its sample spoke against the threshold of the fit."""
        found = self._above.get(tenant)
        return 0 if found is None else found.level

    def observe(self, tenant: str, reached: int, changed: bool) -> None:
        """A sampled text of the tenant, see `TenantPromise.observe`."""
        with self._lock:
            one = self._above.get(tenant) or self._calm.get(tenant) or TenantPromise(self._limit)
            level = one.level
            self.sampled += 1
            self.changed += changed and level < reached
            one.observe(reached, changed)
            self._keep(tenant, one)
        if one.level > level:
            self._raised(tenant, one.level)

    def _keep(self, tenant: str, one: TenantPromise) -> None:
        kept, other = (self._above, self._calm) if one.level else (self._calm, self._above)
        kept[tenant] = one
        kept.move_to_end(tenant)
        other.pop(tenant, None)
        if len(kept) > MAX_TENANTS:
            kept.popitem(last=False)

    def above(self, most: int) -> Sequence[Watched]:
        """The tenants above level 0 that were compared last, ``most`` of them at most."""
        with self._lock:
            latest = [*self._above.items()][-most:]
            return [Watched(name, one.level, one.sampled, one.changed) for name, one in latest]

    @property
    def tenants_above(self) -> int:
        """How many tenants are above level 0."""
        return len(self._above)


def upper_share(changed: int, rows: int) -> float:
    """About the upper 95 % bound of a share (Wilson 1927), in a closed form."""
    if not rows:
        return 1.0
    z = 1.645
    share = changed / rows
    spread = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return min(1.0, (share + z * z / (2 * rows) + spread) / (1 + z * z / rows))
