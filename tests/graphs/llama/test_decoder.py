"""The graph of each architecture against plain NumPy, from GGUF files and from folders of the hub."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from support.decoders import generate, session_of
from support.numpy_llama import NumpyLlama, NumpyOptions
from support.tiny_llama import (
    CONTEXT,
    HEAD_WIDTH,
    HEADS,
    KV_HEADS,
    LAYERS,
    WORDS,
    Arrays,
    tiny_tensors,
    write_tiny_gguf,
    write_tiny_hub,
)

from inferstream.pipeline.graphs.llama.config import DecoderModel
from inferstream.pipeline.graphs.llama.gguf_model import read_gguf_model
from inferstream.pipeline.graphs.llama.hub_model import read_hub_model
from inferstream.pipeline.optimize.closeness.fidelity import scores_of
from inferstream.pipeline.runtime.generated_row import GeneratedRow
from inferstream.pipeline.runtime.generator import Generator, GeneratorSize

TOKENS = np.random.default_rng(1).integers(0, WORDS, 40).tolist()
HALF = np.arange(HEAD_WIDTH // 2) / (HEAD_WIDTH // 2)
PLAIN = 10_000.0**-HALF
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

ON_CUDA = {
    *(
        "Add",
        "ArgMax",
        "Cast",
        "Div",
        "Gather",
        "Gemm",
        "MatMul",
        "Mul",
        "Pow",
        "ReduceMean",
        "Reshape",
        "Split",
        "Sqrt",
    ),
    *("GroupQueryAttention", "QuickGelu", "SkipSimplifiedLayerNormalization"),
}


def options(interleaved: bool = False, **changed: Any) -> NumpyOptions:
    given = NumpyOptions(HEADS, KV_HEADS, PLAIN, interleaved, [0] * LAYERS, [True] * LAYERS)
    return given._replace(**changed)


def stretched() -> NDArray[np.float64]:
    """The frequencies of Llama 3.1, one by one as in its authors' code."""
    found = []
    for frequency in PLAIN:
        wavelength = 2 * math.pi / frequency
        if wavelength < 64 / 4:
            found.append(frequency)
        elif wavelength > 64 / 1:
            found.append(frequency / 8)
        else:
            smooth = (64 / wavelength - 1) / (4 - 1)
            found.append((1 - smooth) * frequency / 8 + smooth * frequency)
    return np.array(found)


def check(model: DecoderModel, arrays: Arrays, expected: NumpyOptions, folder: Path) -> None:
    session = session_of(model, "fp32", folder)
    plain = NumpyLlama(arrays, expected)
    wanted = plain.scores(TOKENS)
    np.testing.assert_allclose(scores_of(session, TOKENS), wanted, atol=2e-4 * np.abs(wanted).max())
    generator = Generator(session, GeneratorSize(rows=1, context=64))
    (found,) = generate(generator, [GeneratedRow(TOKENS[:21], 12)])
    assert found.tokens == plain.generate(TOKENS[:21], 12)


GGUF: dict[str, tuple[str, dict[str, Any], dict[str, Any], NumpyOptions]] = {
    "llama": ("llama", {}, {}, options(interleaved=True)),
    "mistral": (
        "llama",
        {"attention.sliding_window": 7},
        {},
        options(interleaved=True, windows=[7] * LAYERS),
    ),
    "a head of its own, linear scaling": (
        "llama",
        {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
        {"head": True},
        options(interleaved=True, frequencies=PLAIN / 4),
    ),
    "qwen2": ("qwen2", {"rope.freq_base": 1e6}, {"biases": "qkv"}, options(frequencies=1e6**-HALF)),
    "qwen3": (
        "qwen3",
        {"attention.key_length": 16, "attention.value_length": 16},
        {"norms": True},
        options(),
    ),
    "smollm3": ("smollm3", {}, {}, options(interleaved=True, rotary=[True, True, True, False])),
}


@pytest.mark.parametrize("name", GGUF)
def test_a_gguf_file_equals_numpy(tmp_path: Path, name: str) -> None:
    architecture, settings, tensors, expected = GGUF[name]
    arrays = write_tiny_gguf(tmp_path / "m.gguf", tiny_tensors(3, **tensors), architecture, **settings)
    check(read_gguf_model(tmp_path / "m.gguf"), arrays, expected, tmp_path)


@pytest.mark.parametrize("name", GGUF)
def test_in_float16_it_is_nearly_numpy(tmp_path: Path, name: str) -> None:
    """On a CPU, whose provider computes the products in float32: the graph is right, if not its speed."""
    architecture, settings, tensors, expected = GGUF[name]
    arrays = write_tiny_gguf(tmp_path / "m.gguf", tiny_tensors(3, **tensors), architecture, **settings)
    session = session_of(read_gguf_model(tmp_path / "m.gguf"), "fp16", tmp_path)
    assert {session.input_types[f"{part}_0"] for part in ("keys", "values")} == {np.dtype(np.float16)}
    found, wanted = scores_of(session, TOKENS), NumpyLlama(arrays, expected).scores(TOKENS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-2 * np.abs(wanted).max())


def test_the_graph_for_a_gpu_has_operators_that_one_has_in_float16(tmp_path: Path) -> None:
    """Those that ONNX Runtime lists for CUDA and float16 (docs/OperatorKernels.md there)."""
    write_tiny_gguf(tmp_path / "m.gguf", tiny_tensors(3, norms=True, biases="all"), "qwen3")
    session_of(read_gguf_model(tmp_path / "m.gguf"), "fp16", tmp_path)
    graph = onnx.load(tmp_path / "fp16.onnx").graph
    assert {node.op_type for node in graph.node} <= ON_CUDA
    kinds = {
        one.data_type for one in graph.initializer if one.dims and one.data_type != onnx.TensorProto.INT64
    }
    assert kinds == {onnx.TensorProto.FLOAT16}


def test_the_factors_of_llama_3_are_read_from_a_gguf_file(tmp_path: Path) -> None:
    factors = {"rope_freqs.weight": (PLAIN / stretched()).astype(np.float32)}
    arrays = write_tiny_gguf(tmp_path / "m.gguf", tiny_tensors(3) | factors)
    check(
        read_gguf_model(tmp_path / "m.gguf"),
        arrays,
        options(interleaved=True, frequencies=stretched()),
        tmp_path,
    )


HUB: dict[str, tuple[dict[str, Any], dict[str, Any], NumpyOptions]] = {
    "llama": ({}, {"head": True}, options()),
    "llama with all biases": ({}, {"biases": "all"}, options()),
    "llama 3.1": ({"rope_scaling": LLAMA3}, {}, options(frequencies=stretched())),
    "rope_parameters": (
        {"rope_theta": None, "rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}},
        {},
        options(frequencies=500.0**-HALF),
    ),
    "linear": ({"rope_scaling": {"type": "linear", "factor": 2.0}}, {}, options(frequencies=PLAIN / 2)),
    "mistral": (
        {"model_type": "mistral", "sliding_window": 7, "head_dim": 16},
        {"head": True},
        options(windows=[7] * LAYERS),
    ),
    "mistral without a window": ({"model_type": "mistral", "sliding_window": 0}, {"head": True}, options()),
    "qwen2": (
        {"model_type": "qwen2", "sliding_window": 7, "use_sliding_window": False},
        {"biases": "qkv"},
        options(),
    ),
    "qwen2 with windows": (
        {"model_type": "qwen2", "sliding_window": 7, "use_sliding_window": True, "max_window_layers": 1},
        {"biases": "qkv"},
        options(windows=[0, 7, 7, 7]),
    ),
    "qwen2 with windows in the layers that its class has": (
        {"model_type": "qwen2", "sliding_window": 7, "use_sliding_window": True},
        {"biases": "qkv"},
        options(),
    ),
    "llama knows no windows": ({"sliding_window": 7, "use_sliding_window": True}, {}, options()),
    "qwen3": ({"model_type": "qwen3", "sliding_window": 7}, {"norms": True}, options()),
    "layer_types": (
        {
            "model_type": "qwen3",
            "sliding_window": 7,
            "use_sliding_window": True,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
        },
        {"norms": True},
        options(windows=[7, 0, 7, 0]),
    ),
    "smollm3": (
        {"model_type": "smollm3", "no_rope_layers": [1, 0, 1, 1]},
        {},
        options(rotary=[True, False, True, True]),
    ),
    "smollm3 with windows: in the layers without positions": (
        {
            "model_type": "smollm3",
            "no_rope_layers": [1, 0, 1, 1],
            "sliding_window": 7,
            "use_sliding_window": True,
        },
        {},
        options(rotary=[True, False, True, True], windows=[0, 7, 0, 0]),
    ),
    "smollm3, every third": (
        {"model_type": "smollm3", "no_rope_layer_interval": 3},
        {},
        options(rotary=[True, True, False, True]),
    ),
}


@pytest.mark.parametrize("name", HUB)
def test_a_folder_of_the_hub_equals_numpy(tmp_path: Path, name: str) -> None:
    config, tensors, expected = HUB[name]
    arrays = tiny_tensors(5, **tensors)
    check(read_hub_model(write_tiny_hub(tmp_path / "hub", arrays, **config)), arrays, expected, tmp_path)


def test_a_tied_head_is_not_read(tmp_path: Path) -> None:
    arrays = tiny_tensors(5)
    copied = arrays | {"output.weight": arrays["token_embd.weight"] + 1}
    folder = write_tiny_hub(tmp_path / "hub", copied, tie_word_embeddings=True)
    check(read_hub_model(folder), arrays, options(), tmp_path)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision_and_shards(tmp_path: Path, kind: str) -> None:
    import ml_dtypes

    arrays = tiny_tensors(5)
    dtype = np.float16 if kind == "float16" else ml_dtypes.bfloat16
    stored = {name: array.astype(dtype) for name, array in arrays.items()}
    folder = write_tiny_hub(tmp_path / "hub", stored, shards=3)
    rounded = {name: array.astype(np.float32) for name, array in stored.items()}
    check(read_hub_model(folder), rounded, options(), tmp_path)


def test_a_short_context_stays_short(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "m.gguf", tiny_tensors())
    generator = Generator(session_of(read_gguf_model(tmp_path / "m.gguf"), "fp32", tmp_path))
    assert generator.size.context == CONTEXT
    (found,) = generate(generator, [GeneratedRow([3] * (CONTEXT - 5), 100)])
    assert len(found.tokens) == 6, "each place of the context, and the token behind the last one"
    assert not found.ended
