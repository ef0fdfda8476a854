"""Rounds the weights of a layer so that the error of its outputs is small (Frantar et al. 2022,
"GPTQ").

With inputs X, the error of the outputs is tr(E' H E), where E is the error of the weights
and H = X'X. Rows are rounded one after another. After row i, with error e, each later row j > i
takes the least-squares correction w_j -= e / U_ii × U_ij, where U is the upper Cholesky factor of
H⁻¹ = U'U.
The rows of the strongest inputs are rounded first, because most other rows can then still correct
their error.
"""

import numpy as np
from numpy.typing import NDArray

from ..graphs.bert.int8 import column_scales

Gram = NDArray[np.float64]

# Share of the mean of H's diagonal that is added to the diagonal, because the calibration texts are
# only a sample. With less, single texts of an unseen kind lose much (1 - cosine up to 0.1); with
# more, the result approaches rounding to nearest.
DAMPING = 0.1
BLOCK_ROWS = 64  # the rows after a block are corrected once per block, by one matrix product


def quantize_by_gram(weight: NDArray[np.float32], gram: Gram) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """``weight`` (in, out) as int8 and the scale of each column, for inputs X with X'X = ``gram``
    (in, in).

    The scales are those of rounding to nearest. On one machine the same arguments give the same
    result. On another CPU the linear algebra may differ in the last bits; then a few columns in a
    thousand differ.
    """
    scales = column_scales(weight)
    order = np.argsort(-gram.diagonal(), kind="stable")
    values = np.empty(weight.shape, np.int8)
    values[order] = _rounded((weight / scales)[order], _correction(gram[np.ix_(order, order)]))
    return values, scales


def _correction(gram: Gram) -> NDArray[np.float32]:
    """U with each row divided by its diagonal element: row i corrects all rows for an error of 1 in row i."""
    damping = max(DAMPING * gram.diagonal().mean(), np.finfo(np.float32).tiny)
    upper = np.linalg.cholesky(np.linalg.inv(gram + damping * np.eye(len(gram)))).T
    correction: NDArray[np.float32] = (upper / upper.diagonal()[:, None]).astype(np.float32)
    return correction


def _rounded(rows: NDArray[np.float32], correction: NDArray[np.float32]) -> NDArray[np.int8]:
    """``rows`` as int8; ``rows`` are in units of the column scales and are changed in place."""
    values = np.empty(rows.shape, np.int8)
    for start in range(0, len(rows), BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, len(rows))
        block = rows[start:stop]
        errors = np.empty_like(block)
        inner = correction[start:stop, start:stop]
        for i, row in enumerate(block):
            values[start + i] = rounded = np.clip(np.round(row), -127, 127)
            errors[i] = row - rounded
            block[i + 1 :] -= np.outer(inner[i, i + 1 :], errors[i])
        rows[stop:] -= correction[start:stop, stop:].T @ errors
    return values
