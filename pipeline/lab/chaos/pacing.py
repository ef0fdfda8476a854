"""The pace of a scenario's plain requests, in its calm and under faults."""

from ..load.pace import Bursts, ConstantRate, Pace, Saturating
from .report import WARM_SHARE
from .request_log import RequestLog
from .scenario import Scenario


def pace_of(scenario: Scenario, requests: RequestLog, calm_s: float, *, calm: bool) -> Pace:
    """The pace that the scenario's load says; that of the storm may depend on the answers in the calm."""
    load = scenario.load
    if not calm and load.times_capacity:
        return ConstantRate(load.times_capacity * requests.answered_per_s(calm_s * WARM_SHARE, calm_s))
    if load.burst:
        return Bursts(load.burst, load.burst_every_s)
    if load.open:
        return Saturating(load.open, lambda: requests.open)
    return ConstantRate(load.per_s)
