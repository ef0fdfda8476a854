"""What a fitted model is judged beside.

A static tier, a cascade and an ensemble stand in for the model's own encoder tier. The encoder tier stands in for the
original of its encoder, with a head that is fitted on the same rows.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ...errors import ModelError
from ...models.files import publish
from ...models.manifest import ENCODER, Manifest
from ...models.registry import ModelRegistry
from ...runtime.tokenizer import Tokenizer
from ...tasks.triage.fit_record import ORIGINAL_FILE
from ...tasks.triage.head import ENCODER_TIER, Head, HeadAccuracy, HeadStore
from ..triage.fit import Fitted
from ..triage.regression import fitted_alike
from ..triage.report import Progress, embed_with
from .keeping import original_name
from .served_model import ServedModel
from .served_models import head_on_encoder, opened

NOT_MEASURED: Final = HeadAccuracy(0, 0, 0.0, 0.0, 0.0, 0.0)
"""Of the head of an original: it is measured beside the model each time."""


class Original(NamedTuple):
    """``make``: None for a model of this machine with this name, to which a head must be fitted to measure."""

    name: str
    make: Callable[[], ServedModel] | None


class HowServed(NamedTuple):
    """How the models are served that are measured."""

    registry: ModelRegistry
    provider: str | None = None
    taxonomy: str | None = None


def original_of(how: HowServed, name: str) -> Original:
    """The original of a fitted model. Raises UnknownModel, ModelError."""
    heads = HeadStore(how.registry.root.parent)
    head = heads.load(name)
    base = how.registry.load(head.base, ENCODER) if head.served == ENCODER_TIER else None
    if base is None or _is_original(base):
        known_as = f"the encoder tier of {name}"
        return Original(known_as, lambda: head_on_encoder(head, known_as, *how))
    kept = _kept(heads.root / name / head.version)
    if kept is None:
        return Original(original_name(base), None)
    known_as = f"{kept.base} fitted on the same rows"
    return Original(known_as, lambda: head_on_encoder(kept, known_as, *how))


def keep_original(how: HowServed, folder: Path, head: Head, fitted: Fitted, progress: Progress) -> None:
    """Fit the original of the encoder on the same rows, and keep its head in the ``folder`` of the model's ``head``.

    Regularization and temperature are those of the model. Nothing is done where the encoder is an original. Raises
    UnknownModel or ModelError if the original is not on this machine.
    """
    base = how.registry.load(head.base, ENCODER)
    if _is_original(base):
        return
    original = how.registry.load(original_name(base), ENCODER)
    session = opened(original, how.provider)
    tokenizer = Tokenizer(original.tokenizer_path, original.max_tokens, original.pad_id)
    rows = fitted.rows
    vectors = embed_with(
        rows.train.texts, tokenizer, session, progress, f"reading the tickets with {original.name} to compare"
    )
    found = fitted_alike(vectors, rows.truth, rows.labels, fitted.strength, head.temperature)
    kept = msgspec.structs.replace(
        head,
        base=original.name,
        encoder_digest=original.digest,
        dimensions=found.weights.shape[0],
        weights=found.weights.astype("<f4").tobytes(),
        bias=found.bias.astype("<f4").tobytes(),
        measured=NOT_MEASURED,
        static=msgspec.UNSET,
        cascade=msgspec.UNSET,
        together=msgspec.UNSET,
    )
    _keep(folder, kept)


def _is_original(base: Manifest) -> bool:
    return original_name(base) == base.name


def _kept(folder: Path) -> Head | None:
    path = folder / ORIGINAL_FILE
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Head)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(
            f"{path} cannot be read ({error}): fit the model again, or delete the file."
        ) from error


def _keep(folder: Path, head: Head) -> None:
    part = folder / f"{ORIGINAL_FILE}.{os.getpid()}.part"
    try:
        part.write_bytes(head.encoded())
        publish(part, folder / ORIGINAL_FILE)
    except OSError as error:
        raise ModelError(f"{part} cannot be written: {error.strerror or error}.") from error
