"""How a command ends that failed: one sentence for what the user can correct, a traceback for a defect."""

import errno
import os
import sys
from contextlib import suppress
from typing import Final

import click

from ..errors import BadRequest, InferstreamError, UsageError
from ..extras import missing_extra
from .output.escaped import escaped

OF_THE_MACHINE: Final = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOENT,
        errno.ENOLCK,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.EPERM,
        errno.EROFS,
    }
)
"""Errors of the system that name no file and are no defect of the program: a full disk, a missing right."""

SQLITE_OF_THE_MACHINE: Final = frozenset({3, 8, 10, 13, 14})
"""SQLite's codes for a missing right, a read-only file, a failed disk, a full disk, a file that cannot be opened."""


LONGEST: Final = 2_000
"""Characters of a sentence."""


def print_failure(error: BaseException) -> int:
    """Print one sentence for an error of which the user can remove the cause, and return the exit status.

    Raises any other error again: it is a defect.
    """
    cause = _cause(error)
    if isinstance(cause, BrokenPipeError):  # the reader of the output has ended, as with `| head`
        return 1
    sentence = _sentence(cause)
    if sentence is None:
        raise error
    if isinstance(cause, OSError):
        with suppress(OSError):
            flush_output()
    with suppress(OSError):  # the log may be on the same full disk
        click.echo(f"Error: {escaped(_bounded(sentence))}", err=True)
    return 2 if isinstance(cause, UsageError | BadRequest) else 1


def _bounded(sentence: str) -> str:
    """A file of a stranger may have names of megabytes, which come into sentences; what to do is at their end."""
    if len(sentence) <= LONGEST:
        return sentence
    return f"{sentence[: LONGEST * 3 // 4]} … {sentence[-LONGEST // 4 :]}"


def flush_output() -> None:
    """Write what standard output holds back. If that fails, drop it and raise OSError.

    Otherwise Python would try again when it ends, and print a traceback.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _sentence(error: BaseException) -> str | None:
    match error:
        case InferstreamError():
            return str(error)
        case ModuleNotFoundError() if missing := missing_extra(error, "This command"):
            return str(missing)
        case OSError(filename=str(path), strerror=str(reason)):
            return f"Cannot use {path}: {reason}."
        case OSError(errno=code, strerror=str(reason)) if code in OF_THE_MACHINE:
            return f"Cannot write the output or a file: {reason}."
        case Exception() if getattr(error, "sqlite_errorcode", 0) & 0xFF in SQLITE_OF_THE_MACHINE:
            return f"SQLite cannot use its file ({error}): free disk space, or check the file permissions."
    return None


def _cause(error: BaseException) -> BaseException:
    """The only exception in nested groups of one; otherwise the group."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
