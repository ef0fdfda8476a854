"""Taming of channels, and statistics of the layers' inputs."""

from pathlib import Path

import numpy as np
import pytest
from support.calibrated import to_nearest
from support.tiny_model import tiny_weights, write_tiny_model

from inferstream.pipeline.errors import ModelError
from inferstream.pipeline.graphs.bert.files import read_config
from inferstream.pipeline.graphs.bert.float32 import BertEncoder
from inferstream.pipeline.graphs.bert.int8 import Int8BertEncoder
from inferstream.pipeline.graphs.builder import write_model
from inferstream.pipeline.optimize.compression import calibration as quantize
from inferstream.pipeline.optimize.compression.calibration import (
    STEPS,
    calibration_of,
    inputs_like,
    measure_inputs,
    taming_scales,
)
from inferstream.pipeline.optimize.compression.gptq import quantize_by_gram
from inferstream.pipeline.optimize.compression.layer_inputs import layer_inputs
from inferstream.pipeline.optimize.sample import calibration_texts, load_sample
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
    near = taming_scales({"layer": peaks * 1.0001})["layer"]
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
    config = read_config(write_tiny_model(tmp_path) / "config.json")
    tokenizer = Tokenizer(tmp_path / "tokenizer.json", 48)
    texts = ["my card is broken", "late", "the money is not a refund " * 20]
    monkeypatch.setattr(quantize, "CHUNK_TOKENS", 50)
    seen = measure_inputs(config, tiny_weights(), tokenizer, texts)[QUERY]
    windows = [window for windows in tokenizer.encode(texts) for window in windows]
    inputs = np.concatenate(
        [states for name, states in layer_inputs(config, tiny_weights(), [windows]) if name == QUERY]
    )
    assert len(windows) > 4
    np.testing.assert_allclose(seen.gram * seen.step**2, inputs.T @ inputs, rtol=1e-3, atol=0.1)
    np.testing.assert_allclose(seen.low * seen.step, np.minimum(inputs.min(axis=0), 0), atol=seen.step)
    np.testing.assert_allclose(seen.high * seen.step, np.maximum(inputs.max(axis=0), 0), atol=seen.step)
    np.testing.assert_array_equal(seen.peak, np.maximum(np.abs(seen.low), seen.high))


def test_the_sums_are_whole_numbers_so_that_their_order_is_of_no_effect() -> None:
    rng = np.random.default_rng(3)
    states = rng.normal(size=(5000, 24)) * np.exp2(rng.integers(-3, 6, 24))
    seen, shuffled = inputs_like(states), inputs_like(states)
    seen.add(states)
    for part in np.array_split(rng.permutation(states), 7):
        shuffled.add(part)
    np.testing.assert_array_equal(seen.gram, shuffled.gram)
    np.testing.assert_array_equal(seen.gram, np.rint(seen.gram))
    assert np.abs(seen.gram).max() < 2**53
    assert STEPS / 2 <= np.sqrt(np.square(states).mean()) / seen.step / 2 <= STEPS


def test_last_bits_of_the_inputs_change_nothing() -> None:
    rng = np.random.default_rng(4)
    states = rng.normal(size=(2000, 24))
    elsewhere = states * (1 + 1e-14 * rng.normal(size=states.shape))
    grams = []
    for inputs in (states, elsewhere):
        seen = inputs_like(inputs)
        seen.add(inputs)
        grams.append(seen.gram)
    assert (states != elsewhere).any()
    np.testing.assert_array_equal(*grams)


def test_weights_are_rounded_for_the_inputs_after_taming() -> None:
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 12)) * np.where(np.arange(12) < 2, 30, 1)
    seen = inputs_like(inputs)
    seen.add(inputs)
    calibration = calibration_of({"layer": seen})
    scales = calibration.scales["layer"].astype(np.float64)
    assert scales[0] > 1
    weight = rng.normal(size=(12, 6)).astype(np.float32)
    values, _ = calibration.quantize("layer", weight)
    tamed = np.rint(inputs / seen.step) / scales
    np.testing.assert_array_equal(values, quantize_by_gram(weight, tamed.T @ tamed)[0])
    low, high = calibration.ranges["layer"]
    assert (low, high) == pytest.approx(((inputs / scales).min(), (inputs / scales).max()), abs=seen.step)


def test_the_error_names_the_layer_whose_inputs_overflow(tmp_path: Path) -> None:
    config = read_config(write_tiny_model(tmp_path) / "config.json")
    weights = tiny_weights()
    weights["encoder.layer.0.attention.self.value.bias"][:] = np.inf
    with pytest.raises(ModelError, match=r"inputs of encoder\.layer\.0\.attention\.output\.dense"):
        measure_inputs(config, weights, Tokenizer(tmp_path / "tokenizer.json", 48), ["my card"])


def test_gptq_is_closer_to_float32_than_rounding_to_nearest(tmp_path: Path) -> None:
    config, weights = read_config(write_tiny_model(tmp_path) / "config.json"), tiny_weights()
    tokenizer, (texts, _) = Tokenizer(tmp_path / "tokenizer.json", 48), load_sample()
    calibration = calibration_of(measure_inputs(config, weights, tokenizer, calibration_texts(texts[::4])))
    write_model(BertEncoder(config, weights, "mean").model(), tmp_path / "f.onnx")
    expected = embed(texts[1::4], tokenizer, Session(tmp_path / "f.onnx"), batch_tokens=1)
    lost = []
    for quantizer in (to_nearest, calibration.quantize):
        model = Int8BertEncoder(config, weights, "mean", calibration._replace(quantize=quantizer)).model()
        write_model(model, tmp_path / "q.onnx")
        found = embed(texts[1::4], tokenizer, Session(tmp_path / "q.onnx"), batch_tokens=1)
        lost.append(1 - np.sum(found * expected, axis=1).mean())
    assert lost[1] < lost[0]
