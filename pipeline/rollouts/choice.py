"""Which of two versions answers a key: the same in every process, and few keys move when a share changes."""

import math
from hashlib import blake2b


def takes_candidate(key: bytes, stable: str, candidate: str, share: float) -> bool:
    """Whether ``candidate`` answers the requests with this key, as it does for this share of all keys.

    Weighted rendezvous hashing (Thaler and Ravishankar 1998; the weights of Schindler and Schomaker 2005): each version
    draws a number from the key and its own name, and the one with the highest score answers. A greater share only adds
    keys, and another candidate gets other keys.
    """
    if share <= 0:
        return False
    if share >= 1:
        return True
    return -share / math.log(_drawn(key, candidate)) > (share - 1) / math.log(_drawn(key, stable))


def _drawn(key: bytes, version: str) -> float:
    """A number between 0 and 1, both excluded."""
    digest = blake2b(key, digest_size=7, key=version.encode()[:64]).digest()
    return (int.from_bytes(digest) + 0.5) * 2.0**-56
