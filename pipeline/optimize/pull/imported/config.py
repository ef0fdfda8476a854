"""What `config.json` says of a model whose graph is not built here."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ....errors import UsageError
from ....graphs.bert.families import FAMILIES, bert_settings
from ....graphs.bert.files import BYTE_ORDER_MARK

WIDTHS = ("hidden_size", "dim", "d_model", "n_embd")
"""Names of the number of dimensions of a state."""
LONGEST = 2_048
"""Tokens of a window, where a model has more: its attention would take more memory than a batch may have."""


class ImportedConfig(Struct, frozen=True):
    """The few settings that decide how a graph is fed, and what its vectors may become."""

    hidden_size: int
    max_position_embeddings: int
    vocab_size: int | None = None
    padding: int = 0
    shorter: tuple[int, ...] = ()


def read_imported_config(path: Path) -> ImportedConfig:
    """Raises UsageError with what is missing."""
    try:
        given = msgspec.json.decode(path.read_bytes().removeprefix(BYTE_ORDER_MARK), type=dict[str, Any])
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} does not describe a model: {error}.") from error
    family = FAMILIES.get(str(given.get("model_type")))
    found = bert_settings(family, given) if family else given
    width = next((value for name in WIDTHS if (value := _number(found, name))), None)
    if width is None:
        raise UsageError(f"{path} does not say how many dimensions the model has ({' or '.join(WIDTHS)}).")
    shorter = found.get("matryoshka_dimensions")
    return ImportedConfig(
        hidden_size=width,
        max_position_embeddings=min(_number(found, "max_position_embeddings") or LONGEST, LONGEST),
        vocab_size=_number(found, "vocab_size"),
        padding=_number(found, "pad_token_id") or 0,
        shorter=tuple(
            sorted({one for one in shorter if type(one) is int and 0 < one < width})
            if isinstance(shorter, list)
            else ()
        ),
    )


def _number(found: dict[str, Any], name: str) -> int | None:
    value = found.get(name)
    return value if type(value) is int and value > 0 else None
