"""Content keys: the hash under which an answer is cached and a run is shared."""

import hashlib

DIGEST_BYTES = 16


def content_prefix(tenant: str, digest: bytes, task: str, options: bytes) -> bytes:
    """Every part of a content key except the text.

    Each part follows its length, so that ("ab", "c") and ("a", "bc") give different keys.
    ``digest`` covers all that decides an answer besides the request: weights, graph, tokenizer,
    taxonomy or head.
    """
    parts = (tenant.encode("utf-8", "surrogatepass"), digest, task.encode(), options)
    return b"".join([b"%d:%b" % (len(part), part) for part in parts])


def content_key(prefix: bytes, text: str) -> bytes:
    """blake2b of prefix and text, 16 bytes: equal exactly if both are equal."""
    return hashlib.blake2b(prefix + text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()
