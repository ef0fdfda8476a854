"""A model on a device."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support.tiny_model import tiny_weights, write_tiny_model

from inferstream.pipeline.errors import (
    DeviceError,
    DeviceLost,
    DeviceOutOfMemory,
    DeviceUnavailable,
    InferstreamError,
    ModelError,
    ProviderUnavailable,
)
from inferstream.pipeline.graphs.bert.files import read_config
from inferstream.pipeline.graphs.bert.float32 import BertEncoder
from inferstream.pipeline.graphs.builder import GraphBuilder, write_model
from inferstream.pipeline.runtime.device_errors import device_error
from inferstream.pipeline.runtime.sessions import WITHOUT_TILES, Session


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


def test_attention_keeps_all_scores_unless_the_environment_says_otherwise(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One query for each row is faster so; the operator reads the variable when a session is made."""
    monkeypatch.setenv(WITHOUT_TILES, "0")
    Session(graph, provider="cpu")
    assert os.environ[WITHOUT_TILES] == "0"
    monkeypatch.delenv(WITHOUT_TILES)
    Session(graph, provider="cpu")
    assert os.environ[WITHOUT_TILES] == "1"


def test_threads_share_one_session(graph: Path) -> None:
    session = Session(graph, provider="cpu", threads=1)
    alone = [session.run(feeds(rows, 9))[0] for rows in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda rows: session.run(feeds(rows, 9))[0], range(1, 9)))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_missing_provider_is_an_error(graph: Path) -> None:
    with pytest.raises(ProviderUnavailable, match="cuda"):
        Session(graph, provider="cuda", threads=1)


def test_an_invalid_input_is_a_device_error(graph: Path) -> None:
    session = Session(graph, provider="cpu", threads=1)
    with pytest.raises(DeviceError, match="cannot run"):
        session.run(feeds(1, 65))  # more than the model has positions
    with pytest.raises(DeviceError):
        session.run({"input_ids": np.ones((1, 2), np.int64)})
    assert session.run(feeds(1, 64))[0].shape == (1, 32)


def test_out_of_memory_has_its_own_error(tmp_path: Path) -> None:
    builder = GraphBuilder("huge")
    length = builder.add("ConstantOfShape", builder.input("shape", "int64", (2,)))
    builder.add("Identity", length, output="filled")
    builder.output("filled", "float32", ("rows", "columns"))
    write_model(builder.model({}), tmp_path / "huge.onnx")
    session = Session(tmp_path / "huge.onnx", provider="cpu", threads=1)
    with pytest.raises(DeviceOutOfMemory):
        session.run({"shape": np.array([1 << 28, 1 << 24], np.int64)})
    assert session.run({"shape": np.array([2, 3], np.int64)})[0].shape == (2, 3)


CALL = "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:121 onnxruntime::CudaCall"
NODE = "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running MatMul node. Name:'MatMul_7' "
WHERE = "GPU=0 ; hostname=gpu-1 ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/"
SAID = [
    (
        f"{CALL} CUDA failure 2: out of memory ; {WHERE}cuda_allocator.cc ; expr=cudaMalloc();",
        DeviceOutOfMemory,
    ),
    (
        (
            f"{NODE}Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* "
            "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to allocate memory "
            "for requested buffer of size 2830172160"
        ),
        DeviceOutOfMemory,
    ),
    (
        f"{CALL} CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; {WHERE}cuda_stream_handle.cc",
        DeviceOutOfMemory,
    ),
    (
        f"{NODE}Status Message: CUDA failure 700: an illegal memory access was encountered ; {WHERE}x",
        DeviceLost,
    ),
    (
        f"{CALL} CUDA failure 710: device-side assert triggered ; {WHERE}gpu_data_transfer.cc ; line=63",
        DeviceLost,
    ),
    (f"{CALL} CUDA failure 719: unspecified launch failure ; {WHERE}cuda_execution_provider.cc", DeviceLost),
    (
        f"{CALL} CUDA failure 214: uncorrectable ECC error encountered ; {WHERE}cuda_stream_handle.cc",
        DeviceLost,
    ),
    (
        (
            "[ONNXRuntimeError] : 1 : FAIL : ExecutionProvider.cpp(962)\\onnxruntime_pybind11_state.pyd!00007FFABA: "
            "(caller: 00007FFABA30B740) Exception(3) tid(5a68) 887A0005 The GPU device instance has been suspended. "
            "Use GetDeviceRemovedReason to determine the appropriate action."
        ),
        DeviceLost,
    ),
    (
        f"{CALL} CUDA failure 46: all CUDA-capable devices are busy or unavailable ; {WHERE}x.cc",
        DeviceUnavailable,
    ),
    (f"{CALL} CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ; hostname=g", DeviceUnavailable),
    (
        f"{NODE}Status Message: CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED ; {WHERE}math/gemm.cc ; line=121",
        DeviceUnavailable,
    ),
    (
        f"{NODE}Status Message: CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED ; {WHERE}x",
        DeviceUnavailable,
    ),
    (
        f"{NODE}Status Message: CUBLAS error executing cublasGemmHelper( Base::CublasHandle())",
        DeviceUnavailable,
    ),
    (
        f"{NODE}Status Message: CUDNN_FE failure 11: CUDNN_BACKEND_API_FAILED ; {WHERE}nn/conv.cc ; line=483",
        DeviceUnavailable,
    ),
    (f"{NODE}Status Message: CUDA failure 9: invalid configuration argument ; {WHERE}x.cc", DeviceError),
    (f"{NODE}Status Message: CUDNN failure 3: CUDNN_STATUS_BAD_PARAM ; {WHERE}x.cc", DeviceError),
    (
        (
            f"{NODE}Status Message: /onnxruntime_src/onnxruntime/core/providers/cuda/tensor/gather.cc:21 "
            "indices element out of data bounds, idx=30522 must be within the inclusive range [-30522,30521]"
        ),
        DeviceError,
    ),
    (
        (
            "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: input_ids for the following "
            "indices\n index: 1 Got: 65 Expected: 64\n Please fix either the inputs/outputs or the model."
        ),
        DeviceError,
    ),
]


@pytest.mark.parametrize(
    ("message", "kind"), SAID, ids=[f"{kind.__name__}-{n}" for n, (_, kind) in enumerate(SAID)]
)
def test_the_message_of_onnx_runtime_decides_the_error(message: str, kind: type[InferstreamError]) -> None:
    error = device_error(RuntimeError(message))
    assert type(error) is kind
    assert error.retryable == (kind is not DeviceError)
    assert "\n" not in str(error)


def test_an_invalid_graph_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "g.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelError, match=r"g\.onnx"):
        Session(tmp_path / "g.onnx", provider="cpu", threads=1)
