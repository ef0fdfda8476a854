"""How a flight ends without an answer, beside the errors of models and tasks."""

from typing import Final

from ..errors import DeadlineExceeded, Overloaded

EXPIRED: Final = (
    "The deadline passed before the device was reached: send the request again with a later deadline."
)


class TooLate(DeadlineExceeded):
    """The rows were dropped since they would have missed ``judged``, the latest deadline known then.

    It is the error of the requests with that deadline or an earlier one. A later one may have joined.
    """

    def __init__(self, judged: float) -> None:
        super().__init__(EXPIRED)
        self.judged = judged


class Dropped(Exception):
    """The flight ended for the deadline of other requests: this one must start a new flight."""


class GivenBack(Overloaded):
    """The flight was paused, and others needed its memory: its requests start a new one when they are read again."""

    def __init__(self) -> None:
        super().__init__(
            "The answer was not read as fast as it was made, and others needed its memory: send the request again."
        )
