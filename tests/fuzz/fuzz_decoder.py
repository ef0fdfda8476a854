"""Bytes that coverage steers, through the decoder and the handler: never an exception, always a defined outcome.

Run as a program, with options of libFuzzer, e.g. -runs=1000000, and a folder for what it has found worth keeping.
The input is a record: its first byte says how many headers it has and what its body is (these bytes themselves, a
request with them as text, or with them among its fields), and each piece before it begins with its own length.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent.parent))
with atheris.instrument_imports(include=["inferstream.schemas", "inferstream.pipeline.delivery"]):
    from support.handler_rig import HEADERS, TOPICS, FailingHandlerRig, check

    from inferstream.pipeline.broker.base import Record
    from inferstream.schemas.codec import DecodeError, decode_reply, decode_request


BODIES: tuple[Callable[[bytes], bytes], ...] = (
    lambda rest: rest,
    lambda rest: json.dumps({"text": rest.decode(errors="replace")}).encode(),
    lambda rest: json.dumps({"id": "t1", "text": rest.decode(errors="surrogateescape")}).encode(),
    lambda rest: b'{"text":"I was charged twice",' + rest + b"}",
    lambda rest: b'{"text":"again","id":' + rest + b"}",
    lambda rest: b'{"text":"again","options":{' + rest + b"}}",
    lambda rest: b'{"text":"again","stream":true,' + rest + b"}",
)


def pieces(data: bytes) -> Iterator[bytes]:
    """What is left of ``data`` cut into pieces, each after a byte with its length."""
    while data:
        yield data[1 : 1 + data[0]]
        data = data[1 + data[0] :]


def record_of(data: bytes) -> Record:
    count, kind, rest = data[0] % 5, data[0] // 5 % len(BODIES), data[1:]
    cut = list(pieces(rest))
    named = zip(cut[0 : 2 * count : 2], cut[1 : 2 * count : 2], strict=False)
    headers = tuple((header_name(name), value) for name, value in named)
    size = sum(1 + len(piece) for piece in cut[: 2 * count + 1])
    key = cut[2 * count] or None if len(cut) > 2 * count else None
    return Record(TOPICS.requests, 1, 41, key, BODIES[kind](rest[size:]) or None, headers, 0)


def header_name(name: bytes) -> str:
    """One byte stands for one of our own headers."""
    return HEADERS[name[0] % len(HEADERS)] if len(name) == 1 else name.decode(errors="replace")


def fuzzer(rig: FailingHandlerRig) -> Callable[[bytes], None]:
    def one_input(data: bytes) -> None:
        for decode in (decode_request, decode_reply):
            try:
                decode(data)
            except DecodeError as error:
                assert error.message  # noqa: PT017 - no test of pytest
        if data:
            record = record_of(data)
            check(record, rig.outcome(record))

    return one_input


def main() -> None:
    with FailingHandlerRig() as rig:
        atheris.Setup(sys.argv, fuzzer(rig))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
