"""The file `static.safetensors` of a static tier: its arrays, checked when they are read."""

import hashlib
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ...errors import ModelError

STATIC_FILE: Final = "static.safetensors"
MAX_WIDTH: Final = 1_024
MAX_HIDDEN: Final = 512
"""Below these sizes the sums of products of 8-bit numbers are exact in float32, whose integers reach 2²⁴."""

DTYPES: Final = {
    "tokens": np.int32,
    "pairs": np.int32,
    "table": np.int8,
    "row_weights": np.uint16,
    "hidden": np.int8,
    "hidden_scales": np.float32,
    "hidden_bias": np.float32,
    "output": np.int8,
    "output_scales": np.float32,
    "output_bias": np.float32,
    "meaning": np.int8,
    "meaning_scales": np.float32,
    "meaning_bias": np.float32,
    "temperature": np.float32,
}


class StaticArrays(NamedTuple):
    """The arrays of a static tier, see `static_tier.StaticTier`."""

    tokens: NDArray[np.int32]  # (tokens,): the ids that have a row, rising
    pairs: NDArray[np.int32]  # (pairs, 2): the neighbors that have a row together, rising
    table: NDArray[np.int8]  # (tokens + pairs, width): the rows of the tokens, then those of the pairs
    row_weights: NDArray[np.uint16]  # (tokens + pairs,): what a row is multiplied by
    hidden: NDArray[np.int8]  # (width, hidden)
    hidden_scales: NDArray[np.float32]  # (hidden,)
    hidden_bias: NDArray[np.float32]  # (hidden,)
    output: NDArray[np.int8]  # (hidden, labels)
    output_scales: NDArray[np.float32]  # (labels,)
    output_bias: NDArray[np.float32]  # (labels,)
    meaning: NDArray[np.int8]  # (width + hidden, dimensions of the encoder)
    meaning_scales: NDArray[np.float32]  # (dimensions,)
    meaning_bias: NDArray[np.float32]  # (dimensions,)
    temperature: NDArray[np.float32]  # (1,)

    def at_temperature(self, temperature: float) -> "StaticArrays":
        """The same tier with other confidences."""
        return self._replace(temperature=np.array([temperature], np.float32))

    def encoded(self) -> bytes:
        """The content of the file."""
        arrays = {name: np.ascontiguousarray(array) for name, array in self._asdict().items()}
        return save(arrays)


def read_arrays(content: bytes, sha256: str, where: str) -> StaticArrays:
    """The arrays in the file ``where``, which must have this digest. Raises ModelError."""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{where} is damaged or of another fit; fit the model again.")
    try:
        found = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"{where} is no whole safetensors file ({error}); fit the model again.") from error
    wrong = [name for name, dtype in DTYPES.items() if name not in found or found[name].dtype != dtype]
    if wrong:
        raise ModelError(f"{where} has no array {wrong[0]!r} as this release reads it; fit the model again.")
    arrays = StaticArrays(**{name: np.ascontiguousarray(found[name]) for name in DTYPES})
    if reason := _fault(arrays):
        raise ModelError(f"{where} is wrong: {reason}; fit the model again.")
    return arrays


def _fault(arrays: StaticArrays) -> str | None:
    """What is wrong with the shapes and numbers; None if nothing is."""
    expected = _shapes(arrays)
    for name, array in arrays._asdict().items():
        if array.shape != expected[name]:
            return f"the array {name!r} has the shape {array.shape}, and not {expected[name]}"
        if array.dtype == np.float32 and not np.isfinite(array).all():
            return f"the array {name!r} has values that are not finite numbers"
    faults = {
        "the temperature is not above 0": not arrays.temperature[0] > 0,
        "it knows no token": arrays.tokens.size == 0,
        "its token ids do not rise": not _rising(arrays.tokens.astype(np.int64)),
        "its pairs of token ids do not rise": (arrays.pairs < 0).any()
        or not _rising(pair_keys(arrays.pairs)),
        f"its width is above {MAX_WIDTH}, or its hidden layer above {MAX_HIDDEN}": (
            arrays.table.shape[1] > MAX_WIDTH or len(arrays.hidden_bias) > MAX_HIDDEN
        ),
    }
    return next((said for said, wrong in faults.items() if wrong), None)


def _rising(numbers: NDArray[np.int64]) -> bool:
    """Whether each number is larger than the one before, and none is negative."""
    return bool((np.diff(numbers, prepend=np.int64(-1)) > 0).all())


def _shapes(arrays: StaticArrays) -> dict[str, tuple[int, ...]]:
    """The shapes that fit together, as some of the arrays ask for them."""
    rows = arrays.tokens.size + len(arrays.pairs)
    width = arrays.table.shape[-1] if arrays.table.ndim else 0
    hidden = arrays.hidden_bias.size
    labels = arrays.output_bias.size
    dimensions = arrays.meaning_bias.size
    shapes: dict[str, Any] = {
        "tokens": (arrays.tokens.size,),
        "pairs": (len(arrays.pairs), 2),
        "table": (rows, width),
        "row_weights": (rows,),
        "hidden": (width, hidden),
        "hidden_scales": (hidden,),
        "hidden_bias": (hidden,),
        "output": (hidden, labels),
        "output_scales": (labels,),
        "output_bias": (labels,),
        "meaning": (width + hidden, dimensions),
        "meaning_scales": (dimensions,),
        "meaning_bias": (dimensions,),
        "temperature": (1,),
    }
    return shapes


def pair_keys(pairs: NDArray[Any]) -> NDArray[np.int64]:
    """One number for each pair of token ids, of shape (pairs, 2)."""
    keys: NDArray[np.int64] = pairs[:, 0].astype(np.int64) << 32 | pairs[:, 1]
    return keys
