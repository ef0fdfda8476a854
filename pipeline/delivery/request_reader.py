"""Reads a request from its record: the body is decoded, body and headers are checked."""

import math
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from ...schemas import codec
from ...schemas.messages import Request
from ...schemas.topics import PRIORITIES, Header, Topics
from ..broker.base import Record
from ..engine.job import Job
from ..errors import BadHeader, DeadlineExceeded, TooLarge, UnknownTask, WrongType
from .arrival import MAX_ID_CHARACTERS, NO_HEADERS, Arrival, header_map
from .cancels import Cancels
from .leases import DEFAULT_LEASE_S, MAX_LEASE_S, MAX_NAME_CHARACTERS, MIN_LEASE_S, Lease

LEVELS: Final = f"one of {', '.join(PRIORITIES)}"
NORMAL: Final = PRIORITIES.index("normal")
ERA_S: Final = 5 * 365 * 86_400.0
UNITS: Final = {"seconds": 1e3, "microseconds": 1e-3, "nanoseconds": 1e-6}
"""Other units of Unix time, with what makes milliseconds of them."""

T = TypeVar("T")
D = TypeVar("D")


class RequestReader:
    """Reads the requests of one task. ``clock`` is the engine's, ``wall_clock`` gives Unix seconds."""

    def __init__(
        self,
        topics: Topics,
        max_request_bytes: int,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        cancels: Cancels | None = None,
        kind: type[Request] = Request,
    ) -> None:
        """``kind`` is the type of the task's requests, as its contract has it."""
        self._task = topics.task
        self._replies = topics.replies
        self._max_bytes = max_request_bytes
        self._clock = clock
        self._wall_clock = wall_clock
        self._kind = kind
        self._decode: Callable[[bytes | None, type[Request]], Request] = codec.decode_request
        self.cancels = cancels or Cancels()

    def arrival(self, record: Record) -> Arrival:
        """The record with its headers parsed. Raises nothing, whatever the headers hold."""
        if not record.headers:
            return Arrival(record, NO_HEADERS, self._replies)
        headers = header_map(record)
        named = headers.get(Header.REPLY_TOPIC)
        return Arrival(record, headers, self._replies if named is None else named.decode(errors="replace"))

    def read(self, arrival: Arrival) -> Job:
        """Decode and check; set the arrival's ``id``, ``job`` and ``lease``.

        Raises DecodeError, a BadRequest, or Cancelled.
        """
        value = arrival.record.value
        if value is not None and len(value) > self._max_bytes:
            arrival.id = self._id_in(value)  # its client waits for a reply with this id
            raise TooLarge(
                f"The request has {len(value)} bytes, more than the {self._max_bytes} allowed: split the text."
            )
        try:
            request = self._decode(value, self._kind)
        except codec.DecodeError as error:
            arrival.id = error.id
            raise
        arrival.id = request.id
        if request.id is not None and len(request.id) > MAX_ID_CHARACTERS:
            raise TooLarge(
                f"The field `id` is longer than {MAX_ID_CHARACTERS} characters: send a shorter one."
            )
        if request.task is not None and request.task != self._task:
            raise UnknownTask(
                f"This topic serves {self._task!r}, not {request.task!r}: send `task` {self._task!r} or none."
            )
        if not arrival.headers:
            arrival.job = Job(self._task, request, id=arrival.reply_id, key=arrival.key)
        else:
            arrival.job = self._job(request, arrival)
            if Header.LEASE in arrival.headers:
                arrival.lease = _lease(arrival.headers)
        if self.cancels.known:
            self.cancels.check(arrival)
        if request.supersedes is not None:
            _check_supersedes(request)
            self.cancels.announce(arrival)
        return arrival.job

    def _id_in(self, value: bytes) -> str | None:
        """The id in a body that is too large to be decoded."""
        return codec.id_in(value)

    def _job(self, request: Request, arrival: Arrival) -> Job:
        headers = arrival.headers
        return Job(
            self._task,
            request,
            model=_header(headers, Header.MODEL, str, "a name", None),
            tenant=_header(headers, Header.TENANT, str, "a name", ""),
            expires=self._expires(headers),
            priority=_header(headers, Header.PRIORITY, PRIORITIES.index, LEVELS, NORMAL),
            id=arrival.reply_id,
            key=arrival.key,
            release=_header(headers, Header.RELEASE, str, "a version", ""),
        )

    def _expires(self, headers: Mapping[str, bytes]) -> float:
        """The deadline in seconds of the engine's clock. Raises DeadlineExceeded if it has passed."""
        deadline_s = _header(headers, Header.DEADLINE_MS, _seconds, "Unix time in milliseconds", None)
        if deadline_s is None:
            return math.inf
        now_s = self._wall_clock()
        left_s = deadline_s - now_s
        if unit := other_unit(deadline_s, now_s):
            raise BadHeader(
                f"The header {Header.DEADLINE_MS!r} looks like {unit}: it must be Unix time in milliseconds, "
                f"as in {round(now_s * 1e3)} for now."
            )
        if left_s <= 0:
            raise DeadlineExceeded(
                f"The deadline had passed {-left_s:,.1f} s before the request was read, by the worker's clock: "
                "send it again with a later one."
            )
        return self._clock() + left_s


def _check_supersedes(request: Request) -> None:
    """Raises TooLarge or WrongType."""
    if len(request.supersedes or "") > MAX_ID_CHARACTERS:
        raise TooLarge(f"The field `supersedes` is longer than {MAX_ID_CHARACTERS} characters: no id is.")
    if request.supersedes == request.id:
        raise WrongType(
            "The field `supersedes` names the request itself: send the id of an earlier one, or leave it out."
        )


def _header(
    headers: Mapping[str, bytes], name: str, parse: Callable[[str], T], wanted: str, default: D
) -> T | D:
    """The parsed header, ``default`` where it is missing. Raises BadHeader."""
    value = headers.get(name)
    if value is None:
        return default
    try:
        return parse(value.decode())
    except (ValueError, OverflowError) as error:
        raise BadHeader(f"The header {name!r} must be {wanted}, got {value[:40]!r}.") from error


def _lease(headers: Mapping[str, bytes]) -> Lease:
    wanted = f"a name of at most {MAX_NAME_CHARACTERS} characters"
    name = _header(headers, Header.LEASE, _short, wanted, "")
    units = f"a number of milliseconds from {MIN_LEASE_S * 1e3:.0f} to {MAX_LEASE_S * 1e3:.0f}"
    return Lease(name, _header(headers, Header.LEASE_MS, _lasting, units, DEFAULT_LEASE_S))


def _short(name: str) -> str:
    if len(name) > MAX_NAME_CHARACTERS:
        raise ValueError(name)
    return name


def _lasting(milliseconds: str) -> float:
    seconds = int(milliseconds) / 1e3
    if not MIN_LEASE_S <= seconds <= MAX_LEASE_S:
        raise ValueError(milliseconds)
    return seconds


def other_unit(deadline_s: float, now_s: float) -> str | None:
    """The unit in which a deadline was given that means another era in milliseconds; None if it has none."""
    if abs(deadline_s - now_s) < ERA_S:
        return None
    for unit, factor in UNITS.items():
        if abs(deadline_s * factor - now_s) < ERA_S:
            return unit
    return None


def _seconds(milliseconds: str) -> float:
    return int(milliseconds) / 1e3
