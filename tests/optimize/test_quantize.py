"""Which channels are tamed."""

import numpy as np

from inferstream.pipeline.optimize.quantize import taming_scales


def test_only_far_outliers_are_tamed_by_powers_of_two() -> None:
    peaks = {
        "calm": np.array([1.0, 2.0, 1.0, 5.0], np.float32),
        "wild": np.array([1.0, 1.0, 1.0, 1.0, 5.0, 30.0], np.float32),
    }
    scales = taming_scales(peaks)
    assert list(scales) == ["wild"]
    assert scales["wild"].tolist() == [1, 1, 1, 1, 2, 8]
    assert (peaks["wild"] / scales["wild"]).max() <= 4


def test_small_differences_between_machines_change_nothing() -> None:
    peaks = np.array([1.0, 1.0, 1.0, 30.0], np.float32)
    near = taming_scales({"layer": peaks * np.float32(1.0001)})["layer"]
    np.testing.assert_array_equal(taming_scales({"layer": peaks})["layer"], near)
