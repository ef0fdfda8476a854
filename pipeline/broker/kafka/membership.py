"""Two members of one name: Kafka lets each new one put the other out of the group, again and again."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ...errors import BrokerError

TIMES: Final = 3
WITHIN_S: Final = 60.0


class Membership:
    """Tells a member that loses its name to another from one that was away too long.

    aiokafka knows no error for it: it joins again, and at some time raises an UnknownError.
    """

    def __init__(
        self, group: str | None, member: str | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._group = group
        self._member = member
        self._clock = clock
        self._lost: deque[float] = deque(maxlen=TIMES)

    def was_unknown(self) -> None:
        """Kafka did not know this member any more. Raises BrokerError if that is so again and again."""
        now_s = self._clock()
        self._lost.append(now_s)
        if self._member is not None and len(self._lost) == TIMES and now_s - self._lost[0] < WITHIN_S:
            raise self._taken()

    def explains(self, error: BaseException) -> BrokerError | None:
        """The error for an operator if another member has taken the name."""
        fenced = self._member is not None and "UnknownError" in f"{error!r} {error.__cause__!r}"
        return self._taken() if fenced else None

    def _taken(self) -> BrokerError:
        return BrokerError(
            f"Kafka has removed the member {self._member} from the group {self._group}: another worker joins "
            "with this name. Give each worker a name of its own (--member)."
        )
