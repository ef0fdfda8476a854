"""A run of `inferstream translate`: a file of subtitles or text, and the same file in another language."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec

from ....schemas.codec import decode_reply
from ....schemas.messages import Failure, Request, Result
from ....schemas.translation import TranslateOutput
from ...client.client import Client
from ...client.replies import error_of
from ...client.reply_file import ReplyFile
from ...errors import (
    BadHeader,
    InferstreamError,
    UnknownModel,
    UnknownOption,
    UnknownTask,
    UsageError,
    WrongType,
)
from ...models.files import publish
from ...subtitles.encoded import Encoded
from ...subtitles.script import Passage, Script
from ...tasks.translate.glossary import Glossary
from .answered_file import SOME_FAILED, answer_items
from .terminal import progress_bar

TASK: Final = "translate"
OF_ALL: Final = frozenset(
    {UnknownModel.code, UnknownTask.code, UnknownOption.code, WrongType.code, BadHeader.code}
)
"""Failures that every passage would have: the run stops at the first one."""
TOLD: Final = 5
"""Failures and notes that are told one by one."""


class Places(NamedTuple):
    """The input, the output, and the answers so far beside it, from which an interrupted run goes on."""

    source: Path
    out: Path
    answers: Path

    @classmethod
    def of(cls, source: Path, out: Path, *, overwrite: bool) -> "Places":
        """Raises UsageError for an output that must not be written."""
        if out.exists() and source.exists() and out.samefile(source):
            raise UsageError(f"--out is the input itself: name another file than {source}.")
        if out.exists() and not out.is_file():
            raise UsageError(f"{out} is no file: name a file with --out.")
        answers = out.with_name(f"{out.name}.part")
        if out.exists() and not overwrite and not answers.exists():
            raise UsageError(f"{out} exists: name another file with --out, or add --overwrite.")
        return cls(source, out, answers)


class TranslatedFile:
    """The translation of a file; ``encoded`` says how it is written."""

    def __init__(self, script: Script, encoded: Encoded, places: Places, glossary: Glossary) -> None:
        self._script = script
        self._encoded = encoded
        self._places = places
        self._glossary = glossary

    def translate(
        self, connecting: AbstractAsyncContextManager[Client], timeout_s: float, how: Mapping[str, Any]
    ) -> int:
        """Write the output once all passages are answered. Returns the exit status.

        Raises UsageError if the answers of an earlier run belong to another input.
        """
        answers = self._places.answers
        try:
            self._answer(connecting, timeout_s, how)
        except (KeyboardInterrupt, InferstreamError) as error:
            if answers.exists() and not answers.stat().st_size:
                answers.unlink()
            if isinstance(error, KeyboardInterrupt):
                raise click.Abort from error
            raise
        replies = [decode_reply(line) for line in answers.read_bytes().splitlines()]
        outputs = [_output(reply) if isinstance(reply, Result) else None for reply in replies]
        written = self._script.translated([output.text if output else None for output in outputs])
        _write(self._places.out, self._encoded.encode(written))
        answers.unlink()
        failures = [
            f"Line {passage.line} stays as it is: {reply.message} ({reply.code})"
            for passage, reply in zip(self._script.passages, replies, strict=True)
            if isinstance(reply, Failure)
        ]
        _tell(failures)
        _tell(list(_notes(self._script.passages, outputs)))
        click.echo(f"{self._places.out}: {_counts(self._script, len(failures))}.", err=True)
        return SOME_FAILED if failures else 0

    def _answer(
        self, connecting: AbstractAsyncContextManager[Client], timeout_s: float, how: Mapping[str, Any]
    ) -> None:
        requests = list(_requests(self._script.passages, self._glossary, how))
        with ReplyFile(self._places.answers) as replies, progress_bar(self._places.source.name) as progress:
            items = iter(requests)
            replies.skip(items)

            def write(reply: Result | Failure) -> None:
                if isinstance(reply, Failure) and reply.code in OF_ALL:
                    raise error_of(reply)
                replies.write(reply)
                progress(replies.lines, len(requests))

            progress(replies.lines, len(requests))
            if replies.lines == len(requests):
                return
            try:
                asyncio.run(answer_items(connecting, TASK, items, timeout_s, how, write))
            except (KeyboardInterrupt, InferstreamError) as error:
                if replies.lines:
                    line = self._script.passages[replies.lines - 1].line
                    click.echo(
                        f"Stopped after line {line:,}: run the same command again to continue there.",
                        err=True,
                    )
                elif isinstance(error, KeyboardInterrupt):
                    click.echo("Stopped before the first answer.", err=True)
                raise


def _requests(passages: list[Passage], glossary: Glossary, how: Mapping[str, Any]) -> Iterator[Request]:
    """A request for each passage. Its id tells all passages before it, so that none of another run is taken over."""
    before = blake2b(
        msgspec.json.encode([how["options"], how["model"]], order="deterministic"), digest_size=6
    )
    for number, passage in enumerate(passages, start=1):
        found = {passage.text[one.start : one.end]: one.text for one in glossary.items(passage.text)}
        before.update(msgspec.json.encode([passage.text, found]))
        options = {"glossary": found} if found else {}
        yield Request(text=passage.text, id=f"{number}-{before.hexdigest()}", options=options)


def _output(reply: Result) -> TranslateOutput:
    return msgspec.json.decode(reply.output, type=TranslateOutput)


def _notes(passages: list[Passage], outputs: list[TranslateOutput | None]) -> Iterator[str]:
    for passage, output in zip(passages, outputs, strict=True):
        if output and output.note:
            yield f"Line {passage.line}: {output.note}"


def _tell(sentences: list[str]) -> None:
    for sentence in sentences[:TOLD]:
        click.echo(sentence, err=True)
    if len(sentences) > TOLD:
        click.echo(f"… and {len(sentences) - TOLD:,} more such lines.", err=True)


def _counts(script: Script, failed: int) -> str:
    cues = f"{len(script.cues):,} {script.unit}"
    counts = f"{cues} in {len(script.passages):,} passages"
    return f"{counts}, {failed:,} of them not translated" if failed else counts


def _write(out: Path, content: bytes) -> None:
    """All of it or nothing, also if the process is killed here."""
    whole = out.with_name(f"{out.name}.{os.getpid()}.new")
    try:
        whole.write_bytes(content)
        publish(whole, out)
    finally:
        whole.unlink(missing_ok=True)
