"""What programs with our own client do in a run beside the plain load, and what they see."""

import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from ....schemas.topics import Topics
from ...broker.base import Broker, Record
from ...client.client import Client
from ...config import Config
from .caption_counts import CaptionCounts
from .caption_load import ID_PREFIX as SPEAKER
from .caption_load import CaptionLoad
from .client_faults import ClientFaults
from .conversation_load import ConversationLoad
from .conversation_log import ID_PREFIX as CALLER
from .conversation_log import ConversationLog
from .scenario import Scenario
from .speaker_faults import SpeakerFaults, Speaking
from .stream_load import StreamLoad
from .stream_log import StreamLog

SPEAKERS_MODULE = "inferstream.pipeline.lab.chaos.leaving_speakers"
CALLERS_MODULE = "inferstream.pipeline.lab.chaos.leaving_callers"


class Customers:
    """Streams, captions and conversations, as the scenario says. Times are those of the run's clock."""

    def __init__(self, scenario: Scenario, topics: Topics, seed: int, now_s: Callable[[], float]) -> None:
        self._scenario = scenario
        self._topics = topics
        self._seed = seed
        self._now_s = now_s
        self._streams = StreamLog(now_s)
        self._conversations = ConversationLog(now_s)
        self.streams = self._streams.counts
        self.captions = CaptionCounts()
        self.conversations = self._conversations.counts

    @property
    def open(self) -> int:
        """Streams that were left and have not ended."""
        return self.streams.open + self.conversations.open

    def read(self, record: Record) -> None:
        """Note a record of the reply topic."""
        if self._scenario.conversations:
            self._conversations.read(record)
        else:
            self._streams.read(record)

    def faults(self, broker: Broker, config: Config, folder: Path) -> ClientFaults | SpeakerFaults:
        """What kills client processes."""
        scenario = self._scenario
        if scenario.captions:
            speaking = Speaking(SPEAKERS_MODULE, SPEAKER, self.captions.left)
        elif scenario.conversations:
            speaking = Speaking(CALLERS_MODULE, CALLER, self.conversations.killed)
        else:
            return ClientFaults(scenario.task, config, folder, self._streams)
        return SpeakerFaults(broker, self._topics, config, folder, speaking)

    def loads(
        self, broker: Broker, seconds: float, calm_s: float, over: Callable[[], bool]
    ) -> list[Coroutine[Any, Any, None]]:
        """Their work: that of streams for ``seconds``, all other until it is ``over``."""
        return [
            self._load_streams(broker, seconds),
            self._load_captions(broker, over),
            self._load_conversations(broker, calm_s, over),
        ]

    async def _load_streams(self, broker: Broker, seconds: float) -> None:
        if per_s := self._scenario.streams_per_s:
            load = StreamLoad(broker, self._topics, self._streams, self._seed)
            await load.send(per_s, time.monotonic() + seconds)

    async def _load_captions(self, broker: Broker, over: Callable[[], bool]) -> None:
        if speakers := self._scenario.captions:
            async with Client(broker=broker, prefix=self._topics.prefix) as client:
                await CaptionLoad(client, self.captions, self._now_s, self._seed).send(speakers, over)

    async def _load_conversations(self, broker: Broker, calm_s: float, over: Callable[[], bool]) -> None:
        if callers := self._scenario.conversations:
            async with Client(broker=broker, prefix=self._topics.prefix) as client:
                log = self._conversations
                await ConversationLoad(client, log, self._now_s, self._seed, calm_s).send(callers, over)
