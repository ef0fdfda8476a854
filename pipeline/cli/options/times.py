"""Types of options: a point in time, and a duration."""

import re
import time
from datetime import datetime
from typing import Any, Final

import click

UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Duration(click.ParamType):
    """A number and a unit, e.g. `12h`, as milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d+)(ms|s|m|h|d)", str(value))
        if not found:
            self.fail(f"{value!r} is no duration: write a number and a unit, as in 7d, 12h, 30m.", param, ctx)
        return int(found[1]) * UNITS_MS[found[2]]


class Timestamp(click.ParamType):
    """A point in time as Unix time in milliseconds: an ISO 8601 time, or a duration before now.

    An ISO 8601 time without an offset is local time.
    """

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
