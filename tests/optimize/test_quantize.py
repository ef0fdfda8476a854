"""Taming of channels, and statistics of the layers' inputs."""

from pathlib import Path

import numpy as np
import pytest
from support.tiny_model import tiny_weights, write_tiny_model

from inferstream.pipeline.errors import ModelError
from inferstream.pipeline.graphs.bert.float32 import BertEncoder, read_config
from inferstream.pipeline.graphs.bert.int8 import Int8BertEncoder, to_nearest
from inferstream.pipeline.graphs.bert.probe import INPUT, BertProbe
from inferstream.pipeline.graphs.builder import write_model
from inferstream.pipeline.optimize import quantize
from inferstream.pipeline.optimize.evaluate import load_sample
from inferstream.pipeline.optimize.gptq import quantize_by_gram
from inferstream.pipeline.optimize.quantize import (
    Inputs,
    Rounding,
    calibration_texts,
    measure_inputs,
    taming_scales,
)
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.runtime.tokenizer import Tokenizer
from inferstream.pipeline.tasks.pooling import embed

QUERY = "encoder.layer.1.attention.self.query"


def test_only_outliers_are_tamed_by_powers_of_two() -> None:
    peaks = {
        "calm": np.array([1.0, 2.0, 1.0, 3.5], np.float32),
        "wild": np.array([1.0, 1.0, 1.0, 1.0, 3.0, 30.0], np.float32),
    }
    scales = taming_scales(peaks)
    assert list(scales) == ["wild"]
    assert scales["wild"].tolist() == [1, 1, 1, 1, 2, 16]
    assert (peaks["wild"] / scales["wild"]).max() <= 2


def test_small_differences_between_machines_change_no_scale() -> None:
    peaks = np.array([1.0, 1.0, 1.0, 30.0], np.float32)
    near = taming_scales({"layer": peaks * np.float32(1.0001)})["layer"]
    np.testing.assert_array_equal(taming_scales({"layer": peaks})["layer"], near)


def test_taming_is_exact_in_float32() -> None:
    """The scales are powers of two, so dividing inputs and multiplying weights rounds nothing."""
    rng = np.random.default_rng(0)
    states = (rng.normal(size=(50, 16)) * np.exp2(rng.integers(0, 6, 16))).astype(np.float32)
    scales = taming_scales({"layer": np.abs(states).max(axis=0)})["layer"]
    weight = rng.normal(size=(16, 8)).astype(np.float32)
    products = (states * (1 / scales))[:, :, None] * (weight * scales[:, None])[None]
    assert scales.max() > 1
    np.testing.assert_array_equal(products, states[:, :, None] * weight[None])


def test_sentences_are_also_joined_to_texts_that_fill_a_window() -> None:
    sentences, _ = load_sample()
    texts = calibration_texts(sentences)
    assert texts[: len(sentences)] == sentences
    words = [len(text.split()) for text in texts[len(sentences) :]]
    assert min(words) > 60
    assert max(words) > 150
    assert all(text.count(sentence) < 2 for text in texts[240:] for sentence in sentences[:5])


def test_inputs_are_summed_over_all_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_tiny_model(tmp_path)
    write_model(
        BertProbe(read_config(folder / "config.json"), tiny_weights(), "mean").model(), folder / "p.onnx"
    )
    probe, tokenizer = Session(folder / "p.onnx"), Tokenizer(folder / "tokenizer.json", 48)
    texts = ["my card is broken", "late", "the money is not a refund " * 20]
    monkeypatch.setattr(quantize, "CHUNK_TOKENS", 50)
    seen = measure_inputs(probe, tokenizer, texts)
    windows = [window for windows in tokenizer.encode(texts) for window in windows]
    rows = [
        probe.run({"input_ids": np.array([window]), "attention_mask": np.ones((1, len(window)), np.int64)})[
            probe.outputs.index(QUERY + INPUT)
        ][0]
        for window in windows
    ]
    inputs = np.concatenate(rows)
    assert len(windows) > 4
    np.testing.assert_allclose(seen[QUERY].gram, inputs.T @ inputs, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(seen[QUERY].peak, np.abs(inputs).max(axis=0), rtol=1e-6)


def test_weights_are_rounded_for_the_inputs_after_taming() -> None:
    rng = np.random.default_rng(2)
    inputs = (rng.normal(size=(200, 4)) @ rng.normal(size=(4, 12))).astype(np.float32)
    scales = np.where(np.arange(12) < 2, 8, 1).astype(np.float32)
    seen = Inputs(np.zeros(12, np.float32), np.zeros((12, 12)))
    seen.add(inputs)
    weight = rng.normal(size=(12, 6)).astype(np.float32)
    tamed = (inputs / scales).astype(np.float64)
    values, _ = Rounding({"layer": seen}, {"layer": scales})("layer", weight)
    np.testing.assert_array_equal(values, quantize_by_gram(weight, tamed.T @ tamed)[0])
    plain, _ = Rounding({"layer": seen}, {})("layer", weight)
    assert (plain != values).any()


def test_the_error_names_the_layer_whose_inputs_overflow() -> None:
    seen = Inputs(np.zeros(2, np.float32), np.full((2, 2), np.inf))
    with pytest.raises(ModelError, match="inputs of layer"):
        Rounding({"layer": seen}, {})("layer", np.ones((2, 2), np.float32))


def test_gptq_is_closer_to_float32_than_rounding_to_nearest(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    config, weights = read_config(folder / "config.json"), tiny_weights()
    write_model(BertProbe(config, weights, "mean").model(), folder / "p.onnx")
    tokenizer, (texts, _) = Tokenizer(folder / "tokenizer.json", 48), load_sample()
    inputs = measure_inputs(Session(folder / "p.onnx"), tokenizer, calibration_texts(texts[::4]))
    write_model(BertEncoder(config, weights, "mean").model(), folder / "f.onnx")
    expected = embed(texts[1::4], tokenizer, Session(folder / "f.onnx"), batch_tokens=1)
    lost = []
    for quantizer in (to_nearest, Rounding(inputs, {})):
        write_model(Int8BertEncoder(config, weights, "mean", {}, quantizer).model(), folder / "q.onnx")
        found = embed(texts[1::4], tokenizer, Session(folder / "q.onnx"), batch_tokens=1)
        lost.append(1 - np.sum(found * expected, axis=1).mean())
    assert lost[1] < lost[0]
