"""Config and weights of a model: what is read, and what is refused by its name."""

import json
import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file
from support.tiny_model import CONFIG, tiny_weights, write_tiny_model

from inferstream.pipeline.errors import ModelError, UsageError
from inferstream.pipeline.graphs.bert.files import check_weights, read_config, read_weights
from inferstream.pipeline.graphs.bert.float32 import BertConfig, Weights

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8"}


def write_weights(path: Path, weights: dict[str, np.ndarray], kind: str) -> None:
    """A safetensors file of any kind of number, also those that NumPy lacks."""
    header: dict[str, Any] = {}
    parts: list[bytes] = []
    for name, array in weights.items():
        if kind == "BF16":
            part = (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        elif kind.startswith("F8"):
            part = np.zeros(array.shape, np.uint8).tobytes()
        else:
            part = array.astype(DTYPES[kind]).tobytes()
        start = sum(map(len, parts))
        parts.append(part)
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [start, start + len(part)]}
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + b"".join(parts))


def read_tensors(path: Path) -> Weights:
    """The tensors of a BERT with the settings of the tiny model."""
    return read_weights(path, msgspec.convert(CONFIG, BertConfig))


def check(folder: Path) -> None:
    path = folder / "model.safetensors"
    check_weights(read_config(folder / "config.json"), read_tensors(path), path)


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("model_type", "t5", "'t5'"),
        ("hidden_act", "relu", "'relu'"),
        ("position_embedding_type", "relative_key", "'relative_key'"),
        ("auto_map", {"AutoModel": "modeling.Mine"}, "modeling.Mine"),
        ("quantization_config", {"bits": 4}, "bits"),
        ("is_decoder", True, "True"),
        ("architectures", ["BertForTokenClassification"], "BertForTokenClassification"),
        ("num_attention_heads", 5, "5"),
    ],
)
def test_the_error_names_the_unsupported_setting(tmp_path: Path, field: str, value: Any, shown: str) -> None:
    write_tiny_model(tmp_path, **{field: value})
    with pytest.raises(UsageError, match=f"{field} = ") as caught:
        read_config(tmp_path / "config.json")
    assert shown in str(caught.value)


def test_invalid_configs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot read"):
        read_config(tmp_path / "config.json")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UsageError, match="hidden_size"):
        read_config(tmp_path / "config.json")
    for damaged in (b"\xff\xfe{\x00", b"{", b"[]", b"\xff{}", b""):
        (tmp_path / "config.json").write_bytes(damaged)
        with pytest.raises(UsageError, match=r"config\.json"):
            read_config(tmp_path / "config.json")


def test_a_byte_order_mark_before_the_config_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"pad_token_id": None}), "utf-8-sig")
    assert read_config(tmp_path / "config.json").padding == 0


@pytest.mark.parametrize("kind", ["F64", "F32", "F16", "BF16"])
def test_weights_of_every_floating_kind_are_read(tmp_path: Path, kind: str) -> None:
    write_tiny_model(tmp_path)
    write_weights(tmp_path / "model.safetensors", tiny_weights(), kind)
    check(tmp_path)
    found = read_tensors(tmp_path / "model.safetensors")
    for name, expected in tiny_weights().items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], expected, rtol=2**-7, atol=1e-6)


def test_bf16_is_exact(tmp_path: Path) -> None:
    values = np.array([1.0, -2.5, 0.15625, 3.0e38, 1e-38, 0.0], np.float32)
    values = (values.view(np.uint32) >> 16 << 16).view(np.float32)
    write_weights(tmp_path / "w", {"embeddings.LayerNorm.bias": values}, "BF16")
    np.testing.assert_array_equal(read_tensors(tmp_path / "w")["embeddings.LayerNorm.bias"], values)


@pytest.mark.parametrize("kind", ["F8_E4M3", "I64"])
def test_other_kinds_of_numbers_are_refused(tmp_path: Path, kind: str) -> None:
    write_weights(tmp_path / "w", {"embeddings.LayerNorm.bias": np.zeros(2, np.float32)}, kind)
    with pytest.raises(ModelError, match=rf"embeddings\.LayerNorm\.bias as {kind}"):
        read_tensors(tmp_path / "w")


def test_parts_without_effect_are_left_out(tmp_path: Path) -> None:
    """The weights as published: prefix, pooler, head of the masked words, and names of the old library."""
    write_tiny_model(tmp_path)
    weights = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("Norm.bias", "Norm.beta"): array
        for name, array in tiny_weights().items()
    }
    more = {
        "bert.pooler.dense.bias": np.zeros(3, np.float32),
        "cls.predictions.bias": np.zeros(3, np.float32),
    }
    positions = {"bert.embeddings.position_ids": np.arange(4)}
    save_file(weights | more | positions, tmp_path / "model.safetensors")
    check(tmp_path)
    assert read_tensors(tmp_path / "model.safetensors").keys() == tiny_weights().keys()


@pytest.mark.parametrize(
    "more",
    ["classifier.weight", "linear.weight", "encoder.layer.2.output.dense.bias", "2_Dense.linear.weight"],
)
def test_tensors_of_more_than_the_encoder_are_refused(tmp_path: Path, more: str) -> None:
    write_tiny_model(tmp_path)
    save_file(tiny_weights() | {more: np.zeros((2, 32), np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=more.replace(".", r"\.")):
        check(tmp_path)


def test_incomplete_or_invalid_weights_are_refused(tmp_path: Path) -> None:
    write_tiny_model(tmp_path)
    weights = tiny_weights()
    name = "encoder.layer.1.output.dense.bias"
    for wrong, sentence in (
        ({}, f"lacks the tensor '{name}'"),
        ({name: np.zeros(3, np.float32)}, r"shape \(3,\), and config.json asks for \(32,\)"),
        ({name: np.full(32, np.nan, np.float32)}, "not finite"),
    ):
        save_file({k: v for k, v in weights.items() if k != name} | wrong, tmp_path / "model.safetensors")
        with pytest.raises(ModelError, match=sentence):
            check(tmp_path)
    for damaged in (b"no tensors", b""):
        (tmp_path / "model.safetensors").write_bytes(damaged)
        with pytest.raises(ModelError, match="Cannot read the weights"):
            read_tensors(tmp_path / "model.safetensors")
