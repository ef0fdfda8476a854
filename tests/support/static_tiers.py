"""Static tiers of random numbers."""

import numpy as np

from inferstream.pipeline.tasks.triage.static_file import StaticArrays


def random_arrays(
    seed: int = 0,
    *,
    tokens: int = 50,
    width: int = 16,
    hidden: int = 24,
    labels: int = 5,
    dimensions: int = 12,
) -> StaticArrays:
    """Arrays that fit together. Every third token has no row."""
    draw = np.random.default_rng(seed)

    def bytes_of(*shape: int) -> np.ndarray:
        return draw.integers(-127, 128, shape).astype(np.int8)

    def floats(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (draw.normal(0, scale, shape)).astype(np.float32)

    kept = np.array([token for token in range(tokens) if token % 3 != 2], np.int32)
    return StaticArrays(
        tokens=kept,
        table=bytes_of(len(kept), width),
        token_weights=draw.integers(0, 65_536, len(kept)).astype(np.uint16),
        hidden=bytes_of(width, hidden),
        hidden_scales=np.abs(floats(hidden, scale=0.0002)),
        hidden_bias=floats(hidden, scale=0.1),
        output=bytes_of(hidden, labels),
        output_scales=np.abs(floats(labels, scale=0.01)),
        output_bias=floats(labels),
        meaning=bytes_of(width + hidden, dimensions),
        meaning_scales=np.abs(floats(dimensions, scale=0.001)),
        meaning_bias=floats(dimensions, scale=0.1),
        temperature=np.array([0.7], np.float32),
    )
