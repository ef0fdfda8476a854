"""Writes the overloads of the client's methods from the contracts of the tasks, as the committed files have them."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from inferstream.schemas.contract import Contract

REGION = re.compile(r"(    # Overloads of (\w+)\n).*?(    # End of overloads\n)", re.DOTALL)


class Method(NamedTuple):
    """How an overload of one method is written: ``OUTPUT`` stands for the task's type."""

    head: str
    content: str
    keywords: str
    returns: str


ASYNC = {
    "request": Method("async def request", "text: Content", "RequestKeywords", "Answer[OUTPUT]"),
    "map": Method("def map", "texts: Items", "MapKeywords", "AsyncGenerator[Answer[OUTPUT] | Failure, None]"),
}
SYNC = {
    "request": Method("def request", "text: Content", "RequestKeywords", "Answer[OUTPUT]"),
    "map": Method(
        "def map", "texts: Iterable[Item]", "MapKeywords", "Generator[Answer[OUTPUT] | Failure, None, None]"
    ),
}


def with_overloads(source: str, methods: Mapping[str, Method], contracts: Mapping[str, Contract]) -> str:
    """``source`` with the overloads of each method between their two comments, formatted."""
    made = REGION.sub(lambda found: found[1] + _overloads(methods[found[2]], contracts) + found[3], source)
    return _formatted(made)


def _overloads(method: Method, contracts: Mapping[str, Contract]) -> str:
    known = [
        _overload(method, f'Literal["{name}"]', "", contract.options.__name__, _name(contract.output))
        for name, contract in contracts.items()
    ]
    own = _overload(method, "str", "*, output: type[Output], ", "Struct", "Output")
    return "".join([*known, own, _overload(method, "str", "", "Plain", "Any")])


def _overload(method: Method, task: str, more: str, options: str, output: str) -> str:
    return f"""    @overload
    {method.head}(
        self, task: {task}, {method.content}, {more}**how: Unpack[{method.keywords}[{options}]]
    ) -> {method.returns.replace("OUTPUT", output)}: ...
"""


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else repr(kind)


def _formatted(source: str) -> str:
    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run(
        [ruff, "format", "--quiet", "-"], input=source, capture_output=True, text=True, check=True
    )
    return done.stdout
