"""An engine with a candidate beside the stable version, for tests of rollouts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cache.memory import MemoryCache
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.engine_answer import EngineAnswer
from inferstream.pipeline.engine.job import Job
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.engine.trials.answering import TrialEngine
from inferstream.pipeline.engine.trials.trial import Trial, TrialName
from inferstream.pipeline.errors import DeviceUnavailable
from inferstream.pipeline.models.releases.alias import Mode, Rollout
from inferstream.pipeline.rollouts.limits import RolloutLimits
from inferstream.pipeline.runtime.encoder import Encoder
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.runtime.model import RUN
from inferstream.pipeline.tasks.base import Finished
from support.echo import Echo, a_job

STABLE: Final = "aaaaaaaaaaaa"
CANDIDATE: Final = "bbbbbbbbbbbb"
ALIAS: Final = "echo@prod"
BREAKS: Final = "!"
"""The candidate fails on texts with this character; both do on those with `BREAKS_BOTH`."""
BREAKS_BOTH: Final = "#"
GONE: Final = "?"
"""The device of the candidate cannot be reached for texts with this character."""
DIFFERS: Final = "~"
"""The candidate answers texts with this character differently."""


class Version(Echo):
    """An `Echo` of one release."""

    def __init__(self, release: str) -> None:
        super().__init__("echo")
        self.version = f"v-{release}"
        self.digest = release.encode()

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        answers = super().finish(finished)
        if self.digest != CANDIDATE.encode():
            return answers
        return [answer.replace(DIFFERS.encode(), b"-") for answer in answers]


class Died(NamedTuple):
    """The crash note of a device on which workers ended."""

    died: int


class TrialRig:
    """An engine under whose alias a candidate is on trial."""

    def __init__(
        self,
        mode: Mode = "canary",
        share: float = 0.5,
        limits: RolloutLimits | None = None,
        clock: Callable[[], float] | None = None,
        sessions: tuple[Any, Any] | None = None,
        died: int = 0,
    ) -> None:
        self.clock = clock or FakeClock()
        self.stable_session, self.candidate_session = sessions or (
            FakeSession(poison=[ord(BREAKS_BOTH)]),
            FakeSession(poison=[ord(BREAKS_BOTH), ord(BREAKS)], fail_on={ord(GONE): DeviceUnavailable}),
        )
        self.stable = self._entry(STABLE, self.stable_session)
        self.candidate = self._entry(CANDIDATE, self.candidate_session)
        if died:
            self.candidate.device._note = Died(died)  # type: ignore[assignment]
        self.trial = Trial(
            TrialName("echo", "prod", 2),
            Rollout(mode, share, limits or RolloutLimits()),
            self.stable,
            self.candidate,
        )
        self.engine = Engine(
            {"echo": {ALIAS: self.trial}}, memory=MemoryCache(1_000_000), disk=None, clock=self.clock
        )
        self.trials = TrialEngine(self.engine)

    async def ask(self, text: str, key: str | None = None, **more: Any) -> EngineAnswer:
        return await self.trials.answer(self.job(text, key, **more))

    def job(self, text: str, key: str | None = None, **more: Any) -> Job:
        return a_job(text, key=(key or text).encode(), **more)

    def key_of(self, release: str, number: int = 0) -> str:
        """A key whose requests this version answers."""
        found = (
            f"key-{n}"
            for n in range(100_000)
            if self.trial.takes(self.job("", f"key-{n}")) == (release == CANDIDATE)
        )
        return [next(found) for _ in range(number + 1)][number]

    def _entry(self, release: str, session: Any) -> ModelEntry:
        device = Device(
            Encoder(session),
            Limits(4_096, 64),
            {RUN: Cost((10.0, 0.01, 0.0001, 1e-7))},
            LaneSettings(1, self.clock, self.clock),
        )
        return ModelEntry(Version(release), device, release)


@asynccontextmanager
async def a_trial_rig(*args: Any, **more: Any) -> AsyncIterator[TrialRig]:
    rig = TrialRig(*args, **more)
    async with asyncio.timeout(20), rig.engine:
        comparing = asyncio.create_task(rig.trials.comparisons.run())
        try:
            yield rig
        finally:
            comparing.cancel()
            for session in (rig.stable_session, rig.candidate_session):
                session.release()


async def until(condition: Callable[[], Any]) -> None:
    """Wait until the condition holds; the rig limits the time."""
    while not condition():  # noqa: ASYNC110 - threads of the engine make it true
        await asyncio.sleep(0.001)
