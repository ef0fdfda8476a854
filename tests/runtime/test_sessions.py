"""A model on a device."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tiny_model import tiny_weights, write_tiny_model

from inferstream.pipeline.errors import DeviceError, DeviceOutOfMemory, ModelError, ProviderUnavailable
from inferstream.pipeline.graphs.bert import BertEncoder, read_config
from inferstream.pipeline.graphs.builder import GraphBuilder, write_model
from inferstream.pipeline.runtime.sessions import Session


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tiny_model(tmp_path_factory.mktemp("tiny"))
    write_model(
        BertEncoder(read_config(folder / "config.json"), tiny_weights(), "mean").model(), folder / "g.onnx"
    )
    return folder / "g.onnx"


def feeds(rows: int, length: int) -> dict[str, np.ndarray]:
    ids = np.arange(rows * length).reshape(rows, length) % 20 + 4
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def test_outputs_by_name_and_the_provider_it_runs_on(graph: Path) -> None:
    session = Session(graph, provider=None, threads=1)
    session.warm_up()
    assert session.provider == "cpu"
    assert session.outputs == ["embedding"]
    assert session.run(feeds(3, 5))[0].shape == (3, 32)


def test_threads_share_one_session(graph: Path) -> None:
    session = Session(graph, provider="cpu", threads=1)
    alone = [session.run(feeds(rows, 9))[0] for rows in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda rows: session.run(feeds(rows, 9))[0], range(1, 9)))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_provider_that_is_not_there_is_an_error(graph: Path) -> None:
    with pytest.raises(ProviderUnavailable, match="cuda"):
        Session(graph, provider="cuda", threads=1)


def test_input_that_cannot_run(graph: Path) -> None:
    session = Session(graph, provider="cpu", threads=1)
    with pytest.raises(DeviceError, match="cannot run"):
        session.run(feeds(1, 65))  # more than the model has positions
    with pytest.raises(DeviceError):
        session.run({"input_ids": np.ones((1, 2), np.int64)})
    assert session.run(feeds(1, 64))[0].shape == (1, 32)


def test_out_of_memory_is_told_apart(tmp_path: Path) -> None:
    builder = GraphBuilder("huge")
    length = builder.add("ConstantOfShape", builder.input("shape", "int64", (2,)))
    builder.add("Identity", length, output="filled")
    builder.output("filled", "float32", ("rows", "columns"))
    write_model(builder.model({}), tmp_path / "huge.onnx")
    session = Session(tmp_path / "huge.onnx", provider="cpu", threads=1)
    with pytest.raises(DeviceOutOfMemory):
        session.run({"shape": np.array([1 << 28, 1 << 24], np.int64)})
    assert session.run({"shape": np.array([2, 3], np.int64)})[0].shape == (2, 3)


def test_a_file_that_is_no_graph(tmp_path: Path) -> None:
    (tmp_path / "g.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelError, match=r"g\.onnx"):
        Session(tmp_path / "g.onnx", provider="cpu", threads=1)
