"""The task `embed` for the engine: options, and vectors as answers."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from ....schemas.messages import EmbedOptions, EmbedOutput
from ...errors import WrongType
from ..pooling import Floats, unit
from ..vectors import VectorTask

ALIKE: Final = 0.98
"""The cosine of two vectors that agree: those of an int8 graph and of float32 have 0.995 or more."""

DECIMALS: Final = 7  # as many as a float32 has; half of the bytes that all digits of a float64 take


class Embed(VectorTask):
    """The task `embed`, see `tasks/base.Task`."""

    name = "embed"
    option_type = EmbedOptions

    def options(self, given: Mapping[str, Any]) -> EmbedOptions:
        """The checked options. Raises UnknownOption or WrongType."""
        options: EmbedOptions = super().options(given)
        dimensions = options.dimensions
        width = self.encoder.manifest.dimensions
        shorter = self.encoder.manifest.matryoshka_dimensions
        if dimensions is None or dimensions == width or dimensions in shorter:
            return options
        if not shorter:
            raise WrongType(
                f"The vectors of {self.model} have {width} dimensions and cannot be shortened: leave the option "
                "'dimensions' out."
            )
        allowed = ", ".join(map(str, sorted({*shorter, width})))
        raise WrongType(
            f"The option 'dimensions' must be one of {allowed} with {self.model}, not {dimensions}."
        )

    def agrees(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether the vectors point the same way, see `tasks/base.agree`."""
        first, second = np.array(one["vector"]), np.array(other["vector"])
        if first.shape != second.shape:
            return False
        return bool(first @ second >= ALIKE * np.linalg.norm(first) * np.linalg.norm(second))

    def answer(self, vector: Floats, options: EmbedOptions, windows: int) -> EmbedOutput:
        """The vector, shortened and scaled to length 1 as the options say."""
        if options.dimensions is not None:
            vector = vector[: options.dimensions]
        if options.normalize:
            (vector,) = unit(vector[None])
        numbers = np.round(vector.astype(np.float64), DECIMALS).tolist()
        return EmbedOutput(numbers, len(numbers), windows)
