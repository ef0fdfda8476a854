"""Whether a flight may begin."""

import math
from typing import Final

from ..errors import Overloaded, Poison
from .device import Device
from .flight import Flight

MAX_WAIT_SHARE: Final = 0.75
"""A request is admitted if its predicted wait is at most this share of its remaining time.

Predictions are noisy, and a late answer displaces one that would have been in time.
"""


def check_time(flight: Flight, device: Device, now: float) -> None:
    """Raise Poison for known-bad content, Overloaded if the deadline cannot be met."""
    if flight.suspect and device.is_poison(flight.key):
        raise Poison("This text ended the worker's process each time it ran alone: it is not run again.")
    if flight.expires == math.inf or flight.waited_s:
        # In the place of one that waits: a refusal would leave that, and the reply of the refusal, and the
        # final of their key, would wait behind it.
        return
    wait_s = device.wait_s(flight)
    allowed_s = (flight.expires - now) * MAX_WAIT_SHARE
    if wait_s > allowed_s:
        problem = f"The device is busy for {wait_s:.1f} s, longer than the deadline allows: come back later."
        if (own_s := device.own_s(flight)) > allowed_s:
            problem = (
                f"This text takes about {own_s:.1f} s, longer than its deadline allows: give it more time."
            )
        raise Overloaded(problem, retry_after_ms=math.ceil((wait_s - allowed_s) * 1e3))
