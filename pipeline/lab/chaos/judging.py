"""What the auditor says of a run, and who asks it."""

import asyncio
import time
from typing import Final, NamedTuple, Protocol

AGAIN_S: Final = 3.0


class Judgment(NamedTuple):
    """The auditor's counts. ``ends`` are the terminal events by kind; ``duplicated`` those beyond one a request."""

    requests: int
    ends: dict[str, int]
    lost: int
    duplicated: int
    out_of_order: int

    @property
    def clean(self) -> bool:
        """Whether nothing is lost and nothing out of order."""
        return not self.lost and not self.out_of_order


class Judge(Protocol):
    """Reads the topics of a run from their beginnings, and judges."""

    async def __call__(self) -> Judgment: ...


async def final_judgment(judge: Judge, patience_s: float) -> Judgment:
    """The judgment once nothing is missing any more, or when patience is over: what is late is not lost."""
    end = time.monotonic() + patience_s
    while True:
        judgment = await judge()
        if judgment.lost == 0 or time.monotonic() > end:
            return judgment
        await asyncio.sleep(AGAIN_S)
