"""Rounding a layer's weights so that its outputs keep close, instead of each weight for itself.

Frantar et al. 2022, "GPTQ". With inputs X the error of the outputs is tr(E' H E), E the error of the weights and
H = X'X. Rows are rounded one after another; after row i, whose error is e, the rows j > i that are still
free take the least-squares correction w_j -= e / U_ii × U_ij, with U the upper Cholesky factor of H⁻¹ = U'U.
Rows of the strongest inputs come first, when most others are still free to make up for them.
"""

import numpy as np
from numpy.typing import NDArray

from ..graphs.bert.int8 import column_scales

Gram = NDArray[np.float64]

# Of the mean of H's diagonal, added to it: what was seen is not all. With less, single texts of a kind that was
# not seen lose much (1 - cosine up to 0.1); with more, rounding to nearest comes back.
DAMPING = 0.1
BLOCK_ROWS = 64  # the rows after a block are corrected once for the whole block, as one matrix product


def quantize_by_gram(weight: NDArray[np.float32], gram: Gram) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """``weight`` (in, out) as int8 and the scale of each column, for inputs X with X'X = ``gram`` (in, in).

    The scales are those of rounding to nearest. The same arguments give the same result on one machine;
    where another one's linear algebra differs in a last bit, a few columns in a thousand are rounded otherwise.
    """
    scales = column_scales(weight)
    order = np.argsort(-gram.diagonal(), kind="stable")
    values = np.empty(weight.shape, np.int8)
    values[order] = _rounded((weight / scales)[order], _correction(gram[np.ix_(order, order)]))
    return values, scales


def _correction(gram: Gram) -> NDArray[np.float32]:
    """U with its rows divided by their diagonal: row i is the correction of all rows for an error of 1 in row i."""
    damping = max(DAMPING * gram.diagonal().mean(), np.finfo(np.float32).tiny)
    upper = np.linalg.cholesky(np.linalg.inv(gram + damping * np.eye(len(gram)))).T
    correction: NDArray[np.float32] = (upper / upper.diagonal()[:, None]).astype(np.float32)
    return correction


def _rounded(rows: NDArray[np.float32], correction: NDArray[np.float32]) -> NDArray[np.int8]:
    """``rows``, in units of their columns' scales, as int8."""
    values = np.empty(rows.shape, np.int8)
    for start in range(0, len(rows), BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, len(rows))
        block, errors = rows[start:stop], np.empty_like(rows[start:stop])
        inner = correction[start:stop, start:stop]
        for i, row in enumerate(block):
            values[start + i] = rounded = np.clip(np.round(row), -127, 127)
            errors[i] = row - rounded
            block[i + 1 :] -= np.outer(inner[i, i + 1 :], errors[i])
        rows[stop:] -= correction[start:stop, stop:].T @ errors
    return values
