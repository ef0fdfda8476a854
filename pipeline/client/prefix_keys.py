"""Keys of prompts: those that begin alike go to few partitions, whose workers keep what they have read of them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import chain, takewhile
from math import gcd
from typing import Final, NamedTuple, Protocol

from ..broker.partitioner import murmur2

SPREAD: Final = 4
"""Partitions of one beginning, while they are not full. Each of their workers reads it once."""

DEEP: Final = 8
"""Requests of this client that wait in a partition before another one is preferred: as many as a lane runs at once."""

PREFIX_CHARACTERS: Final = 128
"""How much of a prompt without a system message is its prefix: about 30 tokens. To read fewer again costs little."""

START_CHARACTERS: Final = 1_024
"""How much of a text tells it from others with its prefix. A text that is sent again longer keeps its partition."""

START: Final = "start"
"""Hashed with a start: a short prompt would have one number for both, and some partitions would stay empty."""


class Said(Protocol):
    """A message of a conversation."""

    @property
    def role(self) -> str: ...

    @property
    def content(self) -> str: ...


class Beginning(NamedTuple):
    """How a prompt begins, as hashes.

    Attributes:
        prefix: what many prompts share: the system message, or the first characters.
        start: what the turns of one conversation share: all up to the first message of the user.
    """

    prefix: int
    start: int


def beginning_of(prompt: str | Sequence[Said]) -> Beginning:
    """Of a text, or of the messages of a conversation. Takes time linear in their size up to the first answer."""
    if isinstance(prompt, str):
        return Beginning(_hash(prompt[:PREFIX_CHARACTERS]), _hash(START, prompt[:START_CHARACTERS]))
    led = list(takewhile(lambda said: said.role != "user", prompt))
    first = prompt[len(led) : len(led) + 1]
    shared = list(_parts(led)) or [said.content[:PREFIX_CHARACTERS] for said in first]
    return Beginning(_hash(*shared), _hash(START, *_parts([*led, *first])))


class PrefixKeys:
    """Chooses the record keys of one topic's prompts.

    A beginning has an order of all partitions. The first of them, ``spread`` many, are preferred; which one a prompt
    takes follows from its start, so the turns of a conversation and equal requests meet where the last one was
    read. While this client has ``deep`` requests there, others come next, in the end all: a beginning that
    all requests share neither queues behind itself nor fills a partition. So the key promises no order.
    """

    def __init__(self, partitions: int, deep: int = DEEP) -> None:
        """``partitions``: of the topic, at least one."""
        self._partitions = partitions
        self._deep = deep
        self._keys: dict[int, bytes] = {}
        self._partition_of: dict[bytes, int] = {}
        self._tried = 0
        self._waiting: Counter[int] = Counter()

    def take(self, beginning: Beginning, spread: int = SPREAD) -> bytes:
        """The key for a request, which counts as waiting until `end`. A ``spread`` beyond the partitions means all."""
        order = _order(beginning, self._partitions, min(spread, self._partitions))
        partition = next(order)
        if self._waiting[partition] >= self._deep:
            # By full steps of ``deep``, so that the first ones of equally full partitions are still preferred.
            partition = min(chain([partition], order), key=lambda one: self._waiting[one] // self._deep)
        self._waiting[partition] += 1
        return self._key_of(partition)

    def end(self, key: bytes) -> None:
        """A request with this key has its answer."""
        partition = self._partition_of[key]
        self._waiting[partition] -= 1
        if not self._waiting[partition]:
            del self._waiting[partition]

    def _key_of(self, partition: int) -> bytes:
        """A key that the broker's partitioner gives this partition."""
        while partition not in self._keys:
            key = b"prefix-%d" % self._tried
            self._tried += 1
            found = (murmur2(key) & 0x7FFFFFFF) % self._partitions
            if found not in self._keys:
                self._keys[found] = key
                self._partition_of[key] = found
        return self._keys[partition]


def conversation_key(name: str, tenant: str | None) -> bytes:
    """The key of a conversation's turns. Tenants share no conversation, whatever they call theirs."""
    key = name.encode(errors="replace")
    if not tenant:
        return key
    owner = tenant.encode(errors="replace")
    return b"%d:%b:%b" % (len(owner), owner, key)  # the length tells ("a", "b:c") from ("a:b", "c")


def _order(beginning: Beginning, partitions: int, spread: int) -> Iterator[int]:
    """All partitions, each once: the preferred ones from that of the start on, then the others."""
    home = beginning.prefix % partitions
    # A step without a common divisor reaches each partition; two beginnings with one home seldom have the same.
    step = 1 + beginning.prefix // partitions % max(1, partitions - 1)
    while gcd(step, partitions) > 1:
        step += 1
    own = beginning.start % spread
    for number in chain(range(own, spread), range(own), range(spread, partitions)):
        yield (home + number * step) % partitions


def _parts(messages: Sequence[Said]) -> Iterator[str]:
    for said in messages:
        yield said.role
        yield said.content


def _hash(*parts: str) -> int:
    hashed = blake2b(digest_size=8)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        hashed.update(len(encoded).to_bytes(8, "big"))
        hashed.update(encoded)
    return int.from_bytes(hashed.digest(), "big")
