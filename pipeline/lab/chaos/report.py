"""The result of a run: everything that was sent, injected, observed and audited."""

from typing import Final

from msgspec import Struct, field

from .auditing import Judgment
from .caption_counts import CaptionCounts
from .conversation_counts import ConversationCounts
from .faults import InjectedFault
from .faulty_session import DeviceCounts
from .request_log import ObservedEnd
from .scenario import Scenario
from .schedule import Fault
from .stream_log import StreamCounts
from .worker_pool import WorkerExit

WARM_SHARE: Final = 0.5
"""No figure counts this first share of the calm: brokers warm up, costs are learned."""

TURN_S: Final = 2.0
"""No figure counts these first seconds of the storm: they answer requests of the calm."""


class ChaosReport(Struct, frozen=True):
    """Times are seconds since the load began. The load ended after ``seconds``.

    ``behind``: at some times, how late the run's own event loop was.
    """

    scenario: Scenario
    seed: int
    seconds: float
    calm_s: float
    planned: tuple[Fault, ...]
    happened: list[InjectedFault]
    exits: list[WorkerExit]
    seen: list[ObservedEnd]
    sent: list[tuple[float, str]]
    open: list[tuple[float, int]]
    memory_mb: list[tuple[float, int, int, float]]
    device: DeviceCounts
    settled_s: float | None
    judgment: Judgment
    peak_mb: float = 0.0
    lag: int = 0
    aborted_answers: int = 0
    skipped: int = 0
    rebalances: int = 0
    customer_answers: int = 0
    customer_doubled: int = 0
    customer_repeated: int = 0
    customer_unanswered: int = 0
    ready_s: list[float] = []
    behind: list[tuple[float, float]] = []
    streams: StreamCounts = field(default_factory=StreamCounts)
    captions: CaptionCounts = field(default_factory=CaptionCounts)
    conversations: ConversationCounts = field(default_factory=ConversationCounts)

    @property
    def clean(self) -> bool:
        """Whether all requests ended, none was lost or out of order, and readers of captions and conversations saw
        each final and each token once.
        """
        seen = self.captions.clean and self.conversations.clean
        return self.judgment.clean and seen and self.settled_s is not None
