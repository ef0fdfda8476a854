"""Checks that the numbers of a text are in its translation."""

import re
from typing import Final

NUMBER: Final = re.compile(r"\d(?:[\d.,]*\d)?")
THOUSANDS: Final = re.compile(r"(?:000)+$")


def lost_numbers(source: str, target: str) -> list[str]:
    """The numbers of ``source`` that are not in ``target``, in order.

    Points and commas do not count, since languages write them differently; neither does 100,000 as 100 thousand.
    """
    found = NUMBER.findall(source)
    if not found:
        return []
    there = {_digits(number) for number in NUMBER.findall(target)}
    there |= {THOUSANDS.sub("", number) for number in there}
    return [
        number
        for number in dict.fromkeys(found)
        if _digits(number) not in there and THOUSANDS.sub("", _digits(number)) not in there
    ]


def _digits(number: str) -> str:
    return number.replace(".", "").replace(",", "")
