"""The judgements on variants, where they are kept: in the manifest of a model, beside the head of a fitted one.

A gate that is closed keeps a variant from workers. That one was forced stays there for ever.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ..errors import ModelError
from ..locks import lock_file
from .files import publish
from .metrics import ZERO_SHOT, Gate, Judgement

JUDGEMENT = "judgement.json"
"""Beside `head.msgpack`, whose digest is the version of the model."""
LOCK = ".judgement.lock"
LOCK_INTERVAL_S = 0.02


class ClosedGate(ModelError):
    """A model did not pass its gate."""

    def __init__(self, sentence: str, gate: Gate) -> None:
        super().__init__(sentence)
        self.gate = gate


def measuring(name: str, use: str = "") -> str:
    """The command that measures a model for a use and judges it."""
    return f"inferstream models evaluate {name} DATA{' --zero-shot' if use == ZERO_SHOT else ''}"


def check_gate(name: str, gate: Gate | None, use: str = "") -> None:
    """Raise ClosedGate for a gate that is closed. ``use``: what the judgement is about."""
    if gate is not None and not gate.open:
        raise ClosedGate(
            f"{name} did not pass its gate: {' '.join(gate.failures)} To serve it nevertheless, run "
            f"`{measuring(name, use)} --force`; that is recorded for ever.",
            gate,
        )


def merged(newer: Mapping[str, Judgement], older: Mapping[str, Judgement]) -> dict[str, Judgement]:
    """The judgements by use of one variant: the newer ones, each after the older one of its use."""
    return dict(older) | {use: judgement.after(older.get(use)) for use, judgement in newer.items()}


def read_judgement(folder: Path) -> Judgement | None:
    """What is known of the fitted model in this folder; None if it was never measured. Raises ModelError."""
    path = folder / JUDGEMENT
    try:
        return msgspec.json.decode(path.read_bytes(), type=Judgement)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(
            f"{path} cannot be read ({error}): run `inferstream models evaluate` for its model again."
        ) from error


def write_judgement(folder: Path, judgement: Judgement) -> Judgement:
    """Keep it for the fitted model in this folder, atomically; returns what is kept. Raises ModelError.

    One that is damaged is replaced: nothing can be told of it.
    """
    try:
        with _locked(folder):
            kept = judgement.after(_older(folder))
            part = folder / f"{JUDGEMENT}.{os.getpid()}.part"
            part.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=2))
            publish(part, folder / JUDGEMENT)
    except OSError as error:
        raise ModelError(f"The figures cannot be kept in {folder}: {error.strerror or error}.") from error
    return kept


def _older(folder: Path) -> Judgement | None:
    try:
        return read_judgement(folder)
    except ModelError:
        return None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone among processes: of two that read and then write, the later one would forget what the other forced."""
    with (folder / LOCK).open("ab") as file:
        while True:
            try:
                lock_file(file)
                break
            except BlockingIOError:
                time.sleep(LOCK_INTERVAL_S)
        yield
