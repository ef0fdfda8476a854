"""A linear layer that keeps only some of its inputs: which to keep, and its weights fitted anew.

The inputs X (rows, in) with a column of ones, and the wanted outputs Y (rows, out), enter as the sums X'X and
X'Y. The least-squares weights for a set of inputs are W = (X'X)⁻¹ X'Y. Without the inputs of a group g the
squared error grows by tr(W_g' ((X'X)⁻¹_gg)⁻¹ W_g): Hassibi and Stork 1993, "Optimal Brain Surgeon", for a group
of any size.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bert_layers import Numbers

Places = NDArray[np.intp]

# Of the mean of X'X's diagonal, added to the diagonal, because the texts are only a sample. 0.003 and 0.03 gave
# the same accuracy within its error.
DAMPING = 0.01


class FittedOutput(NamedTuple):
    """The weights (in, out) of the inputs that are kept, and the bias (out,)."""

    kept: Places
    weight: Numbers
    bias: Numbers


class OutputFit:
    """Collects inputs and wanted outputs, and fits the layer to a part of its inputs."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self._gram = np.zeros((inputs + 1, inputs + 1))
        self._product = np.zeros((inputs + 1, outputs))

    def add(self, states: Numbers, wanted: Numbers) -> None:
        """Add rows of inputs (rows, in) and of the outputs that are wanted for them (rows, out)."""
        ones = np.ones((len(states), 1))
        extended = np.concatenate([states, ones], axis=1)
        self._gram += extended.T @ extended
        self._product += extended.T @ wanted

    def keep(self, groups: int, size: int, stages: int) -> FittedOutput:
        """Keep ``groups`` groups of ``size`` neighboring inputs, and fit the layer to them.

        The groups that add least to the error go first; after each of ``stages`` the rest is weighed anew.
        """
        self._damp()
        present: Places = np.arange((len(self._gram) - 1) // size)
        for left in np.linspace(len(present), groups, stages + 1)[1:].round().astype(int):
            errors = self._errors(present, size)
            strongest = np.argsort(-errors, kind="stable")[:left]
            present = present[np.sort(strongest)]
        kept = _inputs_of(present, size)
        gram, product = self._part(kept)
        weight: Numbers = np.linalg.solve(gram, product).astype(np.float64)
        return FittedOutput(kept, weight[:-1], weight[-1])

    def _damp(self) -> None:
        diagonal = self._gram.diagonal()[:-1]
        places = np.arange(len(diagonal))
        self._gram[places, places] += DAMPING * diagonal.mean() + np.finfo(np.float64).tiny

    def _errors(self, present: Places, size: int) -> Numbers:
        """How much the error grows without each group; (groups,)."""
        gram, product = self._part(_inputs_of(present, size))
        inverse = np.linalg.inv(gram)
        weight = (inverse @ product)[:-1].reshape(len(present), size, -1)
        groups = inverse[:-1, :-1].reshape(len(present), size, len(present), size)
        own = groups[np.arange(len(present)), :, np.arange(len(present))]
        errors: Numbers = np.sum(weight * np.linalg.solve(own, weight), axis=(1, 2))
        return errors

    def _part(self, inputs: Places) -> tuple[Numbers, Numbers]:
        """X'X and X'Y of these inputs and of the column of ones."""
        places = np.append(inputs, len(self._gram) - 1)
        return self._gram[np.ix_(places, places)], self._product[places]


def _inputs_of(groups: Places, size: int) -> Places:
    inputs: Places = (groups[:, None] * size + np.arange(size)).reshape(-1)
    return inputs
