"""What the modes of a stream cost: BLEU of the finals, normalized erasure, lag, and time of the device.

    python benchmarks/captions.py FOLDER [STREAMS] [SEGMENTS]      # has flores-dev.en and flores-dev.pt

Speakers speak at the same time, a segment every 3 s, in partials after each sixth of its words and a final. Client,
worker and an embedded broker are one process, without a cache. "plain" is the mode live without superseding and
ticks: each text is sent at once and translated whole. The sentences are those of FLORES (CC BY-SA 4.0), which are no
part of this project. Besides `inferstream models pull translate-en-pt` it needs the package sacrebleu.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from msgspec import structs

from inferstream import Caption, Client, Edge, Request, StreamReport, TranslationStream
from inferstream.pipeline.client.captions import interpreter
from inferstream.pipeline.client.captions.modes import Mode
from inferstream.pipeline.config import CacheConfig, Config

SEGMENT_S = 3.0
PARTS = 6
PLAIN = "plain"
TICK_S = interpreter.TICK_S
RUNS: dict[str, Mode] = {PLAIN: "live", "live": "live", "stable": "stable", "final": "final"}


def partials(text: str) -> list[str]:
    """The text after each sixth of its words."""
    words = text.split()
    counts = [max(1, round(len(words) * part / PARTS)) for part in range(1, PARTS + 1)]
    return [" ".join(words[:count]) for count in counts]


async def speak(stream: TranslationStream, texts: list[str], begins_s: float) -> None:
    await asyncio.sleep(begins_s)
    loop = asyncio.get_running_loop()
    due = loop.time()
    for text in texts:
        for part in partials(text):
            due += SEGMENT_S / PARTS
            await asyncio.sleep(due - loop.time())
            await stream.send(part, final=False)
        await stream.send(text)
    await stream.end()


async def captions(
    client: Client, texts: list[str], mode: Mode, begins_s: float
) -> tuple[list[Caption], StreamReport]:
    async with (
        client.translate_stream("en", "pt", mode=mode) as stream,
        asyncio.TaskGroup() as speaking,
    ):
        speaking.create_task(speak(stream, texts, begins_s))
        found = [caption async for caption in stream if caption.final]
    return found, stream.report()


def without_superseding(client: Client) -> None:
    """From now on no request of the client supersedes another one, and partials wait for no tick."""
    interpreter.TICK_S = 1e-4  # type: ignore[misc]
    send = client._send

    async def send_plain(call: Any, request: Request, *chunks: Any) -> Any:
        return await send(call, structs.replace(request, supersedes=None, final=True), *chunks)

    client._send = send_plain  # type: ignore[method-assign]


async def run(mode: Mode, plain: bool, texts: list[list[str]]) -> tuple[list[str], list[StreamReport], float]:
    """The finals, the reports, and the seconds of the device."""
    edge = Edge(Config(cache=CacheConfig(enabled=False)), task="translate")
    async with edge as client:
        interpreter.TICK_S = TICK_S  # type: ignore[misc]
        if plain:
            without_superseding(client)
        starts = [SEGMENT_S * number / len(texts) for number in range(len(texts))]
        found = await asyncio.gather(
            *(captions(client, own, mode, start) for own, start in zip(texts, starts, strict=True))
        )
        lines = edge.serving.metrics.render().decode().splitlines()
    (device_s,) = (
        float(line.split()[1]) for line in lines if line.startswith("inferstream_batch_seconds_sum")
    )
    finals = [caption.text for of_stream, _ in found for caption in of_stream]
    return finals, [report for _, report in found], device_s


def main(folder: Path, streams: int, segments: int) -> None:
    from sacrebleu.metrics import BLEU

    source, target = (
        (folder / f"flores-dev.{language}").read_text("utf-8").splitlines()[: streams * segments]
        for language in ("en", "pt")
    )
    texts = [source[number * segments : (number + 1) * segments] for number in range(streams)]
    metric = BLEU()
    print(f"{streams} streams, {segments} segments each")
    print("mode    BLEU   erasure  first word  last word  all words  partials  superseded  device")
    for name, mode in RUNS.items():
        began = time.monotonic()
        finals, reports, device_s = asyncio.run(run(mode, name == PLAIN, texts))
        took_s = time.monotonic() - began

        def mean(name: str, reports: list[StreamReport] = reports) -> float:
            return sum(getattr(report, name) for report in reports) / len(reports)

        print(
            f"{name:6}  {metric.corpus_score(finals, [target]).score:5.2f}  {mean('erasure'):7.3f}  "
            f"{mean('first_word_s'):8.2f} s  {mean('last_word_s'):7.3f} s  {mean('word_s'):7.2f} s  "
            f"{sum(report.partials for report in reports):8}  {sum(report.superseded for report in reports):10}  "
            f"{device_s:5.1f} s of {took_s:.0f} s"
        )
    print(metric.get_signature())


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), *(int(argument) for argument in (*sys.argv[2:], "50", "10")[:2]))
