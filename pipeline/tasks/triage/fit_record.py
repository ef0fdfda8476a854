"""What is kept of the fit of a model, beside its head: which rows it was fitted on, and where."""

from collections.abc import Collection, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from ...errors import ModelError
from .head import Head, HeadAccuracy, Serve

FIT_FILE: Final = "fit.msgpack"
"""Beside `head.msgpack`. It is no part of the version, and no release has it: it can tell whose text was fitted on."""
ORIGINAL_FILE: Final = "original.msgpack"
"""Beside it, where the encoder answers: the original encoder's head on the same rows, which this one is judged by."""
NOT_RELEASED: Final = frozenset((FIT_FILE, ORIGINAL_FILE))
DIGEST_BYTES: Final = 8  # of a million rows, one in 18 million million others has the digest of one by chance


class FitRecord(Struct, frozen=True):
    """The rows of a fit, without their texts."""

    rows: int
    rows_sha256: str  # of texts and labels
    texts: bytes  # DIGEST_BYTES of each text that was fitted on
    made_on: str  # the machine
    made_with: dict[str, str]  # versions of packages
    made_at: str  # ISO 8601, UTC
    measured: dict[
        Serve, HeadAccuracy
    ] = {}  # what both tiers answer, on the test rows of the fit: cascade, ensemble

    def encoded(self) -> bytes:
        """The bytes on disk."""
        return msgspec.msgpack.encode(self)

    @property
    def digests(self) -> Collection[bytes]:
        """Of the texts."""
        found = self.texts
        return {found[i : i + DIGEST_BYTES] for i in range(0, len(found), DIGEST_BYTES)}


def digest_of(text: str) -> bytes:
    """Of a text as the fit read it: cleaned, if the model cleans its texts."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


def digests_of(texts: Iterable[str]) -> bytes:
    """Of each text once, in rising order, so that they do not tell the order of the rows."""
    return b"".join(sorted({digest_of(text) for text in texts}))


def read_fit(folder: Path) -> FitRecord | None:
    """What is known of the fit of the model in this folder; None if it was fitted before that was kept.

    Raises ModelError.
    """
    path = folder / FIT_FILE
    try:
        found = msgspec.msgpack.decode(path.read_bytes(), type=FitRecord)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(
            f"{path} cannot be read ({error}): fit the model again, or delete the file."
        ) from error
    if len(found.texts) % DIGEST_BYTES:
        raise ModelError(f"{path} is damaged: fit the model again, or delete the file.")
    return found


def measured_served(head: Head, folder: Path) -> HeadAccuracy | None:
    """The accuracy of what answers of the model in this folder; None where it is not known."""
    if found := head.measured_served:
        return found
    try:
        fit = read_fit(folder)
    except ModelError:
        return None
    return fit.measured.get(head.served) if fit else None
