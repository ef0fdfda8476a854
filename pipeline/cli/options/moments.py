"""Moments on the command line: a date and time, or how long ago."""

import time
from datetime import datetime
from typing import Any

import click

from ..commands.topics import Duration


class Moment(click.ParamType):
    """A moment as Unix time in milliseconds: ISO 8601, in local time unless it says otherwise, or `30m` for then."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return round(datetime.fromisoformat(str(value)).astimezone().timestamp() * 1e3)
        except (ValueError, OverflowError):
            pass
        try:
            return round(time.time() * 1e3) - Duration().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(
                f"{value!r} is no time: write 2026-03-01T14:00, or how long ago, as in 30m, 12h, 7d.",
                param,
                ctx,
            )


def local_time(unix_ms: int) -> str:
    """A moment for a reader, to the second."""
    try:
        return datetime.fromtimestamp(unix_ms / 1e3).astimezone().isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return str(unix_ms)
