"""What whole zero points leave of offsets, as more columns of 4 bits: they are multiplied with the sums of blocks.

The sums stand behind the inputs, again and again. The first copy meets what is left in 4 bits, later ones meet what
that leaves, in 4 bits again. It does not matter where a block of 32 columns begins in a copy: they are all equal, and
a column that no level needs is 0.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .blocks import SIZE, Floats

HIGHEST = 15
"""Of 4 bits."""

HALF = 0.51
"""Of the largest step of a row: what a whole zero point leaves, with some room. Two levels are exact to 1/225 of the
range then; half precision, in which files have offsets, is about as exact."""


class FourBits(NamedTuple):
    """A matrix (out, in) in blocks of 32 columns: an element is ``scale * (value - zero)``."""

    values: NDArray[np.uint8]
    scales: Floats
    zeros: Floats

    def dense(self) -> Floats:
        """The same in float32, (out, in)."""
        full = self.scales[..., None] * (self.values - self.zeros[..., None])
        return full.reshape(len(full), -1).astype(np.float32)


def copies_of(sums: int) -> int:
    """How many copies of this number of sums the columns meet: until both levels have met all of them."""
    return -(-(_first_level(sums) + sums) // sums)


def offset_columns(left: Floats, steps: Floats) -> FourBits | None:
    """The columns for ``left`` (out, sums), or None for a row with an offset that is far from all zero points.

    ``steps``: the scales of the blocks whose offsets they are, of the same shape.
    """
    if (np.abs(left).max(-1) > HALF * np.abs(steps).max(-1)).any():
        return None
    sums = left.shape[1]
    first = _first_level(sums)
    coarse = _four_bits(_filled(left, first))
    rest = left - coarse.dense()[:, :sums]
    order = (first + np.arange(sums)) % sums  # the second level begins in the middle of a copy
    return beside(coarse, _four_bits(_filled(rest[:, order], copies_of(sums) * sums - first)))


def beside(*parts: FourBits) -> FourBits:
    """The columns of the parts, one behind the other."""
    values, scales, zeros = zip(*parts, strict=True)
    return FourBits(
        np.concatenate(values, axis=1), np.concatenate(scales, axis=1), np.concatenate(zeros, axis=1)
    )


def _first_level(sums: int) -> int:
    """Whole blocks for all sums."""
    return sums + -sums % SIZE


def _filled(matrix: Floats, columns: int) -> Floats:
    """With zeros, to this number of columns and on to a whole block."""
    columns += -columns % SIZE
    return np.pad(matrix, ((0, 0), (0, columns - matrix.shape[1])))


def _four_bits(matrix: Floats) -> FourBits:
    """Rounded, over the range that each block needs; 0 stays 0."""
    blocks = matrix.reshape(len(matrix), -1, SIZE)
    low = np.minimum(blocks.min(-1), 0)
    scales = (np.maximum(blocks.max(-1), 0) - low) / np.float32(HIGHEST)
    safe = np.where(scales == 0, np.float32(1), scales)
    zeros = np.rint(-low / safe)
    values = np.clip(np.rint(blocks / safe[..., None]) + zeros[..., None], 0, HIGHEST)
    return FourBits(values.astype(np.uint8), scales, zeros)
