"""The output of the demo."""

import textwrap
from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct, field
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from ....schemas.messages import CacheStatus, Failure, Request, TriageOutput
from ...client.replies import Answer
from ...lab.demo.batches import RanBatches
from ...lab.demo.demo import DemoResult
from ...lab.demo.figures import Figures
from ...lab.demo.traffic import Traffic
from ...tasks.triage.view import confidence_bar, urgency

TICKETS_SHOWN: Final = 6
MAX_SHOWN_CHARACTERS: Final = 78
SOURCES: Final[dict[CacheStatus, tuple[str, str]]] = {
    "miss": ("by the model", "cyan"),
    "flight": ("by joining one in flight", "magenta"),
    "memory": ("from the cache", "green"),
    "disk": ("from the cache on disk", "yellow"),
    "off": ("by the model, cache off", "cyan"),
}
OPEN_END: Final = 10_000
SIZES: Final = ((1, 1), (2, 3), (4, 7), (8, 15), (16, 31), (32, OPEN_END))
BLOCKS: Final = "·▁▂▃▄▅▆▇█"


class ShownTickets(Struct):
    """The answers to show: the most confident one of each category, and one for a human."""

    best: dict[str, tuple[str, TriageOutput]] = field(default_factory=dict)
    for_a_human: tuple[str, TriageOutput] | None = None

    def add(self, request: Request, answer: Answer[Any] | Failure) -> None:
        text = str(request.text)
        if isinstance(answer, Failure) or not 25 <= len(text) <= MAX_SHOWN_CHARACTERS:
            return
        output = answer.output
        if output.needs_human:
            self.for_a_human = self.for_a_human or (text, output)
        elif output.category not in self.best or self.best[output.category][1].confidence < output.confidence:
            self.best[output.category] = text, output

    def rows(self) -> list[tuple[str, TriageOutput]]:
        """One of each priority first, then by falling confidence."""
        best = sorted(self.best.values(), key=lambda row: row[1].confidence)
        one_of_each = {output.priority: (text, output) for text, output in best}
        shown = [*one_of_each.values(), *(row for row in reversed(best) if row not in one_of_each.values())]
        return [*shown[: TICKETS_SHOWN - 1], *([self.for_a_human] if self.for_a_human else [])]


class Screen:
    """Prints to ``console`` while the demo runs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("")

    def title(self, words: str) -> None:
        self._console.rule(Text.assemble((" inferstream ", "bold reverse"), f"  {words} "), style="dim")

    def busy(self, words: str) -> None:
        """Show the step that runs until the next `ready`."""
        self._status.update(f"{words} …")
        self._status.start()

    def ready(self, sentence: str) -> None:
        """Show what has started."""
        self._status.stop()
        self._console.print(Text.assemble(("✓ ", "green"), sentence))

    def announce(self, traffic: Traffic) -> None:
        count = len(traffic.requests)
        tickets = traffic.different - traffic.broken
        self._console.print()
        self._console.print(
            f"Sending [bold]{count:,}[/] requests: {tickets:,} different tickets, short and very long, "
            f"about {count / max(tickets, 1):.0f} times each, and {traffic.broken} invalid ones."
        )

    def progress(self) -> Progress:
        return Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
        )

    def tickets(self, tickets: ShownTickets) -> None:
        lines = [Text("Some of the tickets, and where they went", "italic")]
        for text, output in tickets.rows():
            lines.append(Text(f" {textwrap.shorten(text, self._console.width - 2, placeholder=' …')}"))
            lines.append(_decision(output))
        self._section(Group(*lines))

    def failures(self, figures: Figures) -> None:
        if not figures.failures:
            return
        title = "Invalid requests get a failure reply: a stable code, and what to do"
        table = Table(title=title, title_justify="left", box=None, padding=(0, 1), show_header=False)
        for failure in figures.failures[:TICKETS_SHOWN]:
            table.add_row(Text(failure.code, "red"), Text(failure.message))
        self._section(table)

    def figures(self, figures: Figures, in_flight: int, shares: list[int]) -> None:
        table = Table(title="Figures", title_justify="left", box=None, padding=(0, 1), show_header=False)
        for name, value, remark in _figures(figures, in_flight, shares):
            table.add_row(Text(name, "dim"), value, Text(remark, "dim"))
        self._section(table)

    def audit(self, result: DemoResult) -> None:
        audit = result.audit
        color = "green" if result.clean else "bold red"
        kinds = (
            f"{audit.results:,} results, {result.failures:,} failures, {audit.dead_letters:,} dead letters"
        )
        text = Text.assemble(
            (f"{audit.requests:,} requests", "bold"),
            " → ",
            (f"{result.terminal_events:,} terminal events", "bold"),
            ": ",
            (f"{audit.unended:,} lost, {audit.duplicated:,} duplicated", f"bold {color}"),
            (f"\n{kinds}", "dim"),
        )
        self._console.print()
        self._console.print(
            Panel(text, title="Audit: read back from the topics", title_align="left", border_style=color)
        )

    def next_steps(self, *, kafka: bool) -> None:
        """What to try next."""
        steps = Table.grid(padding=(0, 2))
        steps.add_row(
            'inferstream request triage "I was charged twice"', Text("one ticket of your own", "dim")
        )
        steps.add_row(
            "inferstream request triage --file FILE --out FILE", Text("a backlog, resumable", "dim")
        )
        if not kafka:
            steps.add_row("make demo KAFKA=1", Text("on a real Kafka, two workers", "dim"))
        self._section(steps)

    def _section(self, content: RenderableType) -> None:
        self._console.print()
        self._console.print(content)


def live_figures(figures: Figures) -> str:
    """The figures so far, as one line beside the progress bar."""
    reused = 1 - (figures.sources["miss"] + figures.sources["off"]) / max(figures.answered, 1)
    rate = f"[bold]{figures.per_second:,.0f}[/]/s"
    return f"{rate}  p50 {figures.percentile_ms(50):,.0f} ms  {reused:.0%} without the model"


def _figures(figures: Figures, in_flight: int, shares: list[int]) -> Iterator[tuple[str, Text, str]]:
    """Name, value and remark of each figure."""
    percentiles = "  ".join(
        f"p{percent} {figures.percentile_ms(percent):,.0f} ms" for percent in (50, 95, 99)
    )
    yield (
        "throughput",
        Text(f"{figures.per_second:,.0f} replies/s", "bold"),
        f"{figures.seconds:.1f} s in all",
    )
    yield "latency", Text(percentiles), f"{in_flight} requests in flight"
    yield "answered", _sources(figures), "repeats do not run"
    yield "batch size", Text(f"{figures.batches.mean:.1f} on average"), "chosen by measured cost"
    yield "", histogram(figures.batches), "share of tickets"
    yield "padding", Text(f"{figures.batches.padding_share:.1%}"), "of what the model ran on"
    if shares:
        yield "workers", Text(" + ".join(f"{share:,}" for share in shares)), "replies by each"
    if figures.with_expectation:
        right = figures.as_expected / figures.with_expectation
        yield "category", Text(f"{right:.0%} as expected"), "zero-shot, nothing was trained"
    yield "model", Text(f"{figures.model} {figures.version}"), ""


def _sources(figures: Figures) -> Text:
    parts = [
        Text.assemble((f"{figures.sources[source]:,}", f"bold {color}"), f" {words}")
        for source, (words, color) in SOURCES.items()
        if figures.sources[source]
    ]
    return Text("\n").join(parts)


def histogram(batches: RanBatches) -> Text:
    """A bar for each range of batch sizes; its height is the number of answers in such batches."""
    counts = [
        sum(batches.sizes[size] for size in batches.sizes if low <= size <= high) for low, high in SIZES
    ]
    highest = max(*counts, 1)
    text = Text()
    for (low, high), count in zip(SIZES, counts, strict=True):
        name = str(low) if low == high else f"{low}+" if high == OPEN_END else f"{low}–{high}"
        text.append(name, "dim").append(f"{BLOCKS[-(-count * 8 // highest)]} ", "cyan")
    return text


def _decision(output: TriageOutput) -> Text:
    line = (
        Text("   ")
        .append_text(confidence_bar(output.confidence, 8))
        .append(f"  {output.category:<22} ", "bold")
    )
    line.append_text(urgency(f"{output.priority:<7}")).append(" → ", "dim")
    return line.append("a human", "bold yellow") if output.needs_human else line.append(output.route)
