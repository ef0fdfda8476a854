"""int8: the stored grid, columns within the pair limit, and sums that no CPU can saturate."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import numpy_helper
from support.tiny_marian import OPTIONS, quantized, tiny_arrays, write_tiny_marian
from support.translators import graph_of

from inferstream.pipeline.graphs.marian.int8 import (
    LARGEST_OF_7_BITS,
    PAIR_LIMIT,
    largest_pairs,
    within_pair_limit,
)
from inferstream.pipeline.graphs.marian.items import Quantized

LARGEST_SUM = 32_767  # of 16 bits


@given(arrays(np.int8, (6, 5), elements=st.integers(-127, 127)), st.floats(1, 500))
def test_columns_over_the_pair_limit_get_coarser_steps(values: np.ndarray, multiplier: float) -> None:
    found = within_pair_limit(Quantized(values, np.float32(multiplier)))
    assert largest_pairs(found.values).max() <= PAIR_LIMIT
    step = 1 / np.float64(np.float32(multiplier))
    for column, largest in enumerate(largest_pairs(values)):
        if largest <= PAIR_LIMIT:
            assert (found.values[:, column] == values[:, column]).all()
            assert np.isclose(found.scales[column], step)
        else:
            error = found.values[:, column] * found.scales[column] - values[:, column] * step
            assert np.abs(error).max() <= 0.5001 * found.scales[column]


def test_no_pair_of_a_graph_can_exceed_16_bits(tmp_path: Path) -> None:
    """A CPU with AVX2 and without VNNI adds two neighboring products in 16 bits, with inputs up to 255."""
    graph = graph_of(write_tiny_marian(tmp_path), "int8")
    weights = [
        numpy_helper.to_array(weight) for weight in graph.graph.initializer if weight.name.endswith(".int8")
    ]
    stored = [
        quantized(array)[0]
        for name, array in tiny_arrays(OPTIONS).items()
        if "_W" in name and array.shape[0] > 1
    ]
    assert max(largest_pairs(values).max() for values in stored) > PAIR_LIMIT, "the case is there"
    assert 255 * max(int(largest_pairs(weight).max()) for weight in weights) <= LARGEST_SUM
    assert LARGEST_OF_7_BITS * 2 * 127 <= LARGEST_SUM, (
        "the words are stored as they are, and their inputs are smaller"
    )


def test_inputs_after_relu_use_all_steps(tmp_path: Path) -> None:
    graph = graph_of(write_tiny_marian(tmp_path), "int8")
    scales = {
        float(numpy_helper.to_array(weight))
        for weight in graph.graph.initializer
        if weight.name.startswith("input_scale_")
    }
    assert scales == {np.float32(1 / 20), np.float32(1 / 40), np.float32(1 / 10)}, "10: the output layer"
