"""Callers that ask a worker of triage one question after the other, and check what they are told."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ....schemas.messages import TriageOutput
from ...client.client import Client
from ...errors import InferstreamError

TOLERANCE: Final = 2e-4
"""Of a confidence, which has four decimals: its last one may depend on the other rows of the batch."""

PATIENCE_S: Final = 90.0
"""Of a caller: a worker that was killed starts again meanwhile."""

Expected = Mapping[str, Mapping[str, TriageOutput]]
"""The right answer to each text, by the version of the release."""


class TimedAnswer(NamedTuple):
    """When an answer came, in seconds of the run, and how long the caller waited for it."""

    at_s: float
    took_s: float


class SwapLoad:
    """Counts the answers of a run.

    Attributes:
        by_release: how many each release gave.
        wrong: answers that are not those of the release that they name; a sentence for each.
        lost: requests that ended without an answer.
    """

    def __init__(self, client: Client, texts: Sequence[str], expected: Expected) -> None:
        self.answers: list[TimedAnswer] = []
        self.by_release: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.lost: list[str] = []
        self._client = client
        self._texts = texts
        self._expected = expected
        self._over = asyncio.Event()
        self._began = time.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds of the run."""
        return time.monotonic() - self._began

    async def run(self, callers: int) -> None:
        """Ask until `end`; each caller waits for its answer before it asks again."""
        async with asyncio.TaskGroup() as calling:
            for number in range(callers):
                calling.create_task(self._call(number))

    def end(self) -> None:
        """Ask nothing more."""
        self._over.set()

    async def until_answered_by(self, release: str, times: int) -> None:
        """Return when the release has given ``times`` more answers."""
        wanted = self.by_release[release] + times
        while self.by_release[release] < wanted:  # noqa: ASYNC110 - an event for each answer would cost the load
            await asyncio.sleep(0.01)

    async def _call(self, caller: int) -> None:
        number = caller
        while not self._over.is_set():
            text = self._texts[number * 7 % len(self._texts)]
            number += 1
            began = self.now_s
            try:
                answer = await self._client.request("triage", text, timeout_s=PATIENCE_S)
            except InferstreamError as error:
                self.lost.append(f"{text!r}: {error.code}: {error}")
                continue
            self.answers.append(TimedAnswer(self.now_s, self.now_s - began))
            self._check(text, answer.reply.release or "", answer.output)

    def _check(self, text: str, release: str, output: TriageOutput) -> None:
        self.by_release[release] += 1
        right = self._expected.get(release, {}).get(text)
        if right is None or right.category != output.category:
            self.wrong.append(f"{text!r}: {output.category} by {release or 'no release'}")
        elif abs(right.confidence - output.confidence) > TOLERANCE:
            self.wrong.append(f"{text!r}: {output.confidence} by {release}, not {right.confidence}")
