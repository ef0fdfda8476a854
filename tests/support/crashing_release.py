"""A worker in a process of its own that ends when it tries one version, as a fault in native code does.

Arguments: the registry, that version, and what ends it: ``segv``, ``kill``, ``exit`` (in order), or ``hang``. If the
alias has a file ``later``, that is its second state once the worker serves. Prints the release that answers and what
was refused, after one look at the alias.
"""

import asyncio
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from inferstream import Config, Edge
from inferstream.pipeline.config import CacheConfig, EngineConfig, RegistryConfig
from inferstream.pipeline.runtime.model import Model
from inferstream.pipeline.serving.releases import first_texts, opening

registry, version, way = sys.argv[1:]
answer_alone = first_texts.answer_alone
ending = threading.Event()


def tried(entry: Any, model: Model, *more: Any) -> bytes | None:
    if entry.release == version:
        if way == "exit":
            ending.set()
            threading.Event().wait()
        elif way == "hang":
            more[-1]()
            threading.Event().wait()
        os.kill(os.getpid(), signal.SIGSEGV if way == "segv" else signal.SIGKILL)
    return answer_alone(entry, model, *more)


def change_alias() -> None:
    later = Path(registry, "aliases/triage/prod/later")
    if later.exists():
        later.rename(later.with_name("00000002.json"))


async def serve() -> None:
    config = Config(
        cache=CacheConfig(disk_bytes=0),
        engine=EngineConfig(run_timeout_s=1.0),
        registry=RegistryConfig(registry, poll_s=1e9),
    )
    edge = Edge(config, task="triage", models=["triage@prod"])
    async with edge as client:
        follower = edge.serving.follower
        assert follower is not None
        change_alias()
        looking = asyncio.create_task(follower.look())
        while not looking.done():
            if ending.is_set():
                return
            await asyncio.sleep(0.01)
        await looking
        answer = await client.request("triage", "my card is broken")
        (alias,) = follower.followed[0].aliases.values()
        refused = {one: refusal.reason for one, refusal in alias.refusals.items()}
        page = edge.serving.metrics.render().decode()
        counted = 'inferstream_release_refusals_total{task="triage"} 1.0' in page
        print(json.dumps({"release": answer.reply.release, "refused": refused, "counted": counted}))


if __name__ == "__main__":
    first_texts.answer_alone = tried
    assert opening.check_answers is first_texts.check_answers
    asyncio.run(serve())
