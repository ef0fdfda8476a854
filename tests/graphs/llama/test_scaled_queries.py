"""Queries that carry the scale of the attention: what is stored stays what it is."""

from pathlib import Path

import numpy as np
import pytest
from support.tiny_llama import HEAD_WIDTH, tiny_tensors, write_tiny_gguf, write_tiny_hub

from inferstream.pipeline.graphs.llama.blocks import Blocks, dense, eight_bits
from inferstream.pipeline.graphs.llama.gguf_model import read_gguf_model
from inferstream.pipeline.graphs.llama.hub_model import read_hub_model
from inferstream.pipeline.graphs.llama.scaled_queries import with_scaled_queries

FACTOR = HEAD_WIDTH**-0.5
QUERIES = "blk.1.attn_q.weight"


@pytest.mark.parametrize("kind", ["F32", "Q4_1", "Q8_0"])
def test_only_the_layer_of_the_queries_has_the_factor(tmp_path: Path, kind: str) -> None:
    write_tiny_gguf(tmp_path / "m.gguf", tiny_tensors(3), kind=kind)
    model = read_gguf_model(tmp_path / "m.gguf")
    scaled = with_scaled_queries(model).tensors
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_down"):
        expected = dense(model.tensors.weight(f"blk.1.{name}.weight"))
        factor = FACTOR if name == "attn_q" else 1.0
        np.testing.assert_array_equal(dense(scaled.weight(f"blk.1.{name}.weight")), expected * factor)
        assert scaled.bits(f"blk.1.{name}.weight") == model.tensors.bits(f"blk.1.{name}.weight")


def test_whole_numbers_stay_what_they_are(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "m.gguf", tiny_tensors(3), kind="Q4_1")
    model = read_gguf_model(tmp_path / "m.gguf")
    stored, scaled = model.tensors.weight(QUERIES), with_scaled_queries(model).tensors.weight(QUERIES)
    assert isinstance(stored, Blocks)
    assert isinstance(scaled, Blocks)
    np.testing.assert_array_equal(scaled.values, stored.values)
    for one, other in zip(eight_bits(scaled)[::2], eight_bits(stored)[::2], strict=True):
        np.testing.assert_array_equal(one, other)  # values and zeros in 8 bits


def test_biases_and_norms_of_queries(tmp_path: Path) -> None:
    write_tiny_hub(tmp_path, tiny_tensors(3, biases="qkv"), model_type="qwen2")
    model = read_hub_model(tmp_path)
    scaled = with_scaled_queries(model).tensors
    expected = model.tensors.vector("blk.0.attn_q.bias") * np.float32(FACTOR)
    np.testing.assert_array_equal(scaled.vector("blk.0.attn_q.bias"), expected)
    np.testing.assert_array_equal(
        scaled.vector("blk.0.attn_k.bias"), model.tensors.vector("blk.0.attn_k.bias")
    )


def test_a_norm_of_queries_takes_the_factor_from_their_layer(tmp_path: Path) -> None:
    """A norm undoes any factor in front of it."""
    arrays = tiny_tensors(3, norms=True)
    settings = {"attention.key_length": 16, "attention.value_length": 16}
    write_tiny_gguf(tmp_path / "m.gguf", arrays, "qwen3", **settings)
    model = read_gguf_model(tmp_path / "m.gguf")
    scaled = with_scaled_queries(model).tensors
    norm = "blk.2.attn_q_norm.weight"
    np.testing.assert_array_equal(scaled.vector(norm), model.tensors.vector(norm) * np.float32(FACTOR))
    np.testing.assert_array_equal(dense(scaled.weight(QUERIES)), dense(model.tensors.weight(QUERIES)))
