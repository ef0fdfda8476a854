"""Equal requests have equal answers: what was generated for each, whatever happened meanwhile."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from ....schemas.generation import GenerateOutput

EXAMPLES: Final = 10


class Made(NamedTuple):
    """Tokens of an answer; with ``text`` it is whole.

    ``ended``: by the model's own end. ``limit`` is the number of tokens that it might have had, ``id`` that of the
    request.
    """

    tokens: Sequence[int]
    text: str | None = None
    ended: bool = False
    limit: int = 0
    id: str = ""

    @classmethod
    def of(cls, output: GenerateOutput, limit: int = 0, identity: str = "") -> "Made":
        choice = output.choices[0]
        return cls(choice.tokens, choice.text, choice.ended_by == "end", limit, identity)

    def agrees(self, other: "Made") -> bool:
        """Whether both can be the answer to one request, where one may be cut or have fewer ``max_tokens``."""
        short, long = sorted((self, other), key=lambda one: len(one.tokens))
        if list(short.tokens) != list(long.tokens[: len(short.tokens)]):
            return False
        if len(short.tokens) < len(long.tokens):
            return not short.ended
        if None in (short.text, long.text):
            return True
        # One that its limit cut may have the length at which the other one, with another limit, ended by itself.
        return short.text == long.text and (short.ended == long.ended or short.limit != long.limit)


class EqualAnswers:
    """Compares each answer with the longest whole one of an equal request before it."""

    def __init__(self) -> None:
        self._known: dict[bytes, Made] = {}
        self.compared = 0
        self.unequal = 0
        self.examples: list[tuple[Made, Made]] = []
        """Some that are unequal, each behind the one before that it should equal."""

    def add(self, asked: bytes, made: Made) -> None:
        """Compare an answer, or what was seen of it. ``asked``: see `asked`."""
        known = self._known.get(asked)
        if known is not None:
            self.compared += 1
            if not made.agrees(known):
                self.unequal += 1
                self.examples = [*self.examples, (known, made)][:EXAMPLES]
        if made.text is not None and (known is None or len(made.tokens) > len(known.tokens)):
            self._known[asked] = made


def asked(messages: Sequence[Any], options: dict[str, Any]) -> bytes:
    """What decides an answer; how many tokens it may have does not change their beginning."""
    return msgspec.json.encode([messages, {**options, "max_tokens": 0}], order="deterministic")
