"""Partitions of keys, against the values in the tests of Kafka's own client."""

import pytest

from inferstream.pipeline.broker.partitioner import murmur2, partition_of


@pytest.mark.parametrize(
    ("data", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_the_one_of_kafkas_clients(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed % 2**32


def test_partitions_are_in_range() -> None:
    assert {partition_of(b"%d" % number, 3) for number in range(100)} == {0, 1, 2}
    assert partition_of(b"", 1) == 0
