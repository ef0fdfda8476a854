"""Durations and points in time on the command line."""

import time
from datetime import UTC, datetime

import click
import pytest

from inferstream.pipeline.cli.options.times import Duration, Timestamp


@pytest.mark.parametrize(
    ("text", "ms"),
    [("250ms", 250), ("2s", 2_000), ("30m", 1_800_000), ("12h", 43_200_000), ("7d", 604_800_000)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, ms: int) -> None:
    assert Duration().convert(text, None, None) == ms


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "7 d", "1y"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="as in 7d"):
        Duration().convert(text, None, None)


def test_a_timestamp_is_a_time_or_a_duration_before_now() -> None:
    moment = datetime(2026, 3, 1, 14, tzinfo=UTC)
    assert Timestamp().convert("2026-03-01T14:00+00:00", None, None) == moment.timestamp() * 1e3
    before = time.time() * 1e3
    assert before - 1 <= Timestamp().convert("2h", None, None) + 7_200_000 <= time.time() * 1e3 + 1


def test_an_invalid_timestamp_is_refused() -> None:
    with pytest.raises(click.BadParameter, match="write 2026-03-01T14:00, or how long ago"):
        Timestamp().convert("yesterday", None, None)
