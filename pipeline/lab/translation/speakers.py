"""Speakers and the readers of their captions, as a process: `python -m … PLAN REPORT`, two files of JSON.

So the load is not measured by the process that makes it. All begin within the first segment, one after the other.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from ....schemas.translation import TranslateOptions
from ...client.captions.measures import Trace
from ...client.captions.stream import TranslationStream
from ...client.client import Client
from ...errors import InferstreamError
from ...tasks.translate.definition import TRANSLATE
from .speakers_report import FINAL_S, LOOK_S, PARTS, PLAIN, SpeakersPlan, SpeakersReport


def known_texts(segment: str) -> list[str]:
    """The segment after each sixth of its words, the last of them whole; a short one has fewer."""
    words = segment.split()
    counts = dict.fromkeys(max(1, round(len(words) * part / PARTS)) for part in range(1, PARTS))
    return [*(" ".join(words[:count]) for count in counts if count < len(words)), segment]


class Speaker:
    """One speaker: says segments in time, whatever comes back, and hears when their finals come."""

    def __init__(self, segments: Sequence[str], segment_s: float, report: SpeakersReport) -> None:
        self._segments = segments
        self._segment_s = segment_s
        self._report = report
        self._asked: list[float] = []  # when each final was sent
        self._latest_s = 0.0
        self._answered = 0
        self._loop = asyncio.get_running_loop()

    async def speak(self, begins_s: float, say: Callable[[int, str, bool], Awaitable[None]]) -> None:
        """Say all segments; ``say`` gets the number of the segment, what is known of it, and whether that is all."""
        due = self._loop.time() + begins_s
        for number, segment in enumerate(self._segments):
            texts = known_texts(segment)
            for text in texts:
                due += self._segment_s / len(texts)
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                is_final = text is texts[-1]
                if is_final:
                    self._asked.append(self._loop.time())
                await say(number, text, is_final)

    def answered(self, number: int) -> None:
        """The final of a segment was received."""
        took_s = self._loop.time() - self._asked[number]
        self._report.finals_ms.append(took_s * 1e3)
        self._latest_s = max(self._latest_s, took_s)
        self._answered += 1

    def end(self) -> None:
        """All that was to come has come."""
        self._report.failed += len(self._segments) - self._answered
        is_late = self._latest_s > self._segment_s / PARTS
        self._report.behind += is_late or self._answered < len(self._segments)


async def hear(stream: TranslationStream, speaker: Speaker, begins_s: float, report: SpeakersReport) -> None:
    """Speak into a stream, and read its captions meanwhile."""
    loop = asyncio.get_running_loop()
    traces: list[Trace] = []
    finals: list[str] = []

    async def say(number: int, text: str, final: bool) -> None:
        if number == len(traces):
            traces.append(Trace())
        traces[number].sent(text, loop.time())
        if final:
            finals.append(text)
        await stream.send(text, final=final)

    async def speak() -> None:
        await speaker.speak(begins_s, say)
        await stream.end()

    async with stream, asyncio.TaskGroup() as tasks:
        tasks.create_task(speak())
        async for caption in stream:
            trace = traces[caption.segment]
            if caption.error is not None:
                continue
            trace.shown(caption.text, loop.time())
            if caption.final:
                speaker.answered(caption.segment)
                _add_lags(report, trace, finals[caption.segment])
    speaker.end()
    found = stream.report()
    report.partials += found.partials
    report.superseded += found.superseded
    report.passed_over += found.passed_over


def _add_lags(report: SpeakersReport, trace: Trace, final: str) -> None:
    lags = trace.lags(final)
    report.erased += trace.erased
    report.words += trace.words
    report.first_s += lags[:1]
    report.last_s += lags[-1:]
    report.word_s += lags


async def hear_plain(
    client: Client,
    name: str,
    speaker: Speaker,
    begins_s: float,
    report: SpeakersReport,
    pair: tuple[str, str],
) -> None:
    """Plain re-translation: nothing is superseded or kept, and no text waits for a tick."""
    options = TranslateOptions(*pair)

    async def ask(number: int, text: str, final: bool) -> None:
        try:
            await client.request(
                TRANSLATE,
                text,
                options=options,
                key=name.encode(),
                priority="high" if final else "normal",
                timeout_s=FINAL_S,
            )
        except InferstreamError:
            return
        if final:
            speaker.answered(number)

    async with asyncio.TaskGroup() as tasks:

        async def say(number: int, text: str, final: bool) -> None:
            report.partials += not final
            tasks.create_task(ask(number, text, final))

        await speaker.speak(begins_s, say)
    speaker.end()


async def run(plan: SpeakersPlan) -> SpeakersReport:
    """Let all speak at the same time."""
    report = SpeakersReport()
    name = f"speakers-{time.time_ns()}"
    pair = plan.source, plan.target
    async with Client(plan.kafka) as client:
        await client.request(TRANSLATE, "Hello.", options=TranslateOptions(*pair))  # opens the replies
        await asyncio.sleep(max(0.0, plan.begin - time.time()))
        watching = asyncio.create_task(_watch_loop(report.loop_ms))
        async with asyncio.TaskGroup() as tasks:
            for number, segments in enumerate(plan.texts):
                speaker = Speaker(segments, plan.segment_s, report)
                begins_s = plan.segment_s * number / len(plan.texts)
                own = f"{name}-{number}"
                if plan.mode == PLAIN:
                    work = hear_plain(client, own, speaker, begins_s, report, pair)
                else:
                    stream = client.translate_stream(*pair, mode=plan.mode, name=own, timeout_s=FINAL_S)
                    work = hear(stream, speaker, begins_s, report)
                tasks.create_task(work)
        watching.cancel()
    return report


async def _watch_loop(late_ms: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOK_S
        await asyncio.sleep(LOOK_S)
        late_ms.append((loop.time() - due) * 1e3)


def command(plan: Path, report: Path) -> list[str]:
    """The command line that starts this process."""
    return [sys.executable, "-m", __spec__.name, str(plan), str(report)]


def main(plan: str, report: str) -> None:
    found = asyncio.run(run(msgspec.json.decode(Path(plan).read_bytes(), type=SpeakersPlan)))
    Path(report).write_bytes(msgspec.json.encode(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
