"""Arrays without numbers are found wherever a graph has them, also where it is not built here."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from inferstream.pipeline.graphs.sound_arrays import array_of_no_numbers

NAN = np.array([1.0, np.nan, 2.0])
SOUND = np.array([1.0, np.inf, -np.inf])


def raw(numbers: np.ndarray, kind: int) -> TensorProto:
    return numpy_helper.from_array(numbers.astype(helper.tensor_dtype_to_np_dtype(kind)), "w")


def listed(numbers: np.ndarray, kind: int) -> TensorProto:
    return helper.make_tensor("w", kind, numbers.shape, numbers.tolist())


def write(path: Path, tensor: TensorProto, where: str) -> Path:
    """A graph with the array among its own, in a node, or in a graph inside of it."""
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    inner = helper.make_graph([node], "inner", [], [])
    nodes = {
        "own": [],
        "node": [node],
        "inner": [helper.make_node("If", ["c"], ["y"], then_branch=inner)],
        "list": [helper.make_node("Own", [], ["y"], domain="x", many=[tensor])],
    }
    graph = helper.make_graph(nodes[where], "g", [], [], [tensor] if where == "own" else [])
    onnx.save(helper.make_model(graph), path)
    return path


@pytest.mark.parametrize("where", ["own", "node", "inner", "list"])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16])
@pytest.mark.parametrize("written", [raw, listed])
def test_an_array_without_numbers_is_named(
    written: Callable[[np.ndarray, int], TensorProto], kind: int, where: str, tmp_path: Path
) -> None:
    assert array_of_no_numbers(write(tmp_path / "nan.onnx", written(NAN, kind), where)) == "w"
    assert array_of_no_numbers(write(tmp_path / "sound.onnx", written(SOUND, kind), where)) is None


def test_whole_numbers_are_not_looked_at(tmp_path: Path) -> None:
    tensor = helper.make_tensor("w", TensorProto.INT32, (2,), [0x7E00, -1])
    assert array_of_no_numbers(write(tmp_path / "g.onnx", tensor, "own")) is None


@pytest.mark.parametrize("numbers", [NAN, SOUND])
def test_an_array_in_the_file_beside_the_graph(numbers: np.ndarray, tmp_path: Path) -> None:
    sound = numpy_helper.from_array(np.zeros(5, np.float32), "before")
    model = helper.make_model(helper.make_graph([], "g", [], [], [sound, raw(numbers, TensorProto.FLOAT)]))
    onnx.save(model, tmp_path / "g.onnx", save_as_external_data=True, size_threshold=0, location="g.data")
    assert array_of_no_numbers(tmp_path / "g.onnx") == ("w" if np.isnan(numbers).any() else None)


@given(st.binary(max_size=200))
def test_what_is_no_graph_is_a_value_error_or_has_no_array(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "no-graph.onnx"
    file.write_bytes(content)
    with suppress(ValueError, KeyError, OSError):
        array_of_no_numbers(file)


@given(st.integers(0, 10_000))
def test_a_graph_that_was_cut_is_refused_or_read_to_where_it_ends(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    model = helper.make_model(helper.make_graph([], "g", [], [], [raw(NAN, TensorProto.FLOAT)]))
    content = model.SerializeToString()
    file = tmp_path_factory.getbasetemp() / "cut.onnx"
    file.write_bytes(content[: cut % len(content)])
    with suppress(ValueError, KeyError, OSError):
        assert array_of_no_numbers(file) in (None, "w")
