"""A worker whose alias has a stable version and a candidate with a fault: `python -m … CONFIG FAULT`, both as JSON.

Its models need no files, so it exchanges them itself when the alias changes; all else is what any worker does.
"""

import asyncio
import sys
import time
from typing import Final

import msgspec

from ...config import Config
from ...engine.cache.memory import MemoryCache
from ...engine.engine import Engine
from ...engine.model_entry import ModelEntry
from ...engine.trials.trial import Trial, TrialName
from ...models.releases.alias import AliasState
from ...models.releases.registry.opening import open_registry
from ...telemetry import configure_logging
from ..engine_worker import serve_engine
from .versions import CANDIDATE, STABLE, VersionFault, an_entry

TASK: Final = "triage"
ALIAS: Final = "prod"
FOLLOW_S: Final = 0.2


def command(config: Config, fault: VersionFault) -> list[str]:
    """The command line that starts this worker."""
    arguments = [msgspec.json.encode(one).decode() for one in (config, fault)]
    return [sys.executable, "-m", __spec__.name, *arguments]


def served(state: AliasState, entries: dict[str, ModelEntry]) -> ModelEntry | Trial:
    """What the alias stands for."""
    if state.candidate is None or state.rollout is None:
        return entries[state.stable]
    name = TrialName(TASK, ALIAS, state.number, state.at)
    return Trial(name, state.rollout, entries[state.stable], entries[state.candidate])


async def serve(config: Config, fault: VersionFault) -> None:
    """Serve until SIGTERM."""
    store = open_registry(config.registry.url, limit_s=config.registry.timeout_s)
    entries = {STABLE: an_entry(STABLE, VersionFault("none")), CANDIDATE: an_entry(CANDIDATE, fault)}
    name = f"{TASK}@{ALIAS}"
    state = store.alias(TASK, ALIAS)
    memory = MemoryCache(1_000_000)
    engine = Engine({TASK: {name: served(state, entries)}}, memory=memory, disk=None, clock=time.monotonic)

    async def follow(state: AliasState) -> None:
        while True:
            await asyncio.sleep(FOLLOW_S)
            found = await asyncio.to_thread(store.alias, TASK, ALIAS)
            if found.number != state.number:
                state = found
                if state.candidate:  # its device was stopped when an earlier rollout ended
                    entries[state.candidate] = an_entry(state.candidate, fault)
                engine.exchange(TASK, {name: served(state, entries)})

    following = asyncio.create_task(follow(state))
    await serve_engine(config, TASK, engine)
    following.cancel()


if __name__ == "__main__":
    configure_logging()
    asyncio.run(
        serve(
            msgspec.json.decode(sys.argv[1], type=Config), msgspec.json.decode(sys.argv[2], type=VersionFault)
        )
    )
