"""The task `translate` for the engine: options, sentences as rows, and a text of their translations."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from ....schemas.messages import Request
from ....schemas.translation import TranslateOptions, TranslateOutput
from ...errors import WrongType, too_many_tokens
from ...models.manifest import Manifest
from ...runtime.model import Row
from ...runtime.subwords import Subwords
from ...runtime.translator import Translation
from ..base import Ask, Finished, Prepared
from ..digests import digest_of
from ..normal_form import normal_form
from ..options import checked_options
from ..text import TextTask
from .alignment import Aligner
from .glossary import Glossary, check_terms
from .notes import Notes
from .numbers import with_mended_numbers
from .plan import Plan, PlannedRow, PlannedSentence
from .prefixes import covered, forced
from .reading import Reader, ReadSentence
from .restoring import restored

CODE_VERSION: Final = (
    b"translate 4"  # must change when this code gives another answer to the same translations
)
NO_TRANSLATION: Final = Translation([], ended=True)
CHARACTERS_OF_A_TOKEN: Final = 50
"""More than any token has: a longer prefix is too long without a look at its tokens."""


class Translate(TextTask):
    """The task `translate`, see `tasks/base.Task`."""

    name = "translate"

    def __init__(
        self, model: str, manifest: Manifest, subwords: Subwords, aligner: Aligner, terms: Mapping[str, str]
    ) -> None:
        """Serve the translator of ``manifest`` under the name ``model``. ``terms``: of the glossary's file."""
        self.model = model
        self._manifest = manifest
        self._subwords = subwords
        self._aligner = aligner
        self._reader = Reader(manifest, subwords, Glossary(terms))
        self._factor = manifest.length_factor or 1.0
        self.source, _, self.target = manifest.pair.partition("-")
        self.chosen_by = {"source": self.source, "target": self.target} if manifest.pair else {}
        self.digest = digest_of(CODE_VERSION, manifest.digest, msgspec.json.encode(terms))
        self.version = self.digest.hex()[:12]

    def options(self, given: Mapping[str, Any]) -> TranslateOptions:
        """The checked options. Raises UnknownOption or WrongType."""
        options = checked_options(self.name, given, TranslateOptions)
        for name, asked in (("source", options.source), ("target", options.target)):
            own = self.chosen_by.get(name)
            if asked is None or asked == own:
                continue
            if own is None:
                raise WrongType(f"{self.model} does not say its languages: leave the option {name!r} out.")
            raise WrongType(f"The option {name!r} must be {own!r} with {self.model}, not {asked[:20]!r}.")
        check_terms(options.glossary)
        return options

    def read(self, request: Request) -> str:
        """The text in NFC, with the spaces at its ends."""
        text: str = request.text  # type: ignore[assignment]  # the codec has checked it
        begin = len(text) - len(text.lstrip())
        end = len(text.rstrip())
        return f"{text[:begin]}{normal_form(text[begin:end])}{text[end:]}"

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[Prepared]:
        """A row for each sentence that needs the model; the answer for a text without one. Raises TooLarge."""
        return [self._prepared(ask.content, ask.options, max_tokens) for ask in asks]

    def _prepared(self, text: str, options: TranslateOptions, max_tokens: int | None) -> Prepared:
        own = Glossary(options.glossary)
        read: list[ReadSentence] = []
        tokens = 0
        for one in self._reader.sentences(text, self.source, own):
            read.append(one)
            tokens += len(one.tokens)
            if max_tokens is not None and tokens > max_tokens:
                raise too_many_tokens(max_tokens)
        plan = Plan(self._with_prefix(read, options, own))
        rows = [row for row in map(self._row, plan.sentences) if row]
        if not rows:
            return self._answer(plan, ())
        rows[0].plan = plan
        return rows

    def _with_prefix(
        self, read: list[ReadSentence], options: TranslateOptions, own: Glossary
    ) -> Sequence[PlannedSentence]:
        """The sentences of a plan. Whole sentences of the prefix are their answers; the last one begins the next.

        Where the prefix does not fit to the sentences, those that it covers are one row.
        """
        if not options.prefix:
            return [PlannedSentence(one) for one in read]
        *whole, last = (one.text for one in self._reader.sentences(options.prefix, self.target, own))
        if not covered(read, whole):
            together = "".join(one.text for one in read[: len(whole) + 1])
            first = self._reader.one(together, own)
            if len(first.tokens) <= self._manifest.max_tokens:
                read = [first, *read[len(whole) + 1 :]]
                whole, last = [], options.prefix
        parts = [PlannedSentence(one) for one in read]
        if len(whole) >= len(parts):
            last = "".join([*whole[len(parts) - 1 :], last])
        ending = parts[min(len(whole), len(parts) - 1)]
        for part, shown in zip(parts, whole, strict=False):
            part.shown = shown
            part.goes_on = part is not ending
        ending.shown = last
        self._force(ending, last)
        return parts

    def _force(self, part: PlannedSentence, prefix: str) -> None:
        """Let the translation of the sentence begin with ``prefix``."""
        sentence = part.read.sentence
        limit = math.ceil(self._factor * len(part.read.tokens))
        part.stopped = len(prefix) > CHARACTERS_OF_A_TOKEN * (limit + 1) + len(sentence.plain)
        if not part.stopped:
            part.forced = forced(sentence, prefix, self._reader.signs)
            part.stopped = len(self._subwords.encode(part.forced.text)) > limit

    def _row(self, part: PlannedSentence) -> PlannedRow | None:
        needed = part.shown is None or (part.forced is not None and not part.stopped)
        if not part.read.tokens or not needed:
            return None
        part.has_row = True
        return PlannedRow(part.read.tokens, self._subwords.encode(part.forced.text) if part.forced else ())

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        """The JSON of a TranslateOutput for each request."""
        return [self._answer(_plan_of(one.rows), one.outputs) for one in finished]

    def _answer(self, plan: Plan, translations: Iterable[Translation]) -> bytes:
        notes = Notes(self.source)
        found: Iterator[Translation] = iter(translations)
        texts: list[str] = []
        for part in plan.sentences:
            translation = next(found) if part.has_row else NO_TRANSLATION
            text = self._text(part, translation)
            texts.append(text)
            notes.add(part, translation, text)
        return msgspec.json.encode(
            TranslateOutput(
                "".join(texts),
                self.source,
                self.target,
                sentences=notes.sentences,
                complete=notes.complete,
                note=notes.text or UNSET,
            )
        )

    def _text(self, part: PlannedSentence, translation: Translation) -> str:
        """The answer for one sentence, with the spaces around it."""
        sentence, shown = part.read.sentence, part.shown
        if not part.has_row:
            own = f"{sentence.lead}{sentence.plain}{sentence.trail}"
            if shown is None or (not part.read.tokens and not part.goes_on and own.startswith(shown)):
                return own
            return shown if part.goes_on or shown[-1:].isspace() else shown + _spaces(sentence.trail)
        forced_text = part.forced.text if part.forced else ""
        target = self._joined(forced_text, translation.tokens)
        target = with_mended_numbers(sentence.source, target, len(forced_text))
        if shown is None or part.forced is None:
            return f"{sentence.lead}{restored(sentence, target, self._aligner)}{sentence.trail}"
        rest = sentence._replace(marks=part.forced.marks)
        behind = restored(rest, target, self._aligner, shown=len(forced_text))
        if shown[-1:].isspace():
            behind = behind.lstrip()
        return shown + behind + (sentence.trail if behind or not shown[-1:].isspace() else "")

    def _joined(self, begin: str, tokens: Sequence[int]) -> str:
        text = self._subwords.decode(tokens)
        space = begin and tokens and self._subwords.starts_word(tokens[0])
        return f"{begin} {text}" if space else begin + text


def _plan_of(rows: Sequence[Row]) -> Plan:
    plan = getattr(rows[0], "plan", None)
    assert isinstance(plan, Plan)
    return plan


def _spaces(trail: str) -> str:
    return trail if trail.isspace() else ""
