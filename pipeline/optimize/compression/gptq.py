"""Rounds the weights of a layer so that the error of its outputs is small (Frantar et al. 2022,
"GPTQ").

With inputs X, the error of the outputs is tr(E' H E), where E is the error of the weights
and H = X'X. Rows are rounded one after another. After row i, with error e, each later row j > i
takes the least-squares correction w_j -= e / U_ii × U_ij, where U is the upper Cholesky factor of
H⁻¹ = U'U.
The rows of the strongest inputs are rounded first, because most other rows can then still correct
their error.

**The pair limit.** A CPU with AVX2 and without VNNI adds the products of rows 2k and 2k + 1 with
their unsigned inputs in 16 bits, and saturates: 255 × (a + b) must not exceed 32 767. Therefore two
weights of one sign in such a pair add up to PAIR_LIMIT at most, and every CPU gives the exact sum.
Larger scales leave more room below the limit and have coarser steps; each column gets the scale of
FACTORS with the smallest error.

**The same result on every CPU.** BLAS adds in an order of its own, so sums of fractions differ in
their last bits between kinds of CPU, and one tie that is rounded the other way changes the rest of
its column. Here all sums are sums of integers below 2⁵³ in float64, which are exact in any order:
H is one, weights are multiples of 1 / UNIT, and so are corrections and errors. Only the factor U comes
from inexact arithmetic; rounded to multiples of 1 / UNIT, it differs with a probability near 1e-12 / UNIT⁻¹ per
element.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...graphs.bert.int8 import LARGEST, PAIR_LIMIT, column_scales

Gram = NDArray[np.float64]
Numbers = NDArray[np.float64]

# Share of the mean of H's diagonal that is added to the diagonal, because the calibration texts are
# only a sample. With less, single texts of an unseen kind lose much (1 - cosine up to 0.1); with
# more, the result approaches rounding to nearest.
DAMPING = 0.1
BLOCK_ROWS = 32  # the rows after a block are corrected once per block, by one matrix product
FACTORS = (1.0, 1.04, 1.08, 1.13, 1.18, 1.25, 1.35, 1.55, 2.0)  # of the scales of rounding to nearest
UNIT = 4096.0
CHUNK_COLUMNS = 3_072  # rounded at once: at most 40 MB for each 1 536 rows


class Correction(NamedTuple):
    """What the rows of a layer, in the order ``order``, take over from the errors of earlier rows."""

    order: NDArray[np.intp]
    shares: Numbers  # (in, in), integers: UNIT times U_ij / U_ii
    costs: Numbers  # (in,): the error of the outputs for an error of 1 in this row, 1 / U_ii²


def quantize_by_gram(weight: NDArray[np.float32], gram: Gram) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """``weight`` (in, out) as int8 and the scale of each column, for inputs X with X'X = ``gram``
    (in, in), integers.

    Every pair keeps the pair limit. The same arguments give the same result on every machine.
    """
    correction = _correction(gram)
    width = max(1, CHUNK_COLUMNS // len(FACTORS))
    parts = [_columns(weight[:, at : at + width], correction) for at in range(0, weight.shape[1], width)]
    values, scales = zip(*parts, strict=True)
    return np.concatenate(values, axis=1), np.concatenate(scales)


def _columns(
    weight: NDArray[np.float32], correction: Correction
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """The columns of ``weight``, each with the scale of FACTORS that has the smallest error."""
    columns = weight.shape[1]
    scales = np.concatenate([column_scales(weight) * np.float32(factor) for factor in FACTORS])
    steps = np.tile(weight, len(FACTORS)).astype(np.float64) / scales
    values, errors = _rounded(np.rint(steps[correction.order] * UNIT) * UNIT, correction)
    best = (errors * np.square(scales, dtype=np.float64)).reshape(-1, columns).argmin(axis=0)
    chosen = best * columns + np.arange(columns)
    found = np.empty(weight.shape, np.int8)
    found[correction.order] = values[:, chosen]
    return found, scales[chosen]


def _correction(gram: Gram) -> Correction:
    order = np.argsort(-gram.diagonal(), kind="stable")
    ordered = gram[np.ix_(order, order)]
    damping = max(DAMPING * ordered.diagonal().mean(), np.finfo(np.float32).tiny)
    upper = np.linalg.cholesky(np.linalg.inv(ordered + damping * np.eye(len(gram)))).T
    diagonal = upper.diagonal()
    return Correction(order, np.rint(upper / diagonal[:, None] * UNIT), 1 / np.square(diagonal))


def _rounded(rows: Numbers, correction: Correction) -> tuple[NDArray[np.int8], Numbers]:
    """``rows``, in the order of the correction, as int8, and the error of each column's output.

    ``rows`` are integers in units of scale / UNIT² and are changed in place.
    """
    count = len(rows)
    places = np.empty(count, np.intp)
    places[correction.order] = np.arange(count)
    partners = np.append(places, -1)[np.where(correction.order ^ 1 < count, correction.order ^ 1, count)]
    values = np.empty(rows.shape, np.int8)
    squares = np.zeros(rows.shape[1])
    for start in range(0, count, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, count)
        block = rows[start:stop]
        errors = np.empty_like(block)
        shares = correction.shares[start:stop]
        for i, row in enumerate(block):
            at = start + i
            partner = partners[at]
            exact = row / UNIT**2
            low, high = _bounds(exact, partner, at, rows, values)
            rounded = np.clip(np.rint(exact), low, high)
            values[at] = rounded
            errors[i] = np.rint(row / UNIT - rounded * UNIT)
            squares += np.square(exact - rounded) * correction.costs[at]
            block[i + 1 :] -= np.outer(shares[i, at + 1 : stop], errors[i])
        rows[stop:] -= shares[:, stop:].T @ errors
    return values, squares


def _bounds(
    row: Numbers, partner: int, at: int, rows: Numbers, values: NDArray[np.int8]
) -> tuple[Numbers | float, Numbers | float]:
    """The smallest and the largest value that row ``at`` may have beside its partner in the pair."""
    if partner < 0:
        return -LARGEST, LARGEST
    if partner < at:
        beside = values[partner].astype(np.float64)
        return (
            np.where(beside < 0, np.maximum(-LARGEST, -PAIR_LIMIT - beside), -LARGEST),
            np.where(beside > 0, np.minimum(LARGEST, PAIR_LIMIT - beside), LARGEST),
        )
    # The partner is rounded later. Where both together would exceed the limit, each gives half.
    beside = rows[partner] / UNIT**2
    excess = np.where(np.sign(beside) == np.sign(row), np.abs(beside) + np.abs(row) - PAIR_LIMIT, 0)
    bound = np.where(excess > 0, np.maximum(np.rint(np.abs(row) - excess / 2), 1), LARGEST)
    bound = np.minimum(bound, LARGEST)
    return -bound, bound
