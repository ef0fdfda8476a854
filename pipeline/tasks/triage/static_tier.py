"""The static tier: scores of labels from a table of token vectors and one hidden layer, without attention.

A text is the weighted sum of the rows of its tokens and of neighboring tokens. All sums of products are sums of
integers that float64 or float32 holds exactly, so no order of adding, no batch and no number of threads changes a bit
of an answer; what follows on them works on each text alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..pooling import unit
from .classifier import Linear
from .confidence import Floats, Indices, softmax
from .encoder_columns import EncoderColumns, TierLayers
from .static_file import StaticArrays, pair_keys, read_arrays

Windows = Sequence[Sequence[int]]
"""The token ids of one text, as `Tokenizer.encode` cuts it."""

GATHERED: Final = 4_096
"""Tokens whose rows are in memory at once: with 128 numbers each, and those of pairs, 8 MB. A longer window is
gathered alone."""

TOGETHER: Final = 64
"""Texts of one matrix product."""

LEVELS: Final = np.float32(127)  # of the text's vector, on each side of 0
HIDDEN_LEVELS: Final = np.float32(255)  # of the hidden layer, which has no negative numbers
LEAST: Final = np.float32(1e-30)


class StaticReading(NamedTuple):
    """What the tier makes of some texts."""

    logits: Floats  # (texts, labels), divided by the temperature: their softmax are the confidences
    columns: Floats  # (texts, columns): what `along` and `with_encoder` ask for

    @property
    def along(self) -> Floats:
        """(texts,): how far each text points along the axis of urgency."""
        return self.columns[:, -1]

    def agreed(self, labels: Indices) -> Floats:
        """The confidence that the encoder is expected to have in these labels, one for each text."""
        expected: Floats = softmax(self.columns[:, :-1])[np.arange(len(labels)), labels]
        return expected


class StaticTier:
    """A classifier of texts. Several threads may call it at once."""

    def __init__(self, arrays: StaticArrays, columns: EncoderColumns | None = None) -> None:
        """``arrays`` as `read_arrays` has checked them; ``columns`` are read of each text as well."""
        self._arrays = arrays
        vocabulary = int(arrays.tokens[-1]) + 1
        self._row_of = np.zeros(vocabulary + 1, np.intp)
        self._row_of[arrays.tokens] = np.arange(len(arrays.tokens))
        # By token and not by row: a token without a row, as each one behind the last, has the weight 0.
        self._weight_of = np.zeros(vocabulary + 1, np.float64)
        self._weight_of[arrays.tokens] = arrays.row_weights[: len(arrays.tokens)]
        self._pair_keys = np.append(pair_keys(arrays.pairs), np.iinfo(np.int64).max)
        # The pair that is no pair, with the weight 0, has a row as well: any.
        self._pair_weights = np.append(arrays.row_weights[len(arrays.tokens) :], 0).astype(np.float64)
        self._pair_rows = np.append(np.arange(len(arrays.tokens), len(arrays.table)), 0)
        self._width = arrays.table.shape[1]
        self._hidden = arrays.hidden.astype(np.float32)
        temperature = arrays.temperature[0]
        self._output = arrays.output.astype(np.float32)
        self._output_scales = arrays.output_scales / temperature
        self._output_bias = arrays.output_bias / temperature
        self._columns = columns

    @classmethod
    def read(cls, content: bytes, sha256: str, where: str) -> Self:
        """The tier in the file ``where``. Raises ModelError unless it is whole and has this digest."""
        return cls(read_arrays(content, sha256, where))

    def along(self, axis: Floats) -> Self:
        """The same tier, which also says how far texts point along an axis of the encoder's space."""
        return self._with(axis[:, None], np.zeros(1, np.float32))

    def with_encoder(self, linear: Linear) -> Self:
        """The same tier, which also says what the encoder is expected to say of the labels, and of the urgency."""
        return self._with(linear.weights, linear.bias)

    def _with(self, columns: Floats, bias: Floats) -> Self:
        return type(self)(self._arrays, EncoderColumns.of(self._arrays, columns, bias))

    @property
    def nbytes(self) -> int:
        """Of its arrays."""
        found = (*vars(self).values(), *self._arrays, *(self._columns or ()))
        return sum(array.nbytes for array in found if isinstance(array, np.ndarray))

    @property
    def labels(self) -> int:
        """How many labels it knows."""
        return len(self._output_bias)

    @property
    def temperature(self) -> float:
        """What the logits are divided by."""
        return float(self._arrays.temperature[0])

    @property
    def dimensions(self) -> int:
        """Of the vectors of the encoder that was its teacher."""
        return len(self._arrays.meaning_bias)

    def read_texts(self, texts: Sequence[Windows]) -> StaticReading:
        """The same to the bit for each text, whatever else is in ``texts``."""
        made = [self._read(some) for some in _in_groups(texts)]
        if len(made) == 1:
            return made[0]
        if not made:
            return self._read(())
        return StaticReading(*(np.concatenate(parts) for parts in zip(*made, strict=True)))

    def logits(self, texts: Sequence[Windows]) -> Floats:
        """The logits of `read_texts`."""
        return self.read_texts(texts).logits

    def vectors(self, texts: Sequence[Windows]) -> Floats:
        """What the encoder's unit vectors would be, about: of shape (texts, dimensions)."""
        found = np.empty((len(texts), self.dimensions), np.float32)
        meaning = self._arrays.meaning.astype(np.float32)
        start = 0
        for some in _in_groups(texts):
            layer = self._first_layer(some)
            from_text = layer.vectors @ meaning[: self._width] * layer.vector_unit
            from_hidden = layer.active @ meaning[self._width :] * layer.active_unit
            scaled = (from_text + from_hidden) * self._arrays.meaning_scales
            found[start : start + len(some)] = unit(scaled + self._arrays.meaning_bias)
            start += len(some)
        return found

    def _read(self, texts: Sequence[Windows]) -> StaticReading:
        layer = self._first_layer(texts)
        products = layer.active @ self._output
        logits: Floats = products * layer.active_unit * self._output_scales + self._output_bias
        columns = self._columns.of_texts(layer) if self._columns else np.zeros((len(texts), 1), np.float32)
        return StaticReading(logits, columns)

    def _first_layer(self, texts: Sequence[Windows]) -> TierLayers:
        sums = self._sums(texts)
        largest = np.maximum(np.abs(sums).max(axis=1, keepdims=True), 1.0)  # of integers: 0 or at least 1
        vectors = np.rint(sums * (LEVELS / largest)).astype(np.float32)
        squares = np.einsum("ij,ij->i", vectors, vectors)[:, None]  # exact: at most 1 024 × 127²
        vector_unit = np.sqrt(np.float32(self._width) / np.maximum(squares, np.float32(1)))
        products = vectors @ self._hidden
        values = products * vector_unit * self._arrays.hidden_scales + self._arrays.hidden_bias
        np.maximum(values, np.float32(0), out=values)
        most = np.maximum(values.max(axis=1, keepdims=True), LEAST)
        active = np.rint(values * (HIDDEN_LEVELS / most))
        return TierLayers(vectors, vector_unit, active, most / HIDDEN_LEVELS)

    def _sums(self, texts: Sequence[Windows]) -> NDArray[np.float64]:
        """The weighted sum of the rows of each text's tokens, of shape (texts, width)."""
        sums = np.zeros((len(texts), self._width))
        for group in _gathered(texts):
            ids = np.fromiter(chain.from_iterable(window for _, window in group), np.intp)
            weights = self._weight_of.take(ids, mode="clip")
            rows = self._rows(self._row_of.take(ids, mode="clip"))
            pair_weights, pair_rows = self._pairs(ids)
            start = 0
            for text, window in group:
                end = start + len(window)
                sums[text] += np.dot(weights[start:end], rows[start:end])
                last = max(end - 1, start)  # no pair crosses the border of two windows
                sums[text] += np.dot(pair_weights[start:last], pair_rows[start:last])
                start = end
        return sums

    def _pairs(self, ids: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The weight and the row of each token with the next one; the weight is 0 if the pair has no row."""
        keys = ids[:-1] << 32 | ids[1:]
        places = self._pair_keys.searchsorted(keys)
        places[self._pair_keys.take(places) != keys] = len(self._pair_keys) - 1
        return self._pair_weights.take(places), self._rows(self._pair_rows.take(places))

    def _rows(self, numbers: NDArray[np.intp]) -> NDArray[np.float64]:
        return self._arrays.table.take(numbers, axis=0).astype(np.float64)


def _in_groups(texts: Sequence[Windows]) -> Iterator[Sequence[Windows]]:
    return (texts[start : start + TOGETHER] for start in range(0, len(texts), TOGETHER))


def _gathered(texts: Iterable[Windows]) -> Iterator[list[tuple[int, Sequence[int]]]]:
    """The windows of all texts with the number of their text, in groups of up to GATHERED tokens."""
    group: list[tuple[int, Sequence[int]]] = []
    size = 0
    for number, windows in enumerate(texts):
        for window in windows:
            if group and size + len(window) > GATHERED:
                yield group
                group = []
                size = 0
            group.append((number, window))
            size += len(window)
    if group:
        yield group
