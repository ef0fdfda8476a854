"""Costs by shape: each shape is measured by itself alone."""

from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.rollouts.yardstick import LEAST, Yardstick

shapes = st.tuples(st.integers(1, 64), st.integers(1, 512))


@given(shapes, st.floats(0.01, 1e4), st.floats(0.1, 10))
def test_a_batch_is_measured_by_its_own_shape(shape: tuple[int, int], ms: float, times: float) -> None:
    yardstick = Yardstick()
    for _ in range(LEAST):
        assert yardstick.times(*shape, ms) is None
        yardstick.learn(*shape, ms)
    found = yardstick.times(*shape, ms * times)
    assert found is not None
    assert abs(found / times - 1) < 1e-9
    rows, length = shape
    assert yardstick.times(2 * rows, length, ms) is None
    assert yardstick.times(rows, 2 * length, ms) is None


def test_costs_are_followed() -> None:
    yardstick = Yardstick()
    for ms in [1.0] * 100 + [2.0] * 200:
        yardstick.learn(1, 10, ms)
    found = yardstick.times(1, 10, 2.0)
    assert found is not None
    assert 0.98 < found < 1.02
