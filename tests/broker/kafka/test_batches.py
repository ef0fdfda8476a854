"""No batch stops its reader: what cannot be read becomes one record that names the offsets it takes."""

import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.wire import legacy_message, pack, wire_batch, wire_record, xerial

from inferstream.pipeline.broker.kafka.batches import Batches, BatchLimits
from inferstream.pipeline.broker.kafka.unpacking import TooManyBytes, unpack

LIMIT = 100_000
COMPRESSED = ("gzip", "snappy", "lz4", "zstd")


def read(content: bytes, limit: int = LIMIT) -> list[object]:
    """All records of the batches, after the check of their sums as aiokafka does it."""
    batches = Batches(content, BatchLimits(limit))
    records: list[object] = []
    while batches.has_next():
        batch = batches.next_batch()
        assert batch.validate_crc() or batch.validate_crc()  # the second time, it is read all the same
        records += list(batch)
    return records


def values(records: list[object]) -> list[bytes | None]:
    return [record.value for record in records]  # type: ignore[attr-defined]


@pytest.mark.parametrize("codec", ["none", *COMPRESSED])
def test_a_batch_within_the_limit_is_read(codec: str) -> None:
    records = [wire_record(n, b"%d" % n, b"k", [(b"name", b"x"), (b"none", None)]) for n in range(7)]
    found = read(wire_batch(records, codec, offset=40))
    assert values(found) == [b"%d" % n for n in range(7)]
    assert [record.offset for record in found] == list(range(40, 47))  # type: ignore[attr-defined]


def test_javas_framing_of_snappy_is_read() -> None:
    records = [wire_record(0, b"x" * 90_000)]
    found = read(wire_batch(records, "snappy", packed=xerial(b"".join(records))))
    assert values(found) == [b"x" * 90_000]


@pytest.mark.parametrize("codec", [*COMPRESSED, "xerial"])
def test_a_batch_above_the_limit_names_its_offsets_and_others_are_read(codec: str) -> None:
    bomb = [wire_record(n, b"\0" * LIMIT) for n in range(3)]
    packed = xerial(b"".join(bomb)) if codec == "xerial" else None
    name = "snappy" if codec == "xerial" else codec
    before, after = wire_batch([wire_record(0, b"before")]), wire_batch([wire_record(0, b"after")], offset=14)
    found = read(before + wire_batch(bomb, name, packed=packed, offset=11) + after)
    assert values(found) == [b"before", None, b"after"]
    unread = found[1]
    assert (unread.offset, unread.checksum.first_offset) == (13, 11)  # type: ignore[attr-defined]
    assert "more than 100000 bytes" in unread.checksum.reason  # type: ignore[attr-defined]


@pytest.mark.parametrize("codec", COMPRESSED)
@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_is_exact(codec: str, over: int) -> None:
    packed = pack(codec, b"\0" * (1_000 + over))
    number = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}[codec]
    if over:
        with pytest.raises(TooManyBytes):
            unpack(number, packed, b"head", 1_000)
    else:
        assert unpack(number, packed, b"head", 1_000) == b"head" + b"\0" * 1_000


@given(content=st.binary(max_size=300), codec=st.sampled_from([1, 2, 3, 4, 5, 6, 7]))
@settings(max_examples=300)
def test_bytes_that_are_no_content_of_a_codec_raise_only_value_errors(content: bytes, codec: int) -> None:
    with suppress(ValueError):
        assert len(unpack(codec, content, b"", 1_000)) <= 1_000


MEASURE = """
import resource, sys
from inferstream.pipeline.broker.kafka.batches import Batches, BatchLimits
content = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
batches = Batches(content, BatchLimits(16_777_216))
batch = batches.next_batch()
assert batch.validate_crc()
(record,) = batch
assert record.checksum is not None
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("codec", COMPRESSED)
def test_refusing_takes_little_memory(codec: str, tmp_path: Path) -> None:
    """200 MB of zeros; in a process of its own, since the peak of a process never falls."""
    path = tmp_path / "bomb"
    path.write_bytes(wire_batch([wire_record(0, b"\0" * 200_000_000)], codec))
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 60_000  # kB


def test_a_header_name_that_is_not_utf8_costs_nothing_but_its_name() -> None:
    strange = [(b"\xff\xfe", b"1"), (b"good", b"2"), (b"\xff\xff", None)]
    records = [wire_record(n, b"%d" % n, b"k", strange if n == 3 else [(b"good", b"3")]) for n in range(10)]
    for codec in ("none", *COMPRESSED):
        found = read(wire_batch(records, codec, offset=5))
        assert values(found) == [b"%d" % n for n in range(10)]
        assert [record.offset for record in found] == list(range(5, 15))  # type: ignore[attr-defined]
        assert found[3].headers == (("\\xff\\xfe", b"1"), ("good", b"2"), ("\\xff\\xff", None))  # type: ignore[attr-defined]
        assert {record.timestamp for record in found} == {1_700_000_000_000}  # type: ignore[attr-defined]


def test_damaged_records_lose_only_themselves_and_what_follows_in_their_batch() -> None:
    records = [wire_record(0, b"0"), wire_record(1, b"1"), b"\x7f\x7f", wire_record(3, b"3")]
    found = read(wire_batch(records) + wire_batch([wire_record(0, b"next")], offset=4))
    assert values(found) == [b"0", b"1", None, b"next"]
    assert (found[2].checksum.first_offset, found[2].offset) == (2, 3)  # type: ignore[attr-defined]


def test_a_wrong_checksum_is_fetched_again_once() -> None:
    content = bytearray(wire_batch([wire_record(0, b"value")]))
    struct.pack_into(">I", content, 17, 1)
    limits = BatchLimits(LIMIT)
    assert not Batches(bytes(content), limits).next_batch().validate_crc()
    again = Batches(bytes(content), limits).next_batch()
    assert again.validate_crc()
    (unread,) = again
    assert "checksum" in unread.checksum.reason


@given(data=st.data())
@settings(max_examples=300)
def test_any_bytes_after_the_fields_of_a_batch_are_accounted_for(data: st.DataObject) -> None:
    """Each offset of the batch is in a record, or in the range of the one that could not be read."""
    good = data.draw(st.integers(0, 5))
    rest = data.draw(st.binary(max_size=60))
    count = data.draw(st.integers(max(1, good), 8))
    records = [wire_record(n, b"%d" % n) for n in range(good)]
    found = read(wire_batch([*records, rest], offset=100, count=count))
    covered = 100
    for record in found:
        unread = record.checksum  # type: ignore[attr-defined]
        if unread is not None:
            assert unread.first_offset <= covered
            covered = record.offset + 1  # type: ignore[attr-defined]
        else:  # offsets may have gaps, as after a compaction
            covered = max(covered, record.offset + 1)  # type: ignore[attr-defined]
    assert values(found)[:good] == [b"%d" % n for n in range(good)]


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4"])
def test_messages_of_old_versions_are_bounded_too(magic: int, codec: str) -> None:
    inner = legacy_message(b"small", magic=magic)
    whole = legacy_message(pack(codec, inner), codec, magic=magic)
    bomb = legacy_message(
        pack(codec, legacy_message(b"\0" * 2 * LIMIT, magic=magic)), codec, magic=magic, offset=1
    )
    nested = legacy_message(pack(codec, whole), codec, magic=magic, offset=2)
    plain = legacy_message(b"plain", magic=magic, offset=3)
    found = values(read(whole + bomb + nested + plain))
    assert found == [None if (magic, codec) == (0, "lz4") else b"small", None, None, b"plain"]
