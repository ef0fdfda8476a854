"""Grammars: which tokens may follow, so that a text is JSON of a schema, or matches a regular expression."""

import logging
import re
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, regex_to_lark
from numpy.typing import NDArray

from ....schemas.generation import GenerateOptions
from ...errors import BadRequest, Overloaded
from .grammar_trials import GrammarTrials, Verdict
from .slow_work import SlowWork

log = logging.getLogger(__name__)

LIMITS: Final[dict[str, Any]] = {
    "initial_lexer_fuel": 500_000,
    "step_lexer_fuel": 100_000,  # about 7 ms
    "step_max_items": 20_000,  # about 1 ms
    "max_items_in_row": 5_000,  # an object with 500 fields has 2 000
    "max_lexer_states": 32_768,  # 0.4 KB each, while a text is generated
    "verbose_errors": False,
}
SLOW_MS: Final = 30.0
"""What takes more to compile has a share of the preparing thread's time: texts of others wait meanwhile."""
MAX_KB: Final = 65_536
"""Of one grammar."""
MAX_LIVE_KB: Final = 262_144
"""Of all grammars of a model that rows need, those that wait included."""
LEAST_KB: Final = 256
"""What a grammar counts at least: a small one takes no page of its own."""

JSON_STYLE: Final[Any] = {
    "item_separator": ", ",
    "key_separator": ": ",
    # Spaces that may come anywhere may come for ever: a small model fills its answer with them.
    "whitespace_flexible": False,
    "coerce_one_of": False,
    "lenient": False,  # what is not supported is refused
}
MAX_REASON: Final = 160
TOO_COMPLEX: Final = re.compile(r"\bfuel\b|too (many|large)|precomputation|row has", re.IGNORECASE)


class Grammar:
    """A compiled grammar, for the choices of one request."""

    def __init__(self, matcher: LLMatcher, name: str, kb: int, words: int) -> None:
        self.matcher = matcher
        self.name = name
        self.kb = kb
        self.words = words


class Grammars:
    """Makes the grammars of one model. Several threads may call it at once."""

    def __init__(self, tokenizer: Path | str, ends: Sequence[int]) -> None:
        """Reads ``tokenizer.json``: 0.25 s in which no other thread runs, so this belongs to the start.

        Raises ValueError for a tokenizer that the library does not know.
        """
        self._tokenizer = LLTokenizer(Path(tokenizer).read_text(encoding="utf-8"), eos_token=list(ends))
        self._limits = LLParserLimits(**LIMITS)
        self._trials = GrammarTrials(tokenizer, ends, LIMITS)
        self._slow = SlowWork()
        self._live: weakref.WeakSet[Grammar] = weakref.WeakSet()
        self._counting = threading.Lock()

    def of(self, options: GenerateOptions) -> Grammar | None:
        """The grammar that the options ask for. Raises BadRequest for one that is of no use, Overloaded."""
        if options.json_schema is not None:
            return self._compiled("json_schema", _of_schema(options.json_schema))
        if options.regex is not None:
            return self._compiled("regex", _of_regex(options.regex))
        return None

    def close(self) -> None:
        """End the process that tries grammars."""
        self._trials.close()

    def _compiled(self, name: str, text: str) -> Grammar:
        verdict, tried = self._verdict(text)
        if verdict.reason:
            raise unusable(name, verdict.reason)
        slow = verdict.ms > SLOW_MS
        if slow and not tried:
            self._slow.check()
        if verdict.kb > MAX_KB:
            raise unusable(name, f"it takes {verdict.kb >> 10} MB of memory")
        kb = max(verdict.kb, LEAST_KB)
        with self._counting:
            if sum(grammar.kb for grammar in self._live) + kb > MAX_LIVE_KB:
                raise Overloaded("Too many grammars are in use: send the request again later.", 1000)
        if slow:
            self._slow.add(verdict.ms / 1e3)
        matcher = LLMatcher(self._tokenizer, text, log_level=0, limits=self._limits)
        grammar = Grammar(matcher, name, kb, self._tokenizer.vocab_size)
        GrammarState(grammar).allowed(())  # raises BadRequest for one that no text matches
        with self._counting:
            self._live.add(grammar)
        return grammar

    def _verdict(self, text: str) -> tuple[Verdict, bool]:
        """And whether it was found just now."""
        tried = False

        def before() -> None:
            nonlocal tried
            self._slow.check()
            tried = True

        verdict = self._trials.verdict(text, before)
        if tried and verdict.ms > SLOW_MS:
            self._slow.add(verdict.ms / 1e3)
        return verdict, tried


def grammars_of(tokenizer: Path | str, ends: Sequence[int]) -> Grammars | None:
    """None for a model that has no token for an end, or whose tokenizer llguidance does not know."""
    try:
        return Grammars(tokenizer, ends)
    except ValueError as error:
        log.warning(
            "Texts of %s can follow no json_schema and no regex: %s.", Path(tokenizer).parent.name, error
        )
        return None


class GrammarState:
    """Where one text is in its grammar."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._matcher: LLMatcher = grammar.matcher.deep_copy()
        self._read = 0

    def allowed(self, generated: Sequence[int]) -> NDArray[np.intp]:
        """The tokens that may come behind ``generated``, which begins with what it was before.

        Only those for an end where nothing may come. Raises BadRequest if no text of the grammar begins so.
        """
        matcher = self._matcher
        new = list(generated[self._read :])
        if new:
            matcher.consume_tokens(new)
            self._read += len(new)
        mask = np.frombuffer(matcher.compute_bitmask(), np.uint8)
        if matcher.is_error() or (matcher.is_stopped() and not matcher.is_accepting()):
            raise unusable(self._grammar.name, self._reason(len(generated)))
        bits = np.unpackbits(mask, count=self._grammar.words, bitorder="little")
        return np.flatnonzero(bits.view(np.bool_))  # of bytes it takes four times as long

    def _reason(self, generated: int) -> str:
        error: str = self._matcher.get_error()
        if error and not error.startswith("NoExtension"):
            return error
        return f"no text can go on behind {generated} tokens" if generated else "no text matches it"


def unusable(name: str, reason: str) -> BadRequest:
    """The error for a grammar. ``reason``: of the library, which may be long and have many lines."""
    return BadRequest(f"The option {name!r} cannot be used: {_sentence(reason)}.")


def _sentence(reason: str) -> str:
    lines = [line.strip() for line in reason.splitlines()] or [""]
    # A wrong regular expression is shown before it is said what is wrong with it.
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    # What follows on the first sentence is about settings of the library.
    sentence = re.split(r"[.;] ", (told or lines)[0])[0][:MAX_REASON].rstrip(". ")
    return f"it is too complex ({sentence})" if TOO_COMPLEX.search(sentence) else sentence


def _of_schema(schema: dict[str, Any]) -> str:
    text = msgspec.json.encode(schema).decode()
    try:
        return LLMatcher.grammar_from_json_schema(text, overrides=JSON_STYLE)
    except ValueError as error:  # too deep
        raise unusable("json_schema", str(error)) from error


def _of_regex(regex: str) -> str:
    try:
        # \\d is 0 to 9, as in JSON Schema: digits of all scripts are rarely what is meant.
        return LLMatcher.grammar_from_lark(f"start: /{regex_to_lark(regex, use_ascii='d')}/")
    except UnicodeEncodeError as error:
        raise unusable("regex", str(error)) from error
