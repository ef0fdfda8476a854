"""Versions of a task `triage` without a model, on a device that only sleeps; a candidate may have a fault."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ....schemas.messages import TriageOutput
from ...engine.batching import Limits
from ...engine.model_entry import ModelEntry
from ...errors import DeviceError
from ...runtime.encoder import Encoder
from ...runtime.graph import Feeds
from ...runtime.model import Row
from ...tasks.base import Ask, Finished
from ...tasks.text import TextTask
from ...tasks.triage.ticket_task import DECISIVE
from ..sleeping import SleepTimes

STABLE: Final = "aaaaaaaaaaaa"
CANDIDATE: Final = "bbbbbbbbbbbb"
LABELS: Final = 10
HARD: Final = 0.07
"""Share of the tickets that no version answers rightly."""

LIMITS: Final = Limits(4_096, 64)
CALL_MS: Final = 4.0
ROW_MS: Final = 0.5


class VersionFault(Struct, frozen=True, omit_defaults=True):
    """What is worse about a candidate: shares of the tickets, and how many times as long a batch takes."""

    name: str
    slower: float = 1.0
    differing: float = 0.0  # another route, and the same category
    wrong: float = 0.0
    right: float = 0.0  # where the stable version is wrong
    failing: float = 0.0

    @property
    def times(self) -> SleepTimes:
        """Of the runs of the version."""
        return SleepTimes(CALL_MS * self.slower, ROW_MS * self.slower)


def right_label(number: int) -> str:
    """The category of ticket ``number``."""
    return f"category-{number % LABELS}"


def is_drawn(text: str, purpose: str, share: float) -> bool:
    """Whether the text is among this share of all; the same in every process."""
    digest = blake2b(f"{purpose}/{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


class SleepingSession:
    """Takes its time, and gives the token ids back. Fails for the texts of a candidate that fails."""

    def __init__(self, fault: VersionFault) -> None:
        self._fault = fault

    def run(self, feeds: Feeds) -> list[NDArray[Any]]:
        ids = feeds["input_ids"]
        self._fault.times.sleep(len(ids))
        if any(is_drawn(_text(row), "failing", self._fault.failing) for row in ids.tolist()):
            raise DeviceError("The candidate cannot run this text.")
        return [ids.astype(np.float32)]


class TicketVersion(TextTask):
    """Answers ``ticket N`` with the category of N, except where it is wrong."""

    name = "triage"

    def __init__(self, release: str, fault: VersionFault) -> None:
        self.model = f"tickets-{release}"
        self.version = release
        self.digest = release.encode()
        self._fault = fault

    def agrees(self, one: dict[str, Any], other: dict[str, Any]) -> bool:
        """As triage does, see `tasks/base.agree`."""
        return all(one[name] == other[name] for name in DECISIVE)

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[list[Row]]:
        return [[Row([ord(char) for char in ask.content])] for ask in asks]

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        return [self._answer(_text([int(code) for code in one.outputs[0]])) for one in finished]

    def _answer(self, text: str) -> bytes:
        fault = self._fault
        is_wrong = is_drawn(text, "hard", HARD) and not is_drawn(text, "right", fault.right / HARD)
        is_wrong = is_wrong or is_drawn(text, "wrong", fault.wrong)
        category = "wrong" if is_wrong else right_label(int(text.rpartition(" ")[2]))
        route = "other" if is_drawn(text, "differing", fault.differing) else "desk"
        return msgspec.json.encode(TriageOutput(category, 0.9, "normal", route, needs_human=False))


def an_entry(release: str, fault: VersionFault) -> ModelEntry:
    """A version on a device of its own."""
    device = fault.times.device(Encoder(SleepingSession(fault)), LIMITS)
    return ModelEntry(TicketVersion(release, fault), device, release)


def _text(codes: Sequence[int]) -> str:
    return "".join(chr(code) for code in codes if code)
