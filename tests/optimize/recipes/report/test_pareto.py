"""The Pareto front is what no other point beats."""

from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.optimize.recipes.report.pareto import front

VALUES = st.integers(0, 5).map(float)
POINTS = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=2), st.tuples(VALUES, VALUES), max_size=12)


@given(POINTS, st.booleans())
def test_the_front_is_what_no_other_point_beats(points: dict[str, tuple[float, float]], rising: bool) -> None:
    sign = 1 if rising else -1

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return sign * one[0] >= sign * other[0] and one[1] >= other[1] and one != other

    wanted = {name for name, point in points.items() if not any(beats(one, point) for one in points.values())}
    assert front(points, rising=rising) == wanted
