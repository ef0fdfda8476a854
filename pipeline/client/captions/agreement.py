"""Which words of a growing translation are shown: those that two translations in a row agree on."""

from collections.abc import Sequence
from typing import Final

from .words import common

OPEN_WORDS: Final = 2
"""The last shown words that the next translation may still change. With 0 BLEU falls by 0.6, with 2 by 0.2, with 3 by
0.1, and more of the translation is made again (docs/decisions/0022)."""


class LocalAgreement:
    """Local agreement (Liu et al. 2020, LA-2) with a limit on how long a word is held back. Stamps are seconds.

    A word is shown when two translations in a row have it and all words before it, or when it was held back for
    ``hold_back_s``. What is shown changes if two translations in a row agree on other words, or at that limit.
    Words that were shown before the last `OPEN_WORDS` are kept: they never change, and the next translation
    must begin with them.
    """

    def __init__(self, hold_back_s: float) -> None:
        self.shown: list[str] = []
        self._kept = 0
        self._is_frozen = False
        self._hold_back_s = hold_back_s
        self._newest: list[str] = []
        self._since: list[float] = []  # for each word of the newest translation since when it is held back

    @property
    def kept(self) -> list[str]:
        """The shown words that stay."""
        return self.shown[: self._kept]

    def add(self, words: Sequence[str], now: float) -> None:
        """A newer translation has come. One that was asked for before a word was kept, and lacks it, is passed over."""
        same = common(self.shown, words)
        if same < self._kept:
            return
        agreed = common(self._newest, words)
        first = self._first_held
        held = self._since[first : len(words)]
        self._since = [now] * first + held + [now] * (len(words) - first - len(held))
        self._newest = list(words)
        if same == len(self.shown) or agreed > same:
            self.shown = self._newest[: max(agreed, same)]
        self.release(now)

    def release(self, now: float) -> None:
        """Show what was held back for too long, and keep what has been shown for a while."""
        late = self._first_held
        while late < len(self._newest) and self._since[late] + self._hold_back_s <= now:
            late += 1
        if late > self._first_held:
            self.shown = self._newest[:late]
        if not self._is_frozen:
            self._kept = max(self._kept, self._first_held - OPEN_WORDS)

    @property
    def release_at(self) -> float | None:
        """When the next word has been held back for too long; None if no word is held back."""
        first = self._first_held
        return self._since[first] + self._hold_back_s if first < len(self._newest) else None

    def freeze(self) -> None:
        """The final is asked for: no more words are kept, since it need not begin with them."""
        self._is_frozen = True

    def forget(self) -> None:
        """The source has changed: nothing is kept, and earlier translations count no more."""
        self._kept = 0
        self._newest = []

    @property
    def _first_held(self) -> int:
        """The first word of the newest translation that is not shown."""
        return common(self.shown, self._newest)
