"""One segment of a stream: what is asked of it, and what is shown. Pure; stamps are seconds of one clock."""

from typing import Final, NamedTuple

from ...errors import InferstreamError
from .caption import Caption
from .measures import Trace
from .modes import Shown
from .words import common, words_of

UNSTABLE_WORDS: Final = 2
"""The last words of a partial that a recognizer may change: a text that changes earlier ones is another text."""


class Revision(NamedTuple):
    """What is known of a segment at one time, to be translated. ``prefix`` is the start of the translation."""

    number: int
    text: str
    prefix: str
    final: bool
    supersedes: int | None


class Segment:
    """Lives from its first text until its final is read."""

    def __init__(self, number: int, shown: Shown) -> None:
        self.number = number
        self.trace = Trace()
        self.text = ""
        """The newest source text."""
        self.caption: Caption | None = None
        """What was not read yet."""
        self.final: Revision | None = None
        self.is_done = False
        """Its final is known, or has failed."""
        self._shown = shown
        self._told = ""
        self._sent_revisions = 0
        self._pending: dict[int, None] = {}  # partials that were sent and have not ended, in their order
        self._answered = -1  # answers up to this revision are not shown any more
        self._last: Revision | None = None

    def partial(self, text: str, now: float) -> Revision | None:
        """The text has grown to this. Returns what to ask; None if nothing is new, or the mode asks nothing."""
        if not text.strip() or text == self.text:
            return None
        self._take(text, now)
        if not self._shown.asks:
            return None
        self._last = revision = self._next_revision(text, self._shown.prefix, final=False)
        self._pending[revision.number] = None
        return revision

    def end(self, text: str, now: float) -> Revision | None:
        """The segment is complete with this text. Returns what to ask; None for a blank one: it is done."""
        self._shown.freeze()
        repeated = self._last if text == self.text else None
        self._take(text, now)
        # The same request as that of the last partial: the answer is in the cache, or on its way.
        prefix = self._shown.prefix if repeated is None else repeated.prefix
        self.final = self._next_revision(text, prefix, final=True)
        if text.strip():
            return self.final
        self.finish("", now)
        return None

    def answer(self, revision: int, translation: str, now: float) -> None:
        """The translation of a partial has come."""
        self._pending.pop(revision, None)
        if revision <= self._answered or self.is_done:
            return
        self._answered = revision
        self._shown.add(translation, now)
        self._tell(now)

    def pass_over(self, revision: int) -> None:
        """A partial has ended without a translation: the next one has its words."""
        self._pending.pop(revision, None)

    def release(self, now: float) -> None:
        """Show what was held back for too long."""
        if not self.is_done:
            self._shown.release(now)
            self._tell(now)

    @property
    def release_at(self) -> float | None:
        """When to call `release` next."""
        return None if self.is_done else self._shown.release_at

    @property
    def pending(self) -> int:
        """How many partials were sent and have not ended."""
        return len(self._pending)

    def finish(self, translation: str, now: float) -> None:
        """The translation of the final has come."""
        if self.is_done:
            return
        self.trace.shown(translation, now)
        self._close(translation, None)

    def fail(self, error: InferstreamError) -> None:
        """The final cannot be translated."""
        if not self.is_done:
            self._close(self._told, error)

    def _close(self, text: str, error: InferstreamError | None) -> None:
        self.is_done = True
        revision = self._sent_revisions - 1
        self.caption = Caption(self.number, revision, text, final=True, settled=len(text), error=error)

    def _take(self, text: str, now: float) -> None:
        words, earlier = words_of(text), words_of(self.text)
        if common(earlier, words) < len(earlier) - UNSTABLE_WORDS:
            self._shown.forget()
            self._answered = self._sent_revisions - 1
            self._last = None
        self.text = text
        self.trace.sent(text, now)

    def _next_revision(self, text: str, prefix: str, *, final: bool) -> Revision:
        newest = next(reversed(self._pending), None)
        revision = Revision(self._sent_revisions, text, prefix, final, newest)
        self._sent_revisions += 1
        return revision

    def _tell(self, now: float) -> None:
        text = self._shown.text
        if text != self._told:
            self._told = text
            self.trace.shown(text, now)
            self.caption = Caption(self.number, self._answered, text, settled=len(self._shown.prefix))
