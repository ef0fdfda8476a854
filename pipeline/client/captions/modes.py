"""What a reader sees of a segment before its final, by mode."""

from typing import Final, Literal, Protocol, get_args

from .agreement import LocalAgreement
from .words import words_of

Mode = Literal["live", "stable", "final"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)


class Shown(Protocol):
    """What is shown of one segment. Stamps are seconds of one clock."""

    asks: bool
    """Whether partials are sent."""

    @property
    def text(self) -> str: ...

    @property
    def prefix(self) -> str:
        """The start of ``text`` that stays: the next translation must begin with it."""
        ...

    @property
    def release_at(self) -> float | None:
        """When `release` must be called next."""
        ...

    def add(self, translation: str, now: float) -> None:
        """A newer translation has come."""
        ...

    def release(self, now: float) -> None:
        """Show what was held back for too long."""
        ...

    def freeze(self) -> None:
        """The final is asked for."""
        ...

    def forget(self) -> None:
        """The source has changed, not only grown."""
        ...


class LiveText:
    """Each translation at once, as it is: nothing is kept, so that the final is as good as can be."""

    asks = True
    prefix = ""
    release_at = None

    def __init__(self) -> None:
        self.text = ""

    def add(self, translation: str, now: float) -> None:
        self.text = translation

    def release(self, now: float) -> None:
        """Nothing is held back."""

    def freeze(self) -> None:
        """Nothing is kept."""

    def forget(self) -> None:
        """Nothing is kept."""


class FinalText(LiveText):
    """Nothing before the final."""

    asks = False

    def add(self, translation: str, now: float) -> None:
        """No partial is sent: one that comes all the same is not shown."""


class StableText:
    """The words that translations agree on, see `LocalAgreement`."""

    asks = True

    def __init__(self, hold_back_s: float) -> None:
        self._agreement = LocalAgreement(hold_back_s)
        self.release = self._agreement.release
        self.freeze = self._agreement.freeze
        self.forget = self._agreement.forget

    @property
    def text(self) -> str:
        return "".join(self._agreement.shown)

    @property
    def prefix(self) -> str:
        return "".join(self._agreement.kept)

    @property
    def release_at(self) -> float | None:
        return self._agreement.release_at

    def add(self, translation: str, now: float) -> None:
        self._agreement.add(words_of(translation), now)


def shown_in(mode: Mode, hold_back_s: float) -> Shown:
    """What is shown of a new segment in this mode."""
    if mode == "stable":
        return StableText(hold_back_s)
    return LiveText() if mode == "live" else FinalText()
