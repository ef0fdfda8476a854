"""Adam (Kingma and Ba 2015) for one array of parameters, or for the rows of a table that a step touches."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MOMENTUM: Final = 0.9
SQUARES: Final = 0.99
TINY: Final = 1e-6


class Adam:
    """Changes ``array`` in place."""

    def __init__(self, array: NDArray[Any], rate: float, decay: float = 0.0) -> None:
        """``decay``: what a step takes off each parameter, as a share of it, besides the gradient."""
        self._array = array
        self._rate = rate
        self._decay = decay
        self._mean = np.zeros_like(array)
        self._square = np.zeros_like(array)
        self._steps = 0

    def step(
        self, gradient: NDArray[Any], share: float, used: NDArray[np.intp] | slice = slice(None)
    ) -> None:
        """``share`` of the rate. ``used``: the rows that ``gradient`` is for; the moments of the others rest."""
        self._steps += 1
        mean = MOMENTUM * self._mean[used] + (1 - MOMENTUM) * gradient
        square = SQUARES * self._square[used] + (1 - SQUARES) * gradient * gradient
        self._mean[used] = mean
        self._square[used] = square
        expected = mean / (1 - MOMENTUM**self._steps)
        spread = np.sqrt(square / (1 - SQUARES**self._steps)) + TINY
        self._array[used] -= self._rate * share * (expected / spread)
        if self._decay:
            self._array[used] -= self._decay * share * self._array[used]
