"""The demo of captions: several talks at the speed of speech, each a stream of captions, and an audit at the end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from msgspec import Struct, field

from ...client.captions.caption import Caption
from ...client.captions.measures import StreamReport
from ...client.captions.modes import Mode
from ...client.captions.stream import Partial
from ...client.client import Client
from ...ops.audit.auditor import audit
from ...ops.audit.facts import Audited
from ...ops.audit.report import AuditReport
from ...ops.scan import end_offsets
from .batches import RanBatches, watch
from .sites import DemoSite
from .talks import Talk, spoken

WORDS_A_SECOND: Final = 2.5
BREATH_S: Final = 0.4
STAGGER_S: Final = 0.7
"""One talk begins so long after the one before it; all within `ALL_BEGUN_S`."""
ALL_BEGUN_S: Final = 3.3


class ShownSegment(Struct):
    """A segment as its viewer has it now: what was heard of it, and what of its translation is shown."""

    heard: str
    text: str = ""
    settled: int = 0
    final: bool = False
    failed: bool = False


class ShownTalk(Struct):
    """A talk and its segments until now, of which the last one is being spoken; ``number`` counts from 0."""

    number: int
    talk: Talk
    segments: list[ShownSegment] = field(default_factory=list)
    report: StreamReport = StreamReport()

    def show(self, caption: Caption) -> ShownSegment:
        """Take over a caption. Returns its segment."""
        shown = self.segments[caption.segment]
        shown.text = caption.text
        shown.settled = len(caption.text) if caption.final else caption.settled
        shown.final = caption.final
        shown.failed = caption.error is not None
        return shown


Observe = Callable[[ShownTalk, ShownSegment], None]
"""Called with a talk and its segment when what is shown of that has changed."""


class Tempo(NamedTuple):
    """How fast is spoken."""

    words_a_second: float = WORDS_A_SECOND
    mode: Mode = "stable"

    def seconds(self, words: float) -> float:
        return words / self.words_a_second

    @property
    def breath_s(self) -> float:
        return BREATH_S * WORDS_A_SECOND / self.words_a_second

    def begin_s(self, number: int) -> float:
        """When a talk begins."""
        return number * STAGGER_S % ALL_BEGUN_S * WORDS_A_SECOND / self.words_a_second


class CaptionsResult(NamedTuple):
    """What was shown, the batches it ran in, and what the topics say."""

    talks: Sequence[ShownTalk]
    batches: RanBatches
    audit: AuditReport

    @property
    def clean(self) -> bool:
        """Whether each segment has its final, and each request has ended exactly once."""
        report = self.audit
        failed = any(one.report.failed for one in self.talks)
        missing = any(one.report.segments < len(one.talk.segments) for one in self.talks)
        return not (failed or missing or report.unended or report.lost or report.repeated)


async def play(
    site: DemoSite,
    audited: Audited,
    talks: Sequence[ShownTalk],
    run: str,
    tempo: Tempo,
    batches: RanBatches,
    observe: Observe,
) -> CaptionsResult:
    """Play all talks side by side, each once. ``run`` begins the names of their streams.

    Raises BrokerError, and what a worker answers to every request of a stream, as UnknownModel.
    """
    audited = audited._replace(id_prefix=f"{run}-")
    starts = await end_offsets(site.broker, audited.names)
    replies = await site.broker.consume([audited.topics.replies], start="latest")
    watching = asyncio.create_task(watch(replies, f"{run}-", batches))
    try:
        async with asyncio.TaskGroup() as playing:
            for one in talks:
                playing.create_task(_talk(site.client, one, f"{run}-{one.number}", tempo, observe))
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await replies.close()
    report = await audit(site.broker, audited, starts=starts, clock=time.time)
    return CaptionsResult(talks, batches, report)


async def _talk(client: Client, shown: ShownTalk, name: str, tempo: Tempo, observe: Observe) -> None:
    await asyncio.sleep(tempo.begin_s(shown.number))
    talk = shown.talk
    words = _speak(shown, tempo, observe)
    # A tenant of its own: the cache of an earlier run must not answer.
    async with client.translate_stream(
        talk.source, talk.target, words, mode=tempo.mode, name=name, tenant=name
    ) as stream:
        async for caption in stream:
            shown.report = stream.report()
            observe(shown, shown.show(caption))
        shown.report = stream.report()


async def _speak(shown: ShownTalk, tempo: Tempo, observe: Observe) -> AsyncIterator[str | Partial]:
    for segment in shown.talk.segments:
        growing = ShownSegment("")
        shown.segments.append(growing)
        for known in spoken(segment):
            await asyncio.sleep(tempo.seconds(known.words))
            growing.heard = known.text
            observe(shown, growing)
            yield known.text if known.final else Partial(known.text)
        await asyncio.sleep(tempo.breath_s)
