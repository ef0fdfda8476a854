"""Negated texts, made of English ones by rules: a word is denied, or its denial is taken away.

Their right answers are not known, so they show one thing only: whether a variant reads denials as its
original does. A model that ignores the order of words does so less often.
"""

import re
from collections.abc import Sequence
from typing import Final

DENIED: Final = r"(?P<verb>is|are|was|were|do|does|did|have|has|had|would|should|could|must)n['’]t\b"
IRREGULAR: Final = {"can't": "can", "can’t": "can", "cannot": "can", "won't": "will", "won’t": "will"}
POSITIVE: Final = (
    r"(?P<before>\b(?:i|you|we|they|it|he|she|there|this|that|which|card|money|order|account|payment) )"
    r"(?P<verb>am|is|are|was|were|can|could|will|would|should|must|have|has|had|did|do|does)\b(?! not\b|n['’]t)"
)
RULES: Final = (
    (re.compile(DENIED, re.IGNORECASE), lambda found: found["verb"]),
    (
        re.compile("|".join(map(re.escape, IRREGULAR)), re.IGNORECASE),
        lambda found: IRREGULAR[found[0].lower()],
    ),
    (re.compile(r" not\b", re.IGNORECASE), lambda found: ""),
    (re.compile(r"\bnever\b", re.IGNORECASE), lambda found: "always"),
    (re.compile(POSITIVE, re.IGNORECASE), lambda found: f"{found['before']}{found['verb']} not"),
)


def negated(texts: Sequence[str], most: int) -> list[str]:
    """Of the first texts that a rule fits the opposite, ``most`` at most."""
    found: list[str] = []
    for text in texts:
        if (opposite := _negated(text)) is not None:
            found.append(opposite)
        if len(found) == most:
            break
    return found


def _negated(text: str) -> str | None:
    for pattern, replacement in RULES:
        if pattern.search(text):
            return pattern.sub(replacement, text, count=1)
    return None
