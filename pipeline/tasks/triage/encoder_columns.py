"""What the layers of a static tier say of the encoder's vector, along directions of the encoder's space."""

from typing import Final, NamedTuple, Self

import numpy as np

from .confidence import Floats
from .static_file import StaticArrays

LEVELS: Final = 127
SMALLEST: Final = 1e-30


class TierLayers(NamedTuple):
    """What the first layer of a static tier makes of some texts: integers, and what one of them is worth."""

    vectors: Floats  # (texts, width)
    vector_unit: Floats  # (texts, 1)
    active: Floats  # (texts, hidden)
    active_unit: Floats  # (texts, 1)


class EncoderColumns(NamedTuple):
    """Columns of the encoder's space as columns for both layers: integers, and what one of them is worth.

    The sums of their products are exact in float32, see `static_tier`.
    """

    of_vectors: Floats  # (width, columns)
    of_active: Floats  # (hidden, columns)
    units: Floats  # (columns,)
    bias: Floats  # (columns,)

    @classmethod
    def of(cls, arrays: StaticArrays, columns: Floats, bias: Floats) -> Self:
        """``columns``: (dimensions, columns); ``bias`` is added to each."""
        wide = columns.astype(np.float64)
        turned = arrays.meaning.astype(np.float64) @ (arrays.meaning_scales[:, None] * wide)
        units = np.maximum(np.abs(turned).max(axis=0), SMALLEST) / LEVELS
        whole = np.rint(turned / units).astype(np.float32)
        width = arrays.table.shape[1]
        added = arrays.meaning_bias.astype(np.float64) @ wide + bias
        return cls(whole[:width], whole[width:], units.astype(np.float32), added.astype(np.float32))

    def of_texts(self, layers: TierLayers) -> Floats:
        """(texts, columns): about what the encoder's vector of each text gives."""
        from_text = layers.vectors @ self.of_vectors * layers.vector_unit
        from_hidden = layers.active @ self.of_active * layers.active_unit
        found: Floats = (from_text + from_hidden) * self.units + self.bias
        return found
