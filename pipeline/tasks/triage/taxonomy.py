"""The taxonomy: the categories of tickets, in a TOML file of the user."""

import hashlib
import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from ...errors import UsageError
from ...rows.decoding import read_text

DEFAULT_THRESHOLD = 0.5
DEFAULT_TEMPERATURE = 0.04  # of cosines; suits MiniLM with a few phrases per category
MAX_BLOCKS = 20
MAX_BLOCK = 2_000
"""Text blocks of a category, and characters of one: each answer that has them repeats them."""

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """One category: its description and examples, and the route and priority of its tickets.

    ``text_blocks`` are paragraphs for replies to its tickets.
    """

    description: str
    route: str | None = None
    priority: str | None = None
    examples: list[str] = []
    text_blocks: list[str] | UnsetType = UNSET  # left out of the digest where there are none


class Urgency(Struct, frozen=True, forbid_unknown_fields=True):
    """A ticket gets the next higher priority if it is closer to the urgent phrases than to the calm
    ones.

    The difference of the cosines must exceed ``margin``.
    """

    urgent: list[str]
    calm: list[str]
    margin: float = 0.06


class Taxonomy(Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the file. ``priorities`` are in rising order.

    ``default_text_blocks`` are for categories that have no text blocks of their own.
    """

    categories: dict[str, Rule]
    threshold: float = DEFAULT_THRESHOLD
    temperature: float = DEFAULT_TEMPERATURE
    priorities: list[str] = field(default_factory=lambda: ["low", "normal", "high", "urgent"])
    default_route: str = "support"
    default_priority: str = "normal"
    urgency: Urgency | None = None
    default_text_blocks: list[str] | UnsetType = UNSET

    def route(self, label: str, fallback: str | None = None) -> str:
        """The route of a category: of this file, else ``fallback``, else the default route."""
        rule = self.categories.get(label)
        return (rule.route if rule else None) or fallback or self.default_route

    def priority(self, label: str, fallback: str | None = None) -> str:
        """The priority of a category: of this file, else ``fallback``, else the default priority."""
        rule = self.categories.get(label)
        return (rule.priority if rule else None) or fallback or self.default_priority

    def text_blocks(self, label: str) -> tuple[str, ...]:
        """The paragraphs for a reply to a ticket of a category: its own, else the default ones."""
        rule = self.categories.get(label)
        own = rule.text_blocks if rule else UNSET
        return tuple(own if own is not UNSET else self.default_text_blocks or ())

    @property
    def digest(self) -> bytes:
        """The digest of the content; comments and layout do not count."""
        return hashlib.blake2b(msgspec.json.encode(self), digest_size=32).digest()


def load_taxonomy(path: Path | None = None) -> Taxonomy:
    """The taxonomy in ``path``, or the built-in one. Raises UsageError with the line and the field."""
    if path is None:
        text = files(__package__).joinpath("default_taxonomy.toml").read_text("utf-8")
        return parse_taxonomy(text, "built-in")
    return parse_taxonomy(read_text(path, f"the taxonomy {path}"), str(path))


def parse_taxonomy(text: str, source: str) -> Taxonomy:
    """The taxonomy in ``text``; errors call it ``source``. Raises UsageError with the line and the field."""
    file = _File(text, source)
    raw = file.decoded()
    rules = raw.get("categories")
    if not isinstance(rules, dict) or len(rules) < 2:
        raise file.wrong([], "needs at least two tables [categories.NAME], each with a description")
    categories = {name: file.convert(rule, Rule, ["categories", name]) for name, rule in rules.items()}
    if isinstance(raw.get("urgency"), dict):
        raw["urgency"] = file.convert(raw["urgency"], Urgency, ["urgency"])
    taxonomy: Taxonomy = file.convert({**raw, "categories": categories}, Taxonomy, [])
    _check(taxonomy, file)
    return taxonomy


def _check(taxonomy: Taxonomy, file: "_File") -> None:
    """Check what the types do not express. Raises UsageError."""
    known = taxonomy.priorities
    if not known or len(set(known)) < len(known):
        raise file.wrong(["priorities"], "must name each priority once, the lowest first")
    _require(file, 0 <= taxonomy.threshold <= 1, ["threshold"], "must lie between 0 and 1")
    _require(file, 0 < taxonomy.temperature <= 10, ["temperature"], "must be above 0 and at most 10")
    if taxonomy.default_priority not in known:
        raise file.wrong(["default_priority"], f"must be one of {', '.join(known)}")
    for name, rule in taxonomy.categories.items():
        here = ["categories", name]
        _require(file, name.strip(), here, "needs a name")
        _require(file, rule.description.strip(), [*here, "description"], "must not be empty")
        _require(
            file, all(map(str.strip, rule.examples)), [*here, "examples"], "must not contain an empty text"
        )
        _check_blocks(file, rule.text_blocks, [*here, "text_blocks"])
        if rule.priority is not None and rule.priority not in known:
            raise file.wrong([*here, "priority"], f"must be one of {', '.join(known)}, not {rule.priority!r}")
    _check_blocks(file, taxonomy.default_text_blocks, ["default_text_blocks"])
    if taxonomy.urgency is not None:
        for side in ("urgent", "calm"):
            phrases = getattr(taxonomy.urgency, side)
            _require(
                file,
                phrases and all(map(str.strip, phrases)),
                ["urgency", side],
                "must contain phrases, none of them empty",
            )


def _check_blocks(file: "_File", blocks: list[str] | UnsetType, keys: list[str]) -> None:
    if blocks is UNSET:
        return
    _require(file, len(blocks) <= MAX_BLOCKS, keys, f"must have at most {MAX_BLOCKS} texts")
    _require(file, all(map(str.strip, blocks)), keys, "must not contain an empty text")
    longest = max(map(len, blocks), default=0)
    allowed = f"must not contain a text of more than {MAX_BLOCK} characters; one has {longest}"
    _require(file, longest <= MAX_BLOCK, keys, allowed)


def _require(file: "_File", holds: object, keys: list[str], reason: str) -> None:
    if not holds:
        raise file.wrong(keys, reason)


class _File:
    """The text of a taxonomy; its errors name the wrong line."""

    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source

    def decoded(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"The taxonomy {self._source} is not valid TOML: {error}.") from error

    def convert(self, raw: object, kind: Any, keys: list[str]) -> Any:
        try:
            return msgspec.convert(raw, kind)
        except msgspec.ValidationError as error:
            reason, _, where = str(error).partition(" - at `$")
            if missing := re.search(r"missing required field `(\w+)`", reason):
                raise self.wrong(keys, f"lacks the field `{missing[1]}`") from error
            if unknown := re.search(r"unknown field `(.+)`", reason):
                known = ", ".join(kind.__struct_fields__)
                raise self.wrong([*keys, unknown[1]], f"is unknown; the fields here are: {known}") from error
            inner = re.findall(r"\w+", where)[:1]
            raise self.wrong([*keys, *inner], f"is wrong: {reason[:1].lower()}{reason[1:]}") from error

    def wrong(self, keys: list[str], reason: str) -> UsageError:
        line = self._line(keys)
        at = f", line {line}" if line else ""
        name = f" `{'.'.join(keys)}`" if keys else " it"
        return UsageError(f"The taxonomy {self._source} is wrong{at}:{name} {reason}.")

    def _line(self, keys: list[str]) -> int | None:
        """The line of a field, or of its table if the field is missing."""
        lines = self._text.splitlines()
        for table, name in ((keys[:-1], keys[-1:]), (keys, [])):
            start = self._table(lines, table)
            if start is not None and keys:
                found = _field(lines, start, name[0]) if name else start
                if found:
                    return found
        return None

    def _table(self, lines: list[str], keys: list[str]) -> int | None:
        """The number of the table's header line; 0 for the fields at the top of the file."""
        if not keys:
            return 0
        parts = [
            rf"{re.escape(k)}" if BARE_KEY.fullmatch(k) else rf"""["']{re.escape(k)}["']""" for k in keys
        ]
        header = re.compile(r"\s*\[\s*" + r"\s*\.\s*".join(parts) + r"\s*\]")
        return next((n for n, line in enumerate(lines, 1) if header.match(line)), None)


def _field(lines: list[str], start: int, name: str) -> int | None:
    pattern = re.compile(rf"""\s*["']?{re.escape(name)}["']?\s*=""")
    for number, line in enumerate(lines[start:], start + 1):
        if re.match(r"\s*\[[^\]]*\]\s*(#.*)?$", line) and number > start + 1:
            return None
        if pattern.match(line):
            return number
    return None
