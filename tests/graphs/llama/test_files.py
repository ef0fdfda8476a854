"""What is refused by the name of the missing thing, and damage to files."""

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from support.tiny_llama import (
    LAYERS,
    WIDTH,
    WORDS,
    tiny_tensors,
    write_tiny_gguf,
    write_tiny_hub,
)

from inferstream.pipeline.errors import InferstreamError, ModelError, UsageError
from inferstream.pipeline.graphs.llama.gguf_file import read_gguf
from inferstream.pipeline.graphs.llama.gguf_model import read_gguf_model
from inferstream.pipeline.graphs.llama.hub_model import read_hub_model


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"block_count": None}, "has no llama.block_count"),
        ({"block_count": 0}, "0 layers"),
        ({"embedding_length": "wide"}, "llama.embedding_length = 'wide'"),
        ({"attention.head_count": 0}, "0 heads"),
        ({"attention.head_count_kv": 3}, "heads, which its 3 heads of keys and values do not divide"),
        ({"attention.head_count_kv": [2, 2, 1, 2]}, "only one whole number for all layers"),
        ({"attention.key_length": 20, "attention.value_length": 20}, "width 20; only multiples of 8"),
        ({"attention.value_length": 32}, "attention.value_length = 32; only 16"),
        ({"rope.dimension_count": 8}, "rope.dimension_count = 8; only 16"),
        ({"rope.scaling.type": "yarn", "rope.scaling.factor": 2.0}, "rope.scaling.type = 'yarn'"),
        ({"rope.scaling.type": "linear"}, "has no llama.rope.scaling.factor"),
        (
            {"rope.scaling.type": "linear", "rope.scaling.factor": 0.0},
            "factor = 0.0; it must be 0.001 at least",
        ),
        ({"rope.freq_base": 0.0}, "rope.freq_base = 0.0"),
        ({"attention.layer_norm_rms_epsilon": 0.0}, "epsilon 0.0"),
        ({"expert_count": 8}, "llama.expert_count = 8, which is not supported"),
        ({"logit_scale": 0.5}, "llama.logit_scale = 0.5, which is not supported"),
        ({"feed_forward_length": 2_000_000}, "wide = 2000000"),
        ({"block_count": 1_000_000}, "1000000 layers .* 1 to 1000 layers are supported"),
        ({"attention.head_count": True}, "attention.head_count = True; only one whole number"),
        ({"attention.sliding_window": 4_000_000_000}, "sliding window of 4000000000"),
        ({"rope.freq_base": float("inf")}, "rope.freq_base = inf"),
        ({"rope.scaling.type": "linear", "rope.scaling.factor": float("inf")}, "factor = inf"),
        ({"rope.scaling.type": "linear", "rope.scaling.factor": 1e-40}, "factor = .*e-4[01];"),
        ({"rope.scaling.type": "y" * 9_999}, "rope.scaling.type = 'y{59}…; only"),
    ],
)
def test_a_setting_of_gguf_that_is_not_supported_is_named(
    tmp_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    write_tiny_gguf(tmp_path / "m.gguf", tiny_tensors(), **settings)
    with pytest.raises(UsageError, match=sentence):
        read_gguf_model(tmp_path / "m.gguf")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("general.type", "adapter", r"m\.gguf has general\.type = 'adapter'; only 'model'"),
        ("split.count", 3, r"m\.gguf is one of 3 parts of a model: join them"),
    ],
)
def test_a_file_that_is_no_whole_model_is_named(tmp_path: Path, name: str, value: Any, sentence: str) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_string(name, value) if isinstance(value, str) else writer.add_uint16(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(UsageError, match=sentence):
        read_gguf_model(tmp_path / "m.gguf")


@pytest.mark.parametrize("content", [b"GGUF", b"GGUF\x03\0\0\0" + bytes(5)])
def test_a_file_that_ends_inside_of_its_header_is_damage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(ModelError, match="no whole GGUF file: it ends inside of its header"):
        read_gguf(tmp_path / "m.gguf")


@pytest.mark.parametrize("name", [b"n" * 5_000_000, b"\x1b[2J"])
def test_a_name_that_is_no_name_is_damage(tmp_path: Path, name: bytes) -> None:
    stored = struct.pack("<Q", len(name)) + name
    tensor = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + stored + struct.pack("<IQIQ", 1, 32, 99, 0)
    setting = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + stored + struct.pack("<IB", 0, 1)
    for content in (tensor, setting):
        (tmp_path / "m.gguf").write_bytes(content)
        with pytest.raises(ModelError, match=r"no whole GGUF file: it has (a|the) name") as raised:
            read_gguf(tmp_path / "m.gguf")
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 300


def test_another_architecture_is_named(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "m.gguf", tiny_tensors(), "gemma3")
    with pytest.raises(UsageError, match="architecture = 'gemma3'; only llama, smollm3, qwen2, qwen3"):
        read_gguf_model(tmp_path / "m.gguf")


def test_a_kind_of_tensor_that_is_not_supported_is_named(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "m.gguf", tiny_tensors())
    content = (tmp_path / "m.gguf").read_bytes()
    name = b"output_norm.weight"
    place = content.index(name) + len(name) + 4 + 8
    (tmp_path / "m.gguf").write_bytes(content[:place] + b"\x17" + content[place + 1 :])
    with pytest.raises(UsageError, match=r"has output_norm\.weight as IQ4_XS; only F32, F16, Q4_0"):
        read_gguf(tmp_path / "m.gguf")


TENSORS = {
    "lacks the tensor blk.1.attn_k.weight": {"blk.1.attn_k.weight": None},
    "lacks the tensor blk.2.ffn_norm.weight": {"blk.2.ffn_norm.weight": None},
    "lacks the tensor token_embd.weight": {"token_embd.weight": None},
    r"no decoder of the Llama family has: (blk|model\.layers)\.0\.ffn_gate_inp\.weight": {
        "blk.0.ffn_gate_inp.weight": np.zeros((8, WIDTH), np.float32)
    },
    r"no decoder of the Llama family has: blk\.4\.attn_norm\.weight": {
        f"blk.{LAYERS}.attn_norm.weight": np.ones(WIDTH, np.float32)
    },
    r"blk\.1\.ffn_up\.weight of the shape \(8, 64\)": {
        "blk.1.ffn_up.weight": np.zeros((8, WIDTH), np.float32)
    },
    "only one of attn_q_norm.weight and attn_k_norm.weight in layer 2": {
        "blk.2.attn_q_norm.weight": np.ones(16, np.float32)
    },
}


@pytest.mark.parametrize("sentence", TENSORS)
@pytest.mark.parametrize("form", ["gguf", "hub"])
def test_a_tensor_that_does_not_fit_is_named(tmp_path: Path, sentence: str, form: str) -> None:
    changed = tiny_tensors() | TENSORS[sentence]
    arrays = {name: array for name, array in changed.items() if array is not None}
    if form == "hub":
        with pytest.raises((ModelError, UsageError), match=sentence):
            read_hub_model(write_tiny_hub(tmp_path / "hub", arrays))
        return
    write_tiny_gguf(tmp_path / "m.gguf", arrays)
    expected = "words = 0" if "token_embd" in sentence else sentence
    with pytest.raises((ModelError, UsageError), match=expected):
        read_gguf_model(tmp_path / "m.gguf")


def test_values_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    arrays = tiny_tensors() | {"blk.1.ffn_up.weight": np.full((96, WIDTH), np.nan, np.float32)}
    write_tiny_gguf(tmp_path / "m.gguf", arrays)
    for model in (
        read_gguf_model(tmp_path / "m.gguf"),
        read_hub_model(write_tiny_hub(tmp_path / "hub", arrays)),
    ):
        with pytest.raises(ModelError, match=r"values in blk\.1\.ffn_up\.weight that are not finite"):
            model.tensors.weight("blk.1.ffn_up.weight")


def test_a_damaged_gguf_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_tiny_gguf(path, tiny_tensors(layers=1), block_count=1)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    cuts = [0, 3, 7, 23, *rng.integers(0, len(content), 40).tolist(), len(content) - 1]
    for cut in cuts:
        path.write_bytes(content[:cut])
        with pytest.raises(InferstreamError, match=r"m\.gguf"):
            read_gguf_model(path)
    head = len(content) - sum(array.nbytes for array in tiny_tensors(layers=1).values())
    for place in rng.integers(4, head, 300).tolist():
        changed = bytearray(content)
        changed[place] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        with suppress(InferstreamError):  # some changes are in names that are not read
            read_gguf_model(path)
    for huge in (b"\xff" * 8, b"\0\0\0\0\1\0\0\0"):
        path.write_bytes(content[:8] + huge + content[16:])
        with pytest.raises(InferstreamError):
            read_gguf_model(path)


def test_no_file_and_no_gguf(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot read"):
        read_gguf(tmp_path / "nonesuch.gguf")
    (tmp_path / "m.gguf").write_bytes(b"PK\3\4 a zip file")
    with pytest.raises(UsageError, match="is no GGUF file"):
        read_gguf(tmp_path / "m.gguf")
    (tmp_path / "old.gguf").write_bytes(b"GGUF\1\0\0\0" + bytes(64))
    with pytest.raises(UsageError, match="version 1 of GGUF"):
        read_gguf(tmp_path / "old.gguf")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"model_type": "gemma3"}, "model_type = 'gemma3'; only llama, mistral, qwen2, qwen3, smollm3"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"auto_map": {"AutoModel": "x.Y"}}, "auto_map"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_type = 'yarn'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 4.0}}, "'low_freq_factor'"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 0}}, "rope settings that cannot be used"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 5.0}}}, "for each kind of layer"),
        ({"layer_types": ["chunked_attention"] * LAYERS}, "layer_types"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
        ({"model_type": "smollm3", "no_rope_layers": [1]}, "1 no_rope_layers for 4 layers"),
        ({"hidden_size": "wide"}, "does not describe a decoder"),
        ({"hidden_size": None}, "does not describe a decoder"),
        ({"num_attention_heads": 0}, "0 heads"),
        ({"num_hidden_layers": 0}, "0 layers"),
        ({"num_key_value_heads": 3}, "do not divide"),
        ({"num_hidden_layers": 1_000_000}, "1000000 layers"),
        ({"sliding_window": -7, "model_type": "mistral"}, "sliding window of -7"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor = 0.5"),
        ({"tie_word_embeddings": False}, "lacks the tensor lm_head.weight, and .* = false"),
        ({"model_type": "qwen2"}, r"lacks the tensor blk\.0\.attn_q\.bias"),
        ({"model_type": "qwen3"}, r"lacks the tensor blk\.0\.attn_q_norm\.weight"),
        ({"vocab_size": 10}, rf"token_embd.weight of the shape \({WORDS}, 64\)"),
    ],
)
def test_a_setting_of_the_hub_that_is_not_supported_is_named(
    tmp_path: Path, config: dict[str, Any], sentence: str
) -> None:
    folder = write_tiny_hub(tmp_path / "hub", tiny_tensors(), **config)
    with pytest.raises((UsageError, ModelError), match=sentence):
        read_hub_model(folder)


def test_a_damaged_folder_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder = write_tiny_hub(tmp_path / "hub", tiny_tensors(), shards=2)
    (folder / "model-1.safetensors").rename(folder / "elsewhere")
    with pytest.raises(UsageError, match=r"no file model-1\.safetensors"):
        read_hub_model(folder)
    (folder / "model-1.safetensors").write_bytes((folder / "elsewhere").read_bytes()[:-7])
    with pytest.raises(ModelError, match=r"model-1\.safetensors"):
        read_hub_model(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"x": "../../secret"}}')
    with pytest.raises(UsageError, match="secret"):
        read_hub_model(folder)
    (folder / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(UsageError, match="no index of weights"):
        read_hub_model(folder)
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(UsageError, match=r"no model\.safetensors"):
        read_hub_model(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(UsageError, match="does not describe a decoder"):
        read_hub_model(folder)
