"""Static tiers of random numbers."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from inferstream.pipeline.tasks.triage.head import TOKENIZER_FILE, Head, HeadAccuracy, HeadStore, StaticPart
from inferstream.pipeline.tasks.triage.static_file import STATIC_FILE, StaticArrays

from .tiny_model import HIDDEN, VOCABULARY, tokenizer_settings


def random_arrays(
    seed: int = 0,
    *,
    tokens: int = 50,
    width: int = 16,
    hidden: int = 24,
    labels: int = 5,
    dimensions: int = 12,
) -> StaticArrays:
    """Arrays that fit together. Every third token has no row; the pairs are any."""
    draw = np.random.default_rng(seed)

    def bytes_of(*shape: int) -> np.ndarray:
        return draw.integers(-127, 128, shape).astype(np.int8)

    def floats(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (draw.normal(0, scale, shape)).astype(np.float32)

    kept = np.array([token for token in range(tokens) if token % 3 != 2], np.int32)
    pairs = np.unique(draw.integers(0, tokens, (3 * tokens, 2)).astype(np.int32), axis=0)
    rows = len(kept) + len(pairs)
    return StaticArrays(
        tokens=kept,
        pairs=pairs,
        table=bytes_of(rows, width),
        row_weights=draw.integers(0, 65_536, rows).astype(np.uint16),
        hidden=bytes_of(width, hidden),
        hidden_scales=np.abs(floats(hidden, scale=0.005)),
        hidden_bias=floats(hidden, scale=0.1),
        output=bytes_of(hidden, labels),
        output_scales=np.abs(floats(labels, scale=0.01)),
        output_bias=floats(labels),
        meaning=bytes_of(width + hidden, dimensions),
        meaning_scales=np.abs(floats(dimensions, scale=0.001)),
        meaning_bias=floats(dimensions, scale=0.1),
        temperature=np.array([0.7], np.float32),
    )


def save_static_head(
    home: Path, name: str, labels: tuple[str, ...], *, seed: int = 0, **changes: Any
) -> Head:
    """A fitted model that is served by a static tier of random numbers; there is no encoder."""
    tokenizer = json.dumps(tokenizer_settings()).encode()
    arrays = random_arrays(seed, tokens=len(VOCABULARY), labels=len(labels), dimensions=HIDDEN)
    # Each label is given to about as many texts.
    even = (arrays.output // 2 - (arrays.output // 2).mean(axis=0)).astype(np.int8)
    arrays = arrays._replace(
        output=even,
        output_scales=np.full(len(labels), 0.05, np.float32),
        output_bias=np.zeros(len(labels), np.float32),
    )
    files = {STATIC_FILE: arrays.encoded(), TOKENIZER_FILE: tokenizer}
    measured = HeadAccuracy(8, 2, 0.9, 0.9, 0.1, 0.02)
    head = Head(
        base="tiny-int8",
        encoder_digest=b"e" * 32,
        labels=labels,
        dimensions=HIDDEN,
        weights=np.zeros((HIDDEN, len(labels)), "<f4").tobytes(),
        bias=np.zeros(len(labels), "<f4").tobytes(),
        temperature=1.0,
        measured=measured,
        static=StaticPart(
            weights_sha256=sha256(files[STATIC_FILE]).hexdigest(),
            tokenizer_sha256=sha256(tokenizer).hexdigest(),
            max_tokens=48,
            pad_id=0,
            measured=measured,
        ),
        serve="static",
    )
    head = replace(head, **changes)
    HeadStore(home).save(name, head, files)
    return head
