"""The message on the topic of members: what one worker of a group can answer, and which partitions it reads."""

from typing import Final

import msgspec
from msgspec import Struct

from .codec import DecodeError

MAX_ANNOUNCEMENT_BYTES: Final = 16_000
"""Some 500 names."""


class Member(Struct, frozen=True, omit_defaults=True):
    """A worker of a consumer group says what it has. Its name is also the key of the record.

    Attributes:
        name: of the worker, unique among all workers.
        group: its consumer group.
        models: names of models, and versions of releases as ``triage@0123456789ab``.
        partitions: of the request topic that it reads.
        leaves: true in the last announcement of a worker that stops.
    """

    name: str
    group: str
    models: list[str] = []
    partitions: list[int] = []
    leaves: bool = False


_decoder: Final = msgspec.json.Decoder(Member)


def decode_member(value: bytes | None) -> Member:
    """The message in the body of a record. Raises only DecodeError, whatever the bytes are."""
    if len(value or b"") > MAX_ANNOUNCEMENT_BYTES:
        raise DecodeError("too_large", f"An announcement has at most {MAX_ANNOUNCEMENT_BYTES} bytes.")
    try:
        return _decoder.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError("not_json", f"The body is not an announcement: {error}.") from error
