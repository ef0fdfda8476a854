"""What an answer must say beside the translation."""

from typing import Final

from ...runtime.translator import Translation
from .numbers import lost_numbers
from .plan import PlannedSentence
from .sentence import placeholders

SHOWN: Final = 3


class Notes:
    """Collects what must be told of the sentences of one answer."""

    def __init__(self, source: str) -> None:
        self.sentences = 0
        self.complete = True
        self._source = source
        self._foreign = 0
        self._stopped = 0
        self._prefix = False
        self._lost: dict[str, None] = {}

    def add(self, part: PlannedSentence, translation: Translation, text: str) -> None:
        """Look at one sentence and its answer, ``text``."""
        sentence = part.read.sentence
        self.sentences += not part.read.text.isspace()
        self._foreign += sentence.foreign
        self._prefix |= part.stopped
        self._stopped += not translation.ended
        self.complete &= translation.ended and not part.stopped
        if part.has_row:
            source = placeholders(sentence).sub(" ", sentence.source) if sentence.words else sentence.source
            self._lost.update(dict.fromkeys(lost_numbers(source, text)))

    @property
    def text(self) -> str:
        """The sentences of the note; empty if there is nothing to tell."""
        return " ".join(self._sentences())

    def _sentences(self) -> "list[str]":
        found = []
        if self._foreign:
            found.append(
                f"{_counted(self._foreign, self.sentences)} of another script than the model for {self._source!r} "
                "reads, and left as it was."
            )
        if self._lost:
            names = ", ".join(list(self._lost)[:SHOWN]) + (", …" if len(self._lost) > SHOWN else "")
            found.append(f"Not found in the translation: {names}.")
        if self._stopped:
            found.append(
                f"{_counted(self._stopped, self.sentences)} stopped at the largest length that the model allows."
            )
        if self._prefix:
            found.append("The prefix is longer than a translation of this text may be: it is given as it is.")
        return found


def _counted(count: int, total: int) -> str:
    return "The text is" if total == 1 else f"{count} of {total} sentences are"
