"""What the readers of captions have seen in a run: each final exactly once, in order, and with its own text."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct, field

from ...client.captions.caption import Caption
from ...client.captions.measures import StreamReport
from ...client.captions.modes import Mode
from ..statistics import percentile
from .left_requests import LeftRequests


class Spoken(Struct):
    """A segment whose final was sent ``at_s`` after the start of the run; ``mark`` is in its translation too.

    ``shown_after_s``: when its final was shown first.
    """

    mark: str
    at_s: float
    shown_after_s: float | None = None


class CaptionCounts(Struct):
    """What was seen of the streams of captions.

    Attributes:
        streams: streams that have ended, by mode.
        finals: segments whose final was sent.
        missing: of these, those whose final was not shown within a time after the end of the stream.
        doubled: finals beyond one for each segment.
        misordered: captions behind one of a later segment or revision, or behind the final of their segment.
        failed: finals that were shown with an error, by its code.
        wrong: finals with the translation of another segment.
        taken_back: captions without the start that the one before them had called settled.
        broken: streams that ended with an error, by its code.
        partials: partials that were sent.
        superseded: partials that a newer one, or the final, has superseded.
        passed_over: partials that had no translation for another reason, e.g. since they were too late.
        lags: of each final that was shown: when it was sent, and how many seconds later it was shown.
        erased: words that were taken back for each word of the finals, of each stream, by mode.
        left_s: of each request that was open when the process of its speaker was killed: how long after it ended.
        left_cancelled: requests of such speakers that ended as cancelled.
        left_open: those that did not end within a time.
    """

    streams: Counter[str] = field(default_factory=Counter)
    finals: int = 0
    missing: int = 0
    doubled: int = 0
    misordered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    taken_back: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    partials: int = 0
    superseded: int = 0
    passed_over: int = 0
    lags: list[tuple[float, float]] = field(default_factory=list)
    erased: dict[str, list[float]] = field(default_factory=dict)
    left_s: list[float] = field(default_factory=list)
    left_cancelled: int = 0
    left_open: int = 0

    @property
    def clean(self) -> bool:
        """Whether each final was shown exactly once, in order, with its own text, and what was left has ended."""
        faults = self.missing, self.doubled, self.misordered, self.wrong, self.taken_back, self.left_open
        return not any(faults) and not self.failed and not self.broken

    def ended(
        self, mode: Mode, spoken: Sequence[Spoken], shown: Sequence[Caption], report: StreamReport
    ) -> None:
        """Add a stream that has ended: the segments whose finals were sent, and the captions that a reader got."""
        finals = Counter(one.segment for one in shown if one.final)
        self.streams[mode] += 1
        self.finals += len(spoken)
        self.missing += len(spoken) - len(finals)
        self.doubled += finals.total() - len(finals)
        self.misordered += misordered(shown)
        self.taken_back += taken_back(shown)
        for caption in shown:
            if caption.final and caption.error is not None:
                self.failed[caption.error.code] += 1
            elif caption.final:
                self.wrong += spoken[caption.segment].mark not in caption.text
        self.partials += report.partials
        self.superseded += report.superseded
        self.passed_over += report.passed_over
        self.lags += [(one.at_s, one.shown_after_s) for one in spoken if one.shown_after_s is not None]
        self.erased.setdefault(mode, []).append(report.erasure)

    def left(self, left: LeftRequests) -> None:
        """Add the requests of a process that was killed."""
        self.left_s += left.ended_after_s
        self.left_cancelled += left.cancelled
        self.left_open += left.open

    def figures(self, warm_s: float, calm_s: float) -> dict[str, float | None]:
        """The figures by name. Lags of the calm count from ``warm_s``."""
        calm = [lag_s for at_s, lag_s in self.lags if warm_s <= at_s < calm_s]
        storm = [lag_s for at_s, lag_s in self.lags if at_s >= calm_s]
        return {
            "captions_streams": self.streams.total(),
            "captions_finals": self.finals,
            "captions_missing": self.missing,
            "captions_doubled": self.doubled,
            "captions_misordered": self.misordered,
            "captions_failed": self.failed.total(),
            "captions_wrong": self.wrong,
            "captions_taken_back": self.taken_back,
            "captions_broken": self.broken.total(),
            "captions_partials": self.partials,
            "captions_superseded": self.superseded,
            "captions_passed_over": self.passed_over,
            "captions_left": len(self.left_s) + self.left_open,
            "captions_left_cancelled": self.left_cancelled,
            "captions_left_open": self.left_open,
            "captions_left_p50_s": percentile(self.left_s, 50) if self.left_s else None,
            "captions_left_max_s": max(self.left_s, default=None),
            **{
                f"captions_{name}_p{percent}_ms": percentile(lags, percent) * 1e3 if lags else None
                for name, lags in (("calm", calm), ("storm", storm))
                for percent in (50, 99)
            },
        }


def misordered(shown: Sequence[Caption]) -> int:
    """Captions that come behind one of a later segment or revision, or behind the final of their segment."""
    count, last = 0, (0, -1)
    ended = -1
    for caption in shown:
        at = (caption.segment, caption.revision)
        behind = at < last or (caption.segment <= ended and not caption.final)
        count += behind
        last = max(last, at)
        if caption.final:
            ended = max(ended, caption.segment)
    return count


def taken_back(shown: Sequence[Caption]) -> int:
    """Captions that do not begin with what the caption before, of the same segment, had called settled."""
    return sum(
        one.segment == before.segment and not one.text.startswith(before.text[: before.settled])
        for before, one in pairwise(shown)
    )
