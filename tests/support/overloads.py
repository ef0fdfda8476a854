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
    """How an overload of one method is written: ``OUTPUT`` and ``PIECE`` stand for the task's types."""

    head: str
    content: str
    keywords: str
    returns: str


ASYNC = {
    "request": Method("async def request", "text: Content", "RequestKeywords", "Answer[OUTPUT]"),
    "stream": Method("def stream", "text: Content", "RequestKeywords", "Stream[PIECE, OUTPUT]"),
    "map": Method("def map", "texts: Items", "MapKeywords", "AsyncGenerator[Answer[OUTPUT] | Failure, None]"),
}
SYNC = {
    "request": Method("def request", "text: Content", "RequestKeywords", "Answer[OUTPUT]"),
    "stream": Method("def stream", "text: Content", "RequestKeywords", "SyncStream[PIECE, OUTPUT]"),
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
        _overload(
            method._replace(returns=_with_types(method.returns, contract.output, contract.piece)),
            f'Literal["{name}"]',
            "",
            contract.options.__name__,
        )
        for name, contract in contracts.items()
    ]
    own = method._replace(returns=method.returns.replace("OUTPUT", "Output").replace("PIECE", "Any"))
    plain = method._replace(returns=_with_types(method.returns, Any, Any))
    return "".join(
        [
            *known,
            _overload(own, "str", "*, output: type[Output], ", "Struct"),
            _overload(plain, "str", "", "Plain"),
        ]
    )


def _overload(method: Method, task: str, more: str, options: str) -> str:
    return f"""    @overload
    {method.head}(
        self, task: {task}, {method.content}, {more}**how: Unpack[{method.keywords}[{options}]]
    ) -> {method.returns}: ...
"""


def _with_types(returns: str, output: Any, piece: Any) -> str:
    return returns.replace("OUTPUT", _name(output)).replace("PIECE", _name(Any if piece is None else piece))


def _name(kind: Any) -> str:
    return "Any" if kind is Any else kind.__name__ if isinstance(kind, type) else repr(kind)


def _formatted(source: str) -> str:
    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run(
        [ruff, "format", "--quiet", "-"], input=source, capture_output=True, text=True, check=True
    )
    return done.stdout
