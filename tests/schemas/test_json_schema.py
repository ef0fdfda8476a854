"""The committed JSON Schema equals the message types, and real messages are valid in it."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import inferstream.schemas
from inferstream.schemas.json_schema import json_schemas, write_json_schemas

COMMITTED = Path(inferstream.schemas.__file__).parent / "v1"
GOLDEN = Path(__file__).parent / "golden" / "v1"


def validator(name: str) -> Any:
    schema = json.loads(json_schemas()[name])
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_committed_files_are_current() -> None:
    changed = write_json_schemas(COMMITTED)
    assert not changed, f"The contract changed: {changed} are written again, look at them and commit them."


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_golden_messages_are_valid_in_the_schema(path: Path) -> None:
    names = (name for name in json_schemas() if path.name.startswith(name.removesuffix(".json")))
    validator(max(names, key=len)).validate(json.loads(path.read_bytes()))


@pytest.mark.parametrize("body", [{}, {"text": 1}, {"text": "a", "id": 5}, {"text": "a", "options": []}])
def test_what_the_codec_refuses_is_invalid_in_the_schema(body: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validator("request.json").validate(body)


def test_every_field_of_a_request_is_described() -> None:
    properties = json.loads(json_schemas()["request.json"])["$defs"]["Request"]["properties"]
    assert all(described["description"] for described in properties.values())
