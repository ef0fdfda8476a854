"""Finds the files of a Marian model in a folder, and refuses by name what is missing or there twice."""

from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import msgspec
import yaml
from msgspec import Struct

from ...errors import UsageError

MODEL = "model.*.intgemm.alphas.bin"
VOCABULARY = "vocab.*.spm"
SHORTLIST = "lex.*.s2t.bin"
OPTIONS = "config.*.yml"


class MarianFiles(NamedTuple):
    """The files of one model."""

    model: Path
    vocabulary: Path
    shortlist: Path
    options: Path | None  # how its authors run it; not every folder has it


class RunOptions(Struct, frozen=True, rename="kebab"):
    """What `config.*.yml` says about a run. The defaults are those of Marian."""

    max_length_factor: float = 3.0
    beam_size: int = 1


def find_files(folder: Path) -> MarianFiles:
    """The files of the model in ``folder``. Raises UsageError with the one that is missing or there twice."""
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise UsageError(f"Cannot read the folder {folder}: {error.strerror}.") from error
    return MarianFiles(
        _required(folder, names, "weights", MODEL),
        _required(folder, names, "vocabulary", VOCABULARY),
        _required(folder, names, "shortlist", SHORTLIST),
        _only(folder, names, OPTIONS),
    )


def read_options(path: Path | None) -> RunOptions:
    """The options in ``path``, or Marian's own. Raises UsageError for what is not supported."""
    if path is None:
        return RunOptions()
    try:
        options = msgspec.convert(yaml.safe_load(path.read_text("utf-8")), RunOptions)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no configuration of Marian: {' '.join(str(error).split())}.") from error
    if options.beam_size > 1:
        raise UsageError(
            f"{path} has beam-size = {options.beam_size}; only 1, a greedy search, is supported."
        )
    return options


def _required(folder: Path, names: list[str], what: str, pattern: str) -> Path:
    if found := _only(folder, names, pattern):
        return found
    kind, _, _ = pattern.partition(".")
    others = [name for name in names if name.startswith(kind + ".")]
    there = f"; {', '.join(others)} has another format" if others else ""
    raise UsageError(f"{folder} has no {what} ({pattern}){there}: only models that have it are supported.")


def _only(folder: Path, names: list[str], pattern: str) -> Path | None:
    found = [name for name in names if fnmatch(name, pattern)]
    if len(found) > 1:
        raise UsageError(f"{folder} has {' and '.join(found)}; keep one file {pattern}.")
    return folder / found[0] if found else None
