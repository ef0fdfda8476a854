"""JSON Schema of the contract, generated from the message types.

The files are committed in the folder ``v1``, so that a change of the contract is visible in review.
"""

import inspect
import json
from pathlib import Path
from typing import Any, Final

import msgspec

from .cancels import Cancel, Heartbeat
from .messages import Reply, Request, TriageOptions, TriageOutput

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MESSAGES: Final[dict[str, Any]] = {
    "request": Request,
    "reply": Reply,
    "cancel": Cancel,
    "heartbeat": Heartbeat,
    "triage-options": TriageOptions,
    "triage-output": TriageOutput,
}


def json_schemas() -> dict[str, bytes]:
    """The content of each JSON Schema by its file name in ``v1``."""
    return {f"{name}.json": _pretty(_schema(kind)) for name, kind in MESSAGES.items()}


def write_json_schemas(folder: Path) -> list[str]:
    """Write the schemas to ``folder``, remove other JSON files; returns the names of the files that changed."""
    made = json_schemas()
    known = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    for name in known.keys() - made.keys():
        (folder / name).unlink()
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return sorted(name for name in known.keys() | made.keys() if known.get(name) != made.get(name))


def _schema(kind: Any) -> dict[str, Any]:
    schema = {"$schema": DIALECT} | msgspec.json.schema(kind)
    for definition in schema["$defs"].values():
        _describe(definition)
    if kind is Request:  # optional in the type, so that the codec can write the sentence about a missing text
        schema["$defs"]["Request"]["required"] = ["text"]
    return schema


def _describe(definition: dict[str, Any]) -> None:
    """Move the lines below "Attributes:" in a docstring to the descriptions of the properties."""
    summary, _, attributes = inspect.cleandoc(definition.get("description", "")).partition(
        "\n\nAttributes:\n"
    )
    definition["description"] = summary.replace("``", "`")
    for line in attributes.splitlines():
        name, _, text = line.strip().partition(": ")
        definition["properties"][name]["description"] = text.replace("``", "`")


def _pretty(schema: dict[str, Any]) -> bytes:
    return (json.dumps(schema, indent=2, ensure_ascii=False) + "\n").encode()
