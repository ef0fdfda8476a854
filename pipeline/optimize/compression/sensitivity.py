"""Mixed precision of an encoder: which linear layers stay in float32 so that int8 comes near enough to the original.

Each layer is put back into float32 alone, and the mean cosine that this wins, for each multiplication that it
costs, is how worth keeping it is. Layers are then kept in this order until the vectors are near enough. That adds
up what layers win singly, which is right as long as their errors are small.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...graphs.bert.float32 import PARTS, BertConfig, Weights
from ...models.manifest import Agreement
from ...models.progress import Progress

Measured = Callable[[Sequence[str]], Agreement]
"""The agreement with the original of the encoder whose layers with these names stay in float32."""


class Goal(NamedTuple):
    """How near to the original the vectors must be, and the largest share of the multiplications in float32."""

    cosine: float
    agreement: float
    budget: float


class PrecisionMix(NamedTuple):
    """The layers that stay in float32, what share of the multiplications they have, and the agreement with them."""

    kept: tuple[str, ...]
    share: float
    agreement: Agreement
    before: Agreement  # with all layers in int8


def multiplications(config: BertConfig, weights: Weights) -> dict[str, int]:
    """For each linear layer the multiplications of one token; query, key and value under the name of query."""
    found: dict[str, int] = {}
    for number in range(config.num_hidden_layers):
        prefix = f"encoder.layer.{number}."
        attention = [f"{prefix}attention.self.{part}" for part in PARTS]
        found[attention[0]] = sum(weights[f"{name}.weight"].size for name in attention)
        for name in ("attention.output.dense", "intermediate.dense", "output.dense"):
            found[prefix + name] = weights[f"{prefix}{name}.weight"].size
    return found


def mixed_precision(
    costs: Mapping[str, int], goal: Goal, measured: Measured, progress: Progress
) -> PrecisionMix:
    """The fewest layers, in the order of their worth, with which ``goal`` is reached. Raises ModelError."""
    before = measured(())
    if _reached(before, goal):
        return PrecisionMix((), 0.0, before, before)
    order = _by_worth(costs, before, measured, progress)
    total = sum(costs.values())
    shares: NDArray[np.float64] = np.cumsum([costs[name] for name in order]) / total
    most = int(np.sum(shares <= goal.budget))
    tried: dict[int, Agreement] = {}

    def reached(count: int) -> bool:
        progress(f"measuring with {count} layers in float32", 0, None)
        tried[count] = measured(order[:count])
        return _reached(tried[count], goal)

    if most == 0 or not reached(most):
        got = tried.get(most, before)
        raise ModelError(
            f"With {goal.budget:.0%} of the multiplications in float32 the cosine is {got.cosine_mean:.4f} and "
            f"{got.label:.1%} of the labels are the same; {goal.cosine:g} and {goal.agreement:.1%} are wanted: raise "
            "the budget, or ask for less."
        )
    low, high = 0, most  # not reached, reached
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return PrecisionMix(tuple(order[:high]), float(shares[high - 1]), tried[high], before)


def _by_worth(
    costs: Mapping[str, int], before: Agreement, measured: Measured, progress: Progress
) -> list[str]:
    """The layers, the most worth keeping first."""

    def worths() -> Iterator[tuple[float, str]]:
        for number, (name, cost) in enumerate(costs.items()):
            progress("measuring layers one at a time", number, len(costs))
            yield (measured([name]).cosine_mean - before.cosine_mean) / cost, name
        progress("measuring layers one at a time", len(costs), len(costs))

    return [name for _, name in sorted(worths(), reverse=True)]


def _reached(agreement: Agreement, goal: Goal) -> bool:
    return agreement.cosine_mean >= goal.cosine and agreement.label >= goal.agreement
