"""Names of releases: ``triage@prod`` is an alias, ``triage@0123456789ab`` a version."""

import re
from typing import Final, NamedTuple

from ...errors import UsageError

TASK: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
ALIAS: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
VERSION: Final = re.compile(r"[0-9a-f]{12}")
MAX_NAME: Final = 50


class ReleaseName(NamedTuple):
    """One of ``alias`` and ``version`` is empty."""

    task: str
    alias: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.task}@{self.alias or self.version}"


def is_release_name(name: str) -> bool:
    """Whether the name of a model is that of an alias or a version, right or wrong."""
    return "@" in name


def parse_release_name(name: str) -> ReleaseName:
    """The parts of the name. Raises UsageError."""
    task, _, after = name.partition("@")
    if is_task_name(task) and VERSION.fullmatch(after):
        return ReleaseName(task, version=after)
    if is_task_name(task) and is_alias(after):
        return ReleaseName(task, alias=after)
    small = name.lower()
    if small != name and _is_right(small):
        raise UsageError(
            f"{_shown(name)} is not the name of a release: did you mean {small!r}, in small letters?"
        )
    raise UsageError(
        f"{_shown(name)} is not the name of a release: write TASK@ALIAS as triage@prod, or TASK@VERSION with the "
        "12 hexadecimal digits of a version."
    )


def is_task_name(text: str) -> bool:
    """Whether a task may have this name."""
    return len(text) <= MAX_NAME and TASK.fullmatch(text) is not None


def is_alias(text: str) -> bool:
    """Whether an alias may have this name: never 12 hexadecimal digits, which are a version."""
    return len(text) <= MAX_NAME and ALIAS.fullmatch(text) is not None and not VERSION.fullmatch(text)


def _is_right(name: str) -> bool:
    task, _, after = name.partition("@")
    return is_task_name(task) and (VERSION.fullmatch(after) is not None or is_alias(after))


def _shown(name: str) -> str:
    return repr(name[: 3 * MAX_NAME])
