"""Counting from the topics themselves: did every request end, and how often?"""

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple, Self

from msgspec import Struct, field

from ....schemas.codec import DecodeError, decode_reply, decode_request
from ....schemas.messages import Chunk, Failure
from ....schemas.topics import Topics
from ...broker.base import Broker, Consumer, Record, TopicPartition
from ...errors import BrokerError

POLL_RECORDS: Final = 5_000
SILENCE_MS: Final = 10_000


class Verdict(NamedTuple):
    """What stands in the topics of one run."""

    requests: int
    results: int
    failures: int
    dead_letters: int
    lost: int
    duplicated: int

    @property
    def terminal_events(self) -> int:
        return self.results + self.failures + self.dead_letters

    @property
    def clean(self) -> bool:
        return not self.lost and not self.duplicated


class Ledger(Struct):
    """Requests and terminal events by id."""

    requests: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)

    def verdict(self) -> Verdict:
        ended = self.results + self.failures + self.dead_letters
        return Verdict(
            requests=self.requests.total(),
            results=self.results.total(),
            failures=self.failures.total(),
            dead_letters=self.dead_letters.total(),
            lost=(self.requests - ended).total(),
            duplicated=(ended - self.requests).total(),
        )


class Auditor:
    """Reads what was added to the topics since it was opened, of the requests whose ids begin with ``run``."""

    def __init__(
        self, consumer: Consumer, topics: Topics, run: str, starts: Mapping[TopicPartition, int]
    ) -> None:
        self._consumer, self._topics, self._prefix, self._starts = consumer, topics, f"{run}-", starts

    @classmethod
    async def open(cls, broker: Broker, topics: Topics, run: str) -> Self:
        consumer = await broker.consume([topics.requests, topics.replies, topics.dead_letters])
        starts = await consumer.end_offsets(consumer.assignment())
        await consumer.seek(starts)
        return cls(consumer, topics, run, starts)

    async def judge(self) -> Verdict:
        """Read to the present end of each partition. Raises BrokerError when the records do not come."""
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        unread = {place for place, end in ends.items() if end > self._starts[place]}
        ledger = Ledger()
        while unread:
            records = await self._consumer.poll(POLL_RECORDS, SILENCE_MS)
            if not records:
                raise BrokerError(
                    "The audit cannot read the topics to their ends: is the broker still there?"
                )
            for record in records:
                self._note(record, ledger)
                place = TopicPartition(record.topic, record.partition)
                if record.offset + 1 >= ends[place]:
                    unread.discard(place)
        return ledger.verdict()

    def _note(self, record: Record, ledger: Ledger) -> None:
        try:
            if record.topic == self._topics.replies:
                reply = decode_reply(record.value)
                if not isinstance(reply, Chunk):
                    self._count(ledger.failures if isinstance(reply, Failure) else ledger.results, reply.id)
                return
            request_id = decode_request(record.value).id
        except DecodeError as error:
            request_id = error.id
        self._count(
            ledger.requests if record.topic == self._topics.requests else ledger.dead_letters, request_id
        )

    def _count(self, counter: Counter[str], request_id: str | None) -> None:
        if request_id and request_id.startswith(self._prefix):
            counter[request_id] += 1
