"""Checks that the numbers of a text are in its translation, and mends how they are written."""

import re
from typing import Final

NUMBER: Final = re.compile(r"\d(?:[\d.,]*\d)?")
THOUSANDS: Final = re.compile(r"(?:000)+$")
GROUPED: Final = re.compile(r"\d{1,3}(?:,\d{3})*(?:\.\d+)?|\d{1,3}(?:\.\d{3})*(?:,\d+)?|\d+[.,]\d+")
SWAPPED: Final = str.maketrans(".,", ",.")


def with_mended_numbers(source: str, target: str, begin: int = 0) -> str:
    """``target`` with its numbers as ``source`` writes them, or with points for commas and commas for points.

    Models mix both: 1,234.56 became 1,234,56. A version or a date, as 3.11.2, stays as it is. What is before ``begin``
    stays too. No number changes its length.
    """
    forms: dict[str, list[str]] = {}
    for number in NUMBER.findall(source):
        digits = _digits(number)
        if digits != number:
            own = [number.translate(SWAPPED)] if GROUPED.fullmatch(number) else []
            forms.setdefault(digits, []).extend([*own, number])
    if not forms:
        return target

    def mended(found: "re.Match[str]") -> str:
        number = found[0]
        known = forms.get(_digits(number), [])
        if found.start() < begin or number in known or _digits(number) == number:
            return number
        return next((form for form in known if len(form) == len(number)), number)

    return NUMBER.sub(mended, target)


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
