"""How calm and how late captions are: normalized erasure, and the lag of words."""

from collections.abc import Sequence
from math import ceil

from msgspec import Struct

from .words import common, words_of


class StreamReport(Struct, frozen=True):
    """What one stream has shown until now. Only segments whose final was shown count in the last four.

    Attributes:
        segments: segments whose final was shown.
        failed: segments among them whose final has an error.
        partials: partials that were sent.
        superseded: partials that a newer request has superseded.
        passed_over: partials that failed otherwise, e.g. since they were too late.
        erasure: normalized erasure (Arivazhagan et al. 2020, "Re-translation versus streaming"): words that were
            taken back, for each word of the finals. With the captions o_1 … o_I of a segment, in words,
            ``sum over i > 1 of (|o_(i-1)| - |common start of o_i and o_(i-1)|) / |o_I|``. 0: nothing was taken back.
        first_word_s: mean lag of the first word: from when the first words of a segment were sent to when the
            first word of its translation was shown that stays.
        last_word_s: mean lag of the last word: from when all words of a segment had been sent to when its translation
            was complete.
        word_s: mean lag of all words. The lag of word j of the translation is ``f(j) - a(ceil(j * |s| / |o|))``:
            f(j) is when it and all words before it were shown as they stay, a(i) is when word i of the source
            was sent first, |s| and |o| are the words of both.
    """

    segments: int = 0
    failed: int = 0
    partials: int = 0
    superseded: int = 0
    passed_over: int = 0
    erasure: float = 0.0
    first_word_s: float = 0.0
    last_word_s: float = 0.0
    word_s: float = 0.0


class Trace:
    """What was sent and shown of one segment, and when. Stamps are seconds of one clock."""

    def __init__(self) -> None:
        self.erased = 0
        self._shown: list[str] = []
        self._settled_at: list[float] = []
        """Of each shown word: since when it and all words before it are as they are."""
        self._sent_at: list[float] = []
        """Of each source word."""

    def sent(self, text: str, now: float) -> None:
        """The segment was sent with this text: words beyond those that were sent before are new."""
        count = len(words_of(text))
        self._sent_at += [now] * (count - len(self._sent_at))

    def shown(self, text: str, now: float) -> None:
        """A reader sees this text now."""
        words = words_of(text)
        same = common(self._shown, words)
        self.erased += len(self._shown) - same
        self._settled_at[same:] = [now] * (len(words) - same)
        self._shown = words

    @property
    def words(self) -> int:
        return len(self._shown)

    def lags(self, final: str) -> list[float]:
        """The lag of each shown word; ``final`` is the text of the final, which was sent."""
        return word_lags(self._settled_at, self._sent_at[: len(words_of(final))])


def word_lags(settled_at: Sequence[float], sent_at: Sequence[float]) -> list[float]:
    """The lag of each word of a translation, see `StreamReport.word_s`."""
    if not sent_at:
        return []
    share = len(sent_at) / max(1, len(settled_at))
    return [
        at - sent_at[min(len(sent_at), ceil(number * share)) - 1] for number, at in enumerate(settled_at, 1)
    ]


class Measures:
    """Adds up the traces of the segments of one stream."""

    def __init__(self) -> None:
        self.partials = 0
        self.superseded = 0
        self.passed_over = 0
        self._segments = 0
        self._failed = 0
        self._measured = 0
        self._erased = 0
        self._words = 0
        self._first_s = 0.0
        self._last_s = 0.0
        self._word_s = 0.0

    def end(self, trace: Trace, final: str, *, failed: bool) -> None:
        """The translation of a final is known, or has failed; ``final`` is its source."""
        self._segments += 1
        self._failed += failed
        lags = [] if failed else trace.lags(final)
        if not lags:
            return
        self._measured += 1
        self._erased += trace.erased
        self._words += trace.words
        self._first_s += lags[0]
        self._last_s += lags[-1]
        self._word_s += sum(lags)

    def report(self) -> StreamReport:
        segments = max(1, self._measured)
        words = max(1, self._words)
        return StreamReport(
            self._segments,
            self._failed,
            self.partials,
            self.superseded,
            self.passed_over,
            self._erased / words,
            self._first_s / segments,
            self._last_s / segments,
            self._word_s / words,
        )
