"""JSON Schema of the contract, generated from the message types.

The files are committed in the folder ``v1``, so that a change of the contract is visible in review.
"""

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from .cancels import Cancel, Heartbeat
from .contract import Contract
from .docstrings import described
from .messages import Reply, Request
from .tasks import CONTRACTS

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MESSAGES: Final[dict[str, Any]] = {
    "request": Request,
    "reply": Reply,
    "cancel": Cancel,
    "heartbeat": Heartbeat,
}


def json_schemas() -> dict[str, bytes]:
    """The content of each JSON Schema by its file name in ``v1``."""
    ours = {f"{task}-{name}": kind for task, one in CONTRACTS.items() for name, kind in types_of(one).items()}
    return {f"{name}.json": _pretty(json_schema(kind)) for name, kind in (MESSAGES | ours).items()}


def types_of(contract: Contract) -> dict[str, Any]:
    """The types of a task that are its own, by what they are in its contract."""
    types = {"options": contract.options, "output": contract.output}
    if contract.request is not Request:
        types["request"] = contract.request
    if contract.piece is not None:
        types["piece"] = contract.piece
    return types


def write_json_schemas(folder: Path) -> list[str]:
    """Write the schemas to ``folder``, remove other JSON files; returns the names of the files that changed."""
    made = json_schemas()
    known = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    for name in known.keys() - made.keys():
        (folder / name).unlink()
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return sorted(name for name in known.keys() | made.keys() if known.get(name) != made.get(name))


def json_schema(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a type, with what its docstring says of each field."""
    schema = {"$schema": DIALECT} | msgspec.json.schema(kind)
    for definition in schema.get("$defs", {}).values():
        _describe(definition)
    if kind is Request:  # optional in the type, so that the codec can write the sentence about a missing text
        schema["$defs"]["Request"]["required"] = ["text"]
    return schema


def _describe(definition: dict[str, Any]) -> None:
    """Move the lines below "Attributes:" in a docstring to the descriptions of the properties."""
    if "description" not in definition:
        return
    definition["description"], of_fields = described(definition["description"])
    for name, text in of_fields.items():
        if name in definition.get("properties", {}):
            definition["properties"][name]["description"] = text


def _pretty(schema: dict[str, Any]) -> bytes:
    return (json.dumps(schema, indent=2, ensure_ascii=False) + "\n").encode()
