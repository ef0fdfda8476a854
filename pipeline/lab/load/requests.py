"""The requests of a load generator: good and bad ones of all kinds, reproducible from a seed."""

import random
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from ....schemas.topics import PRIORITIES, Header, Topics
from ...broker.base import Headers, Message
from .hostile import KINDS as HOSTILE
from .hostile import hostile_headers, hostile_text

FAILS: Final = "rehearsefails"
ABORTS: Final = "rehearseaborts"
AWAY: Final = "rehearseaway"
"""Words in a text at which the device of a chaos run fails, ends the process, or fails the first attempts only."""

DUE: Final = "rehearsedue"
"""Followed by Unix milliseconds: the deadline, repeated in the text, so that the device can count late rows."""

TALK: Final = (
    "the order was charged twice please refund it to my card parcel never came and tracking shows nothing since monday "
    "login fails after update password reset mail does not arrive app crashes on start invoice has wrong address "
    "cancel subscription camera offline again battery empty within hours can you help me today thanks support team"
)
WORDS: Final = TALK.split()
POOL: Final = 200
"""The number of distinct texts among those that repeat."""

LONG: Final = 400  # words: more than one window of the model


class Mix(Struct, frozen=True, forbid_unknown_fields=True):
    """The shares of the kinds of requests, each 0 to 1; a request is of one bad kind at most.

    With ``one_fails_in`` = n the device fails at every n-th request. Those of ``own_replies_share``
    name one of ``reply_topics`` reply topics, the first ones most often. Good ones have these ``options``.
    """

    words: tuple[int, int] = (5, 40)
    long_share: float = 0.0
    repeat_share: float = 0.3
    keys: int = 40
    any_order_share: float = 0.3
    priority_share: float = 0.2
    deadline_share: float = 0.0
    deadline_s: float = 20.0
    duplicate_share: float = 0.0
    garbage_share: float = 0.0
    fails_share: float = 0.0
    one_fails_in: int = 0
    aborts_share: float = 0.0
    away_share: float = 0.0
    giant_share: float = 0.0
    marks_share: float = 0.0
    headers_share: float = 0.0
    own_replies_share: float = 0.0
    reply_topics: int = 100
    options: dict[str, Any] = {}


class Planned(NamedTuple):
    """One request without the parts that depend on the time of its send.

    ``kind`` is good, again (a good one, repeated), garbage, fails, aborts, away, own_replies, or one of
    `hostile`. Without an ``id`` the reply carries the origin of the record (topic/partition/offset).
    ``replies`` is the last part of the name of a reply topic.
    """

    kind: str
    id: str | None
    key: bytes | None
    value: bytes
    headers: Headers = ()
    deadline_s: float | None = None
    replies: str = ""

    @property
    def good(self) -> bool:
        """Whether it must end with a result; others may end with a failure or a dead letter."""
        return self.kind in ("good", "again")

    def message(self, topics: Topics, now: float) -> Message:
        """The record to send at the Unix time ``now``."""
        headers = self.headers
        if self.replies:
            headers = (*headers, (Header.REPLY_TOPIC, f"{topics.replies}.{self.replies}".encode()))
        if self.deadline_s is None:
            return Message(topics.requests, self.value, self.key, headers)
        due = b"%d" % round((now + self.deadline_s) * 1e3)
        value = self.value.replace(DUE.encode(), DUE.encode() + due)
        return Message(topics.requests, value, self.key, (*headers, (Header.DEADLINE_MS, due)))


def requests(mix: Mix, run: str, seed: int) -> Iterator[Planned]:
    """An endless stream of requests; ids are RUN-NUMBER. The same arguments give the same requests."""
    rng = random.Random(f"{seed}/{run}")
    pool = [_text(rng, mix.words) for _ in range(POOL)]
    number = 0
    while True:
        planned = _one(rng, mix, f"{run}-{number}", pool)
        if mix.one_fails_in and number % mix.one_fails_in == mix.one_fails_in // 2:
            planned = _poisonous(rng, mix, "fails", f"{run}-{number}")
        yield planned
        if planned.good and rng.random() < mix.duplicate_share:
            yield planned._replace(kind="again")
        number += 1


def _one(rng: random.Random, mix: Mix, identity: str, pool: list[str]) -> Planned:
    bad = {
        "garbage": mix.garbage_share,
        "fails": mix.fails_share,
        "aborts": mix.aborts_share,
        "away": mix.away_share,
        "own_replies": mix.own_replies_share,
        "giant": mix.giant_share,
        "marks": mix.marks_share,
        "headers": mix.headers_share,
    }
    left = rng.random()
    key, headers = _key_and_headers(rng, mix)
    for kind, share in bad.items():
        if left < share:
            if kind == "garbage":
                return _garbage(rng, identity, key, headers)
            if kind in ("own_replies", *HOSTILE):
                return _strange(rng, mix, kind, identity)
            return _poisonous(rng, mix, kind, identity)
        left -= share
    return _good(rng, mix, identity, key, headers, pool)


def _good(
    rng: random.Random, mix: Mix, identity: str, key: bytes, headers: Headers, pool: list[str]
) -> Planned:
    if rng.random() < mix.repeat_share:
        return Planned("good", identity, key, _body(identity, rng.choice(pool), mix.options), headers)
    words = (LONG, 2 * LONG) if rng.random() < mix.long_share else mix.words
    text = f"{identity} {_text(rng, words)}"
    deadline_s = None
    if rng.random() < mix.deadline_share:
        text, deadline_s = f"{text} {DUE}", mix.deadline_s
    return Planned("good", identity, key, _body(identity, text, mix.options), headers, deadline_s)


def _strange(rng: random.Random, mix: Mix, kind: str, identity: str) -> Planned:
    """A request of a stranger, whose keys no other request has."""
    number = rng.randrange(mix.keys)
    key = b"stranger-%d" % number
    if kind == "own_replies":
        chosen = int(mix.reply_topics * rng.random() ** 3)
        return Planned(kind, identity, key, _body(identity, _text(rng, mix.words)), replies=f"own-{chosen}")
    text = f"{identity} {hostile_text(kind, number)}"
    return Planned(kind, identity, key, _body(identity, text), hostile_headers(kind))


def _poisonous(rng: random.Random, mix: Mix, kind: str, identity: str) -> Planned:
    marker = {"fails": FAILS, "aborts": ABORTS, "away": AWAY}[kind]
    text = f"{marker} {identity} {_text(rng, mix.words)}"
    key, headers = _key_and_headers(rng, mix)
    return Planned(kind, identity, key, _body(identity, text), headers)


def _key_and_headers(rng: random.Random, mix: Mix) -> tuple[bytes, Headers]:
    """The key of a customer, whose requests keep their order, or one with any order; the priority, if any."""
    number = rng.randrange(mix.keys)
    headers: Headers = ()
    if rng.random() < mix.priority_share:
        headers = ((Header.PRIORITY, rng.choice(PRIORITIES).encode()),)
    if rng.random() < mix.any_order_share:
        return b"free-%d" % number, (*headers, (Header.ORDER, b"any"))
    return b"customer-%d" % number, headers


def _garbage(rng: random.Random, identity: str, key: bytes, headers: Headers) -> Planned:
    body = {"id": identity, "text": "where is my order"}
    bodies: dict[str, tuple[str | None, bytes]] = {
        "empty_body": (None, b""),
        "not_utf8": (None, b"\xff\xfe\x00order " + identity.encode()),
        "not_json": (None, b"where is my order " + identity.encode()),
        "torn_json": (identity, b'{"id": "%b", "text": "where is' % identity.encode()),
        "blank_text": (identity, msgspec.json.encode(body | {"text": " \n "})),
        "missing_text": (identity, msgspec.json.encode({"id": identity})),
        "wrong_type": (identity, msgspec.json.encode(body | {"text": 7})),
        "wrong_option": (identity, msgspec.json.encode(body | {"options": {"threshold": "high"}})),
        "unknown_option": (identity, msgspec.json.encode(body | {"options": {"treshold": 0.5}})),
        "unknown_task": (identity, msgspec.json.encode(body | {"task": "juggle"})),
        "bad_deadline": (identity, msgspec.json.encode(body)),
        "bad_priority": (identity, msgspec.json.encode(body)),
        "unknown_model": (identity, msgspec.json.encode(body)),
        "reply_elsewhere": (identity, msgspec.json.encode(body)),
    }
    broken = {
        "bad_deadline": (Header.DEADLINE_MS, b"tomorrow"),
        "bad_priority": (Header.PRIORITY, b"most urgent"),
        "unknown_model": (Header.MODEL, b"oracle"),
        "reply_elsewhere": (Header.REPLY_TOPIC, b"somewhere.else"),
    }
    kind = rng.choice(list(bodies))
    known_as, value = bodies[kind]
    more = (broken[kind],) if kind in broken else ()
    return Planned("garbage", known_as, key, value, (*headers, *more))


def _text(rng: random.Random, words: tuple[int, int]) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(*words)))


def _body(identity: str, text: str, options: Mapping[str, Any] | None = None) -> bytes:
    body: dict[str, Any] = {"id": identity, "text": text}
    return msgspec.json.encode(body | {"options": options} if options else body)
