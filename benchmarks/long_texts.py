"""How much memory and time long texts take in a worker, and what short ones of another tenant wait meanwhile.

    python benchmarks/long_texts.py '!?' 1000000 64      # piece, characters of a text, texts

Prints resident megabytes before, at the peak and after, and how the requests ended. The model is the one of the
settings (`inferstream models pull minilm` first). No broker takes part: the texts go to the engine of a worker.
"""

import asyncio
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.config import CacheConfig, Config
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.job import Job
from inferstream.pipeline.errors import InferstreamError
from inferstream.pipeline.serving.build import build_worker
from inferstream.schemas.messages import Request

SHORT_DEADLINE_S = 2.0


def resident_mb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 10**6


def job_of(text: str, **more: Any) -> Job:
    return Job("triage", Request(text=text), **more)


async def code_of(engine: Engine, job: Job) -> str:
    try:
        await engine.answer(job)
    except InferstreamError as error:
        return error.code
    return "ok"


async def main(piece: str, characters: int, texts: int) -> None:
    config = Config(cache=CacheConfig(disk_bytes=0))
    engine = build_worker(config, EmbeddedBroker(), {"triage": []}).engine
    async with engine:
        await code_of(engine, job_of("warm up"))
        print(f"before: {resident_mb()} MB")
        began = time.monotonic()
        long = [
            asyncio.create_task(
                code_of(engine, job_of(f"{number} " + piece * (characters // len(piece)), tenant="long"))
            )
            for number in range(texts)
        ]
        waits: list[float] = []
        codes: Counter[str] = Counter()
        while not all(one.done() for one in long):
            asked = time.monotonic()
            job = job_of(f"card {asked}", tenant="short", expires=engine.clock() + SHORT_DEADLINE_S)
            codes[await code_of(engine, job)] += 1
            waits.append(time.monotonic() - asked)
            await asyncio.sleep(0.05)
        ended: Any = Counter(one.result() for one in long)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 10**6
        print(f"peak: {peak} MB, after: {resident_mb()} MB, {time.monotonic() - began:.1f} s")
        waits.sort()
        print(f"long: {dict(ended)}; short: {dict(codes)}, longest wait {waits[-1]:.2f} s")
        print(f"short waits: median {waits[len(waits) // 2] * 1e3:.0f} ms")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
