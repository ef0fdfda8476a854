"""Speakers whose captions are read while they speak: one stream after the other, for the length of a run."""

import asyncio
import random
from collections.abc import Callable, Iterable
from itertools import count, takewhile
from typing import Final, NamedTuple

from ...client.captions.calls import CaptionCalls
from ...client.captions.caption import Caption
from ...client.captions.modes import Mode
from ...client.captions.stream import TranslationStream
from ...errors import InferstreamError
from .caption_counts import CaptionCounts, Spoken

ID_PREFIX: Final = "customer-captions-"
"""The names of the streams begin with this."""

SOURCE: Final = "en"
TARGET: Final = "pt"
MODES: Final[dict[Mode, float]] = {"stable": 0.5, "live": 0.25, "final": 0.25}
"""How often a stream has this mode."""

SEGMENTS: Final = (4, 20)
PARTS: Final = 6
"""A segment is sent after each sixth of its words."""

SENTENCES: Final = (
    "Parcel {} left our warehouse on Monday and should reach you before the end of the week.",
    "I called about order {} twice, and nobody could tell me where it is.",
    "The customer in room {} asks for a second key and a taxi to the airport.",
    "Please write down the number {} and keep it until the technician has been there.",
    "We have seen that invoice {} was paid, so you can ignore the letter.",
    "Train {} is late today because of the snow in the mountains.",
    "There are {} people in the hall, and they all want to hear the answer.",
    "My contract number is {} and I want to change my address.",
)


class Speech(NamedTuple):
    """How fast the speakers speak, in seconds."""

    segment_s: tuple[float, float] = (1.5, 3.0)
    timeout_s: float = 90.0
    """Of a final, its retries included."""


SPEECH: Final = Speech()


class CaptionLoad:
    """Lets some speakers speak at the same time; ``counts`` is what their readers see."""

    def __init__(
        self,
        client: CaptionCalls,
        counts: CaptionCounts,
        now_s: Callable[[], float],
        seed: int,
        speech: Speech = SPEECH,
    ) -> None:
        self._client = client
        self._counts = counts
        self._now_s = now_s
        self._seed = seed
        self._speech = speech

    async def send(self, speakers: int, over: Callable[[], bool]) -> None:
        """Speak until it is over, then wait for the last finals."""
        async with asyncio.TaskGroup() as tasks:
            for speaker in range(speakers):
                tasks.create_task(self._speaker(speaker, over))

    async def _speaker(self, speaker: int, over: Callable[[], bool]) -> None:
        rng = random.Random(f"{self._seed}/captions/{speaker}")
        for number in count():
            if over():
                return
            mode = rng.choices(list(MODES), list(MODES.values()))[0]
            segments = rng.randint(*SEGMENTS)
            stream = self._client.translate_stream(
                SOURCE,
                TARGET,
                mode=mode,
                name=f"{ID_PREFIX}{speaker}-{number}",
                timeout_s=self._speech.timeout_s,
            )
            said = takewhile(lambda _: not over(), (str(rng.randint(100, 999)) for _ in range(segments)))
            await self._stream(stream, mode, said, rng)

    async def _stream(
        self, stream: TranslationStream, mode: Mode, marks: Iterable[str], rng: random.Random
    ) -> None:
        """Speak one stream and read it. What is not shown in time after its end is missing."""
        spoken: list[Spoken] = []
        shown: list[Caption] = []
        try:
            async with stream:
                reading = asyncio.create_task(self._read(stream, spoken, shown))
                try:
                    for mark in marks:
                        await self._segment(stream, spoken, mark, rng)
                    await stream.end()
                    await asyncio.wait([reading], timeout=self._speech.timeout_s)
                finally:
                    reading.cancel()
                    await asyncio.wait([reading])
                if not reading.cancelled():
                    reading.result()
        except InferstreamError as error:
            self._counts.broken[error.code] += 1
        self._counts.ended(mode, spoken, shown, stream.report())

    async def _segment(
        self, stream: TranslationStream, spoken: list[Spoken], mark: str, rng: random.Random
    ) -> None:
        """Say one sentence: its partials, then its final."""
        words = rng.choice(SENTENCES).format(mark).split()
        part_s = rng.uniform(*self._speech.segment_s) / PARTS
        for part in range(1, PARTS):
            await stream.send(" ".join(words[: len(words) * part // PARTS]), final=False)
            await asyncio.sleep(part_s)
        spoken.append(Spoken(mark, self._now_s()))
        await stream.send(" ".join(words))
        await asyncio.sleep(part_s)

    async def _read(self, stream: TranslationStream, spoken: list[Spoken], shown: list[Caption]) -> None:
        async for caption in stream:
            shown.append(caption)
            if caption.final and spoken[caption.segment].shown_after_s is None:
                spoken[caption.segment].shown_after_s = self._now_s() - spoken[caption.segment].at_s
