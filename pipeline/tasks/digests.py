"""Digests of what decides an answer."""

import hashlib


def digest_of(*parts: bytes) -> bytes:
    """32 bytes of blake2b over the length-prefixed parts."""
    state = hashlib.blake2b(digest_size=32)
    for part in parts:
        state.update(len(part).to_bytes(8, "big") + part)
    return state.digest()
