"""Weights in blocks of 32 columns: whole numbers with a scale and an offset, as in GGUF and in MatMulNBits."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .gguf_file import StoredTensor

SIZE = 32
"""Columns in a block."""

TO_FIFTH_BIT = np.uint8(4)
MIDDLE = 128
HIGHEST = 255
Floats = NDArray[np.float32]


class Blocks(NamedTuple):
    """A matrix (out, in): an element is ``scale * value + offset``.

    ``values``: (out, blocks, 32), below 2 to the power of ``bits``. ``scales`` and ``offsets``: (out, blocks).
    """

    values: NDArray[np.uint8]
    scales: Floats
    offsets: Floats
    bits: int

    def dense(self) -> Floats:
        """The same in float32, (out, in)."""
        full = self.scales[..., None] * self.values + self.offsets[..., None]
        return full.reshape(len(full), -1)


class EightBits(NamedTuple):
    """A matrix (out, in) in 8 bits: an element is ``scale * (value - zero)``. Without ``zeros`` they are 128."""

    values: NDArray[np.uint8]
    scales: Floats
    zeros: NDArray[np.uint8] | None


Weight = Blocks | Floats
"""A matrix (out, in)."""


def dense(weight: Weight) -> Floats:
    """The matrix in float32."""
    return weight.dense() if isinstance(weight, Blocks) else weight


def joined(weights: Sequence[Blocks]) -> Blocks:
    """The matrices with equal bits below each other."""
    values, scales, offsets, bits = zip(*weights, strict=True)
    return Blocks(np.concatenate(values), np.concatenate(scales), np.concatenate(offsets), bits[0])


def eight_bits(weight: Weight) -> EightBits:
    """The matrix in 8 bits. Whole numbers of 4, 5 or 8 bits stay what they are; only their offset is rounded,
    to 1/16 of a step of 4 bits. Everything else is rounded.
    """
    if not isinstance(weight, Blocks):
        return _rounded(weight)
    spread = 1 << (8 - weight.bits)
    steps = np.divide(-spread * weight.offsets, weight.scales, where=weight.scales != 0, out=_zeros(weight))
    zeros = np.rint(steps)
    fits = (zeros >= 0) & (zeros <= HIGHEST) & (weight.scales != 0)
    values = weight.values * np.uint8(spread)
    scales = weight.scales / np.float32(spread)
    if not fits.all():  # a block of equal elements, or far from 0
        values, scales, zeros = values.copy(), scales.copy(), zeros.copy()
        odd = weight.scales[~fits][:, None] * weight.values[~fits] + weight.offsets[~fits][:, None]
        values[~fits], scales[~fits], zeros[~fits] = _asymmetric(odd)
    if (zeros == MIDDLE).all():
        return EightBits(values, scales, None)
    return EightBits(values, scales, zeros.astype(np.uint8))


def _zeros(weight: Blocks) -> Floats:
    return np.zeros_like(weight.scales)


def _asymmetric(blocks: Floats) -> tuple[NDArray[np.uint8], Floats, Floats]:
    """Blocks (n, 32) in 8 bits, over the range that each needs."""
    low = np.minimum(blocks.min(-1), 0)
    high = np.maximum(blocks.max(-1), 0)
    scales = ((high - low) / 255).astype(np.float32)
    safe = np.where(scales == 0, 1, scales)
    zeros = np.rint(-low / safe)
    values = np.clip(np.rint(blocks / safe[:, None]) + zeros[:, None], 0, 255)
    return values.astype(np.uint8), scales, zeros.astype(np.float32)


def _rounded(matrix: Floats) -> EightBits:
    """Rounded to 8 bits around 128; a last block is filled up with zeros."""
    padded = np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % SIZE)))
    blocks = padded.reshape(len(matrix), -1, SIZE)
    scales = np.abs(blocks).max(-1) / np.float32(127)
    safe = np.where(scales == 0, np.float32(1), scales)
    values = np.rint(blocks / safe[..., None]) + 128
    return EightBits(values.astype(np.uint8), scales.astype(np.float32), None)


def unpacked(tensor: StoredTensor) -> Weight:
    """The tensor (out, in), or (n) for a vector, as whole numbers where it is stored so."""
    name = tensor.kind.name
    if name in FLOATS:
        return FLOATS[name](tensor.data).reshape(tensor.shape)
    raw = np.frombuffer(tensor.data, np.uint8).reshape(tensor.shape[0], -1, tensor.kind.bytes)
    return BLOCKS[name](raw)


def _bf16(data: memoryview) -> Floats:
    """A bfloat16 is the upper half of a float32."""
    return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)


FLOATS: dict[str, Callable[[memoryview], Floats]] = {
    "F32": lambda data: np.frombuffer(data, "<f4"),
    "F16": lambda data: np.frombuffer(data, "<f2").astype(np.float32),
    "BF16": _bf16,
}


def _half(raw: NDArray[np.uint8], place: int) -> Floats:
    """The float16 at ``place`` of each block."""
    return raw[..., place : place + 2].copy().view("<f2")[..., 0].astype(np.float32)


def _nibbles(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Low halves, then high halves."""
    return np.concatenate([packed & 15, packed >> 4], axis=-1)


def _fifth_bits(raw: NDArray[np.uint8], place: int) -> NDArray[np.uint8]:
    """The bits of a 32-bit number at ``place`` of each block, moved to the fifth place."""
    return np.unpackbits(raw[..., place : place + 4], axis=-1, bitorder="little") << TO_FIFTH_BIT


def _q4_0(raw: NDArray[np.uint8]) -> Blocks:
    scales = _half(raw, 0)
    return Blocks(_nibbles(raw[..., 2:]), scales, -8 * scales, 4)


def _q4_1(raw: NDArray[np.uint8]) -> Blocks:
    return Blocks(_nibbles(raw[..., 4:]), _half(raw, 0), _half(raw, 2), 4)


def _q5_0(raw: NDArray[np.uint8]) -> Blocks:
    scales = _half(raw, 0)
    return Blocks(_nibbles(raw[..., 6:]) | _fifth_bits(raw, 2), scales, -16 * scales, 5)


def _q5_1(raw: NDArray[np.uint8]) -> Blocks:
    return Blocks(_nibbles(raw[..., 8:]) | _fifth_bits(raw, 4), _half(raw, 0), _half(raw, 2), 5)


def _q8_0(raw: NDArray[np.uint8]) -> Blocks:
    scales = _half(raw, 0)
    return Blocks(raw[..., 2:] ^ np.uint8(128), scales, -128 * scales, 8)  # two's complement + 128


def _q4_k(raw: NDArray[np.uint8]) -> Blocks:
    scales, offsets = _k_scales(raw)
    packed = raw[..., 16:].reshape(*raw.shape[:2], 4, 32)
    return _of_super_blocks(np.stack([packed & 15, packed >> 4], axis=3), scales, offsets, 4)


def _q5_k(raw: NDArray[np.uint8]) -> Blocks:
    scales, offsets = _k_scales(raw)
    packed = raw[..., 48:].reshape(*raw.shape[:2], 4, 32)
    low = np.stack([packed & 15, packed >> 4], axis=3).reshape(*raw.shape[:2], 8, 32)
    shifts = np.arange(8, dtype=np.uint8)[:, None]
    high = (raw[..., None, 16:48] >> shifts & np.uint8(1)) << TO_FIFTH_BIT
    values: NDArray[np.uint8] = low | high
    return _of_super_blocks(values, scales, offsets, 5)


def _k_scales(raw: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Scales and offsets of the 8 blocks in each super-block: 6-bit factors of two float16 numbers."""
    packed = raw[..., 4:16]
    first, second, third = packed[..., 0:4], packed[..., 4:8], packed[..., 8:12]
    factors = np.concatenate([first & 63, third & 15 | first >> 6 << 4], axis=-1)
    minima = np.concatenate([second & 63, third >> 4 | second >> 6 << 4], axis=-1)
    return _half(raw, 0)[..., None] * factors, -_half(raw, 2)[..., None] * minima


def _of_super_blocks(values: NDArray[np.uint8], scales: Floats, offsets: Floats, bits: int) -> Blocks:
    rows = len(values)
    return Blocks(values.reshape(rows, -1, SIZE), scales.reshape(rows, -1), offsets.reshape(rows, -1), bits)


def _q6_k(raw: NDArray[np.uint8]) -> Floats:
    """In float32: its scales are for 16 columns."""
    low = raw[..., :128].reshape(*raw.shape[:2], 2, 1, 64)
    low = np.concatenate([low & 15, low >> 4], axis=3)  # (…, half, 2, 64)
    shifts = np.array([0, 2, 4, 6], np.uint8)[:, None]
    high = raw[..., 128:192].reshape(*raw.shape[:2], 2, 1, 32) >> shifts & 3  # (…, half, 4, 32)
    values = low.reshape(*raw.shape[:2], 16, 16) | high.reshape(*raw.shape[:2], 16, 16) << 4
    scales = _half(raw, 208)[..., None] * raw[..., 192:208].view(np.int8)
    full = scales[..., None] * (values.astype(np.float32) - 32)
    return full.reshape(len(raw), -1)


BLOCKS: dict[str, Callable[[NDArray[np.uint8]], Weight]] = {
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q8_0": _q8_0,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}
