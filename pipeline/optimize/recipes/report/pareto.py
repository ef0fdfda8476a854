"""The Pareto front: the points that no other point beats."""

from collections.abc import Mapping


def front(points: Mapping[str, tuple[float, float]], *, rising: bool) -> set[str]:
    """The names of the points (cost, accuracy) that no other point beats: as good in both, and better in one.

    ``rising``: whether a larger first value is the better one.
    """
    sign = 1 if rising else -1
    found: set[str] = set()
    best = float("-inf")
    level: float | None = None
    for name, (x, y) in sorted(points.items(), key=lambda item: (-sign * item[1][0], -item[1][1])):
        if y > best or (y == best and x == level):
            found.add(name)
            best, level = y, x
    return found
