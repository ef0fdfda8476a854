"""What a candidate may do worse than the stable version."""

from typing import Annotated

from msgspec import Meta, Struct

Part = Annotated[float, Meta(ge=0, lt=1)]


class RolloutLimits(Struct, frozen=True, omit_defaults=True):
    """How much worse than the stable version a candidate may be before it is rolled back by itself.

    Attributes:
        error_rate: how much higher the share of its requests may be that fail.
        latency: how many times as long its batches may take, at equal shapes. What clients see may take a third more,
            since it also depends on load, and on each core that the versions share.
        disagreement: share of the compared answers that may differ.
        accuracy: share of the labeled requests that it may answer wrongly beyond the stable version.
        agreement: in mode "guarded", the share of the compared answers that must be alike before the candidate's are
            sent where the two differ.
    """

    error_rate: Part = 0.02
    latency: Annotated[float, Meta(ge=1, le=1_000)] = 1.5
    disagreement: Part = 0.05
    accuracy: Part = 0.01
    agreement: Annotated[float, Meta(gt=0, lt=1)] = 0.98
