"""Content keys: the hash under which an answer is cached and a run is shared."""

import hashlib
from typing import Any, Final

import msgspec

DIGEST_BYTES: Final = 16
STRUCTURED: Final = b"json"  # sets the hashes of structured contents apart from those of texts

_encoder: Final = msgspec.json.Encoder(order="deterministic")


def content_prefix(tenant: str, digest: bytes, task: str, options: bytes) -> bytes:
    """Every part of a content key except the content.

    Each part follows its length, so that ("ab", "c") and ("a", "bc") give different keys.
    ``digest`` covers all that decides an answer besides the request: weights, graph, tokenizer,
    taxonomy or head.
    """
    parts = (tenant.encode("utf-8", "surrogatepass"), digest, task.encode(), options)
    return b"".join([b"%d:%b" % (len(part), part) for part in parts])


def content_bytes(content: Any) -> bytes:
    """A content, a text or what msgspec encodes, as bytes: equal exactly if the contents are equal."""
    if isinstance(content, str):
        return content.encode("utf-8", "surrogatepass")
    return _encoder.encode(content)


def content_key(prefix: bytes, content: Any) -> bytes:
    """blake2b of prefix and content, 16 bytes: equal exactly if both are equal."""
    if isinstance(content, str):  # most contents are
        text = content.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(prefix + text, digest_size=DIGEST_BYTES).digest()
    structured = prefix + _encoder.encode(content)
    return hashlib.blake2b(structured, digest_size=DIGEST_BYTES, person=STRUCTURED).digest()
