"""The message on the topic of labels: a request whose right answer became known, as when a person corrected it."""

from typing import Any, Final

import msgspec
from msgspec import Struct

from .codec import DecodeError

EXAMPLE_LABEL: Final = '{"text": "I was charged twice", "label": {"category": "billing"}}'


class Label(Struct, frozen=True):
    """What a labeled request has beside the fields of a request.

    ``{"text": "I was charged twice", "label": {"category": "billing"}}`` is a complete one.

    Attributes:
        label: values that the right answer has. An answer is right if it has all of them.
    """

    label: dict[str, Any]


_labels: Final = msgspec.json.Decoder(Label)


def decode_label(value: bytes | None) -> Label:
    """The label in the body of a record. Raises only DecodeError, whatever the bytes are."""
    try:
        found = _labels.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError("not_json", f"The body has no `label`: send {EXAMPLE_LABEL} ({error}).") from error
    if not found.label:
        raise DecodeError("wrong_type", f"The `label` is empty: send {EXAMPLE_LABEL}.")
    return found
