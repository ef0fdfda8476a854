"""When tokens came that have no text of their own."""

from collections.abc import MutableSequence


def spread(times: MutableSequence[float], now: float, count: int) -> None:
    """Append the times of ``count`` tokens that came at ``now`` as one text.

    A character of several tokens can be shown with its last one only, by every system. So its tokens count as spread
    evenly since the one before: they are steps of the device, and no gap in what is told.
    """
    begin = times[-1] if times else now
    times.extend(begin + (now - begin) * number / count for number in range(1, count + 1))
