"""The output of the demo of captions: talks side by side while they are spoken, and figures at the end."""

import time
from collections.abc import Collection, Iterator, Sequence
from statistics import mean
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ...lab.demo.batches import RanBatches
from ...lab.demo.captions import CaptionsResult, ShownSegment, ShownTalk
from .demo_screen import Screen, histogram

LINES: Final = 3
"""Of each talk, in each of both languages; one less if the terminal is not `HIGH`."""
HIGH: Final = 30
PARTS: Final = 4
"""Segments that such lines can have."""
MARGIN: Final = 19
"""Columns of the terminal that are no text: names and space between."""
REDRAWS_A_SECOND: Final = 12
HEADINGS: Final = ("stream", "", "finals", "partials", "superseded", "first word", "last word", "erasure")
NARROW_HEADINGS: Final = ("stream", "finals", "last word", "erasure")
"""Of a terminal that is too narrow for all."""
ANY_WIDTH: Final = 1_000


class CaptionsScreen(Screen):
    """Shows talks on ``console``: live on a terminal, otherwise a line for each change."""

    def __init__(self, console: Console, shown: int) -> None:
        """``shown``: how many talks are shown, the first ones."""
        super().__init__(console)
        self.shown = shown
        self._began = time.monotonic()
        self._last: dict[int, tuple[str, bool]] = {}

    def live(self, talks: Sequence[ShownTalk], batches: RanBatches) -> Live:
        """Enter it while the talks are played."""
        self._began = time.monotonic()
        if not self._console.is_terminal:
            self._console.print("\nWords in [brackets] may still change.\n", markup=False)
        return Live(
            get_renderable=lambda: self._talks(talks, batches),
            console=self._console,
            refresh_per_second=REDRAWS_A_SECOND,
            auto_refresh=self._console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def observe(self, talk: ShownTalk, segment: ShownSegment) -> None:
        """Print what is shown of the segment, if it has changed; a terminal shows it by itself."""
        now = (segment.text, segment.final)
        if self._console.is_terminal or not segment.text or talk.number >= self.shown:
            return
        if self._last.get(id(segment)) == now:
            return
        self._last[id(segment)] = now
        state = "failed" if segment.failed else "final " if segment.final else "  …   "
        line = (
            f"{self._seconds:5.1f} s  {talk.talk.name:<11}  {state}  {segment.heard}  →  {_marked(segment)}"
        )
        self._console.print(line, markup=False, soft_wrap=True)

    def captions(self, result: CaptionsResult) -> None:
        """The figures of each talk and of all, and the audit."""
        shown, more = result.talks[: self.shown], result.talks[self.shown :]
        figures = _figures(shown, more, HEADINGS)
        any_width = self._console.options.update(max_width=ANY_WIDTH)
        if Measurement.get(self._console, any_width, figures).maximum > self._console.width:
            figures = _figures(shown, more, NARROW_HEADINGS)
        self._section(figures)
        meanings = "words: mean lag behind the speaker; erasure: words taken back ÷ words in all"
        self._console.print(Text(meanings, "dim"))
        batches = result.batches
        ran = Table.grid(padding=(0, 2))
        ran.add_row(
            Text("batches", "dim"), f"{batches.count:,.0f}, of {batches.mean:.1f} requests on average"
        )
        ran.add_row("", Text.assemble(histogram(batches), (" share of answers", "dim")))
        self._section(ran)
        self._section(_audited(result))

    def next_steps(self, *, kafka: bool) -> None:
        """What to try next."""
        steps = Table.grid(padding=(0, 2))
        steps.add_column(no_wrap=True)
        steps.add_row("inferstream translate film.srt --source en --target pt", Text("a film", "dim"))
        steps.add_row("tail -f FILE | inferstream request translate --stream", Text("a pipe", "dim"))
        steps.add_row("inferstream demo translate --mode live", Text("words that change", "dim"))
        if not kafka:
            steps.add_row("make demo-translate KAFKA=1", Text("on a real Kafka", "dim"))
        self._section(steps)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _talks(self, talks: Sequence[ShownTalk], batches: RanBatches) -> RenderableType:
        if not self._console.is_terminal:
            return Text()
        table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1), show_lines=True)
        table.add_column("")
        table.add_column("what is spoken", ratio=1)
        table.add_column("captions", ratio=1)
        lines = LINES if self._console.height >= HIGH else LINES - 1
        width = max(20, (self._console.width - MARGIN) // 2 - 2)
        for one in talks[: self.shown]:
            languages = Text(f"{one.talk.source} → {one.talk.target}", "dim")
            name = Text.assemble((one.talk.name, "bold"), "\n", languages)
            heard = _tail([Text(part.heard) for part in one.segments], width, lines)
            shown = _tail([_styled(part) for part in one.segments], width, lines)
            table.add_row(name, heard, shown)
        return Group(table, self._totals(talks, batches))

    def _totals(self, talks: Sequence[ShownTalk], batches: RanBatches) -> Text:
        reports = [one.report for one in talks]
        done = sum(report.segments for report in reports)
        of = sum(len(one.talk.segments) for one in talks)
        measured = [report for report in reports if report.segments]
        lag_s = sum(report.last_word_s for report in measured) / max(1, len(measured))
        superseded = sum(report.superseded for report in reports)
        return Text.assemble(
            f" {self._seconds:4.1f} s  ",
            (f"{done:,} of {of:,}", "bold"),
            f" segments, {len(talks)} streams  last word ",
            (f"{lag_s * 1e3:.0f} ms", "bold"),
            f" behind  {superseded:,} superseded\n batches  ",
            histogram(batches),
        )


def _styled(segment: ShownSegment) -> Text:
    """Settled words in full color, the others dim; a final is green."""
    settled, rest = segment.text[: segment.settled], segment.text[segment.settled :]
    color = "red" if segment.failed else "green" if segment.final else "bold"
    return Text.assemble((settled, color), (rest, "dim italic"))


def _marked(segment: ShownSegment) -> str:
    settled, rest = segment.text[: segment.settled], segment.text[segment.settled :]
    words = rest.lstrip()
    return f"{settled}{rest[: -len(words)]}[{words}]" if words else segment.text


def _tail(parts: Sequence[Text], width: int, lines: int) -> Text:
    """The end of all parts in ``lines`` lines, empty ones included, so that the screen does not move."""
    whole = Text(" ").join(parts[-PARTS:])
    shown = list(whole.wrap(Console(width=width), width)[-lines:])
    return Text("\n").join([*shown, *[Text("")] * (lines - len(shown))])


def _figures(talks: Sequence[ShownTalk], more: Sequence[ShownTalk], headings: Collection[str]) -> Table:
    table = Table(title="Captions", title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(
            heading, justify="right" if heading and heading != "stream" else "left", no_wrap=True
        )
    rows = [(one.talk.name, f"{one.talk.source} → {one.talk.target}", *_figures_of([one])) for one in talks]
    if more:
        rows.append((f"{len(more)} more", "", *_figures_of(more)))
    for row in rows:
        table.add_row(*(cell for heading, cell in zip(HEADINGS, row, strict=True) if heading in headings))
    return table


def _figures_of(talks: Sequence[ShownTalk]) -> Iterator[str]:
    """Counts of these talks, and the means of their lags and erasure."""
    reports = [one.report for one in talks]
    finals = sum(report.segments - report.failed for report in reports)
    yield f"{finals:,}/{sum(len(one.talk.segments) for one in talks):,}"
    yield f"{sum(report.partials for report in reports):,}"
    yield f"{sum(report.superseded for report in reports):,}"
    yield f"{mean(report.first_word_s for report in reports):.2f} s"
    yield f"{mean(report.last_word_s for report in reports):.2f} s"
    yield f"{mean(report.erasure for report in reports):.2f}"


def _audited(result: CaptionsResult) -> Panel:
    audit = result.audit
    color = "green" if result.clean else "bold red"
    ended = audit.results + audit.failures.total() + audit.expired + audit.dead_letters + audit.duplicated
    text = Text.assemble(
        (f"{audit.requests:,} requests", "bold"),
        " → ",
        (f"{ended:,} terminal events", "bold"),
        ": ",
        (
            f"{audit.unended:,} lost, {audit.duplicated:,} duplicated, {audit.out_of_order:,} out of order",
            color,
        ),
        (f"\n{audit.results:,} results, superseded partials: {audit.superseded:,}", "dim"),
    )
    return Panel(text, title="Audit: read back from the topics", title_align="left", border_style=color)
