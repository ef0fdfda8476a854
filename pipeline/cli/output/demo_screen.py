"""What the demo shows, from the first line to the last."""

import textwrap
from collections.abc import Iterator
from typing import Final

from msgspec import Struct, field
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from ....schemas.messages import CacheStatus, Failure, Request, TriageOutput
from ...client.replies import Answer
from ...lab.demo.audit import Verdict
from ...lab.demo.figures import Figures
from ...lab.demo.traffic import Traffic
from .answers import confidence_bar, urgency

TICKETS_SHOWN: Final = 6
LONGEST_SHOWN: Final = 78
SOURCES: Final[dict[CacheStatus, tuple[str, str]]] = {
    "miss": ("by the model", "cyan"),
    "flight": ("by joining one in flight", "magenta"),
    "memory": ("from the cache", "green"),
    "disk": ("from the cache on disk", "yellow"),
    "off": ("by the model, cache off", "cyan"),
}
SIZES: Final = ((1, 1), (2, 3), (4, 7), (8, 15), (16, 31), (32, 10_000))
LONGEST_RANGE: Final = 1_000
BLOCKS: Final = "·▁▂▃▄▅▆▇█"


class Sample(Struct):
    """A few of the answers that are good to look at: the surest one of each category, and one for a human."""

    surest: dict[str, tuple[str, TriageOutput]] = field(default_factory=dict)
    for_a_human: tuple[str, TriageOutput] | None = None

    def add(self, request: Request, answer: Answer | Failure) -> None:
        text = str(request.text)
        if isinstance(answer, Failure) or not 25 <= len(text) <= LONGEST_SHOWN:
            return
        output = answer.output
        if output.needs_human:
            self.for_a_human = self.for_a_human or (text, output)
        elif (
            output.category not in self.surest
            or self.surest[output.category][1].confidence < output.confidence
        ):
            self.surest[output.category] = text, output

    def rows(self) -> list[tuple[str, TriageOutput]]:
        """One of each priority first, then the surest."""
        surest = sorted(self.surest.values(), key=lambda row: row[1].confidence)
        one_of_each = {output.priority: (text, output) for text, output in surest}
        shown = [*one_of_each.values(), *(row for row in reversed(surest) if row not in one_of_each.values())]
        return [*shown[: TICKETS_SHOWN - 1], *([self.for_a_human] if self.for_a_human else [])]


class Screen:
    """Prints to ``console`` as the demo goes on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("")

    def title(self, words: str) -> None:
        self._console.rule(Text.assemble((" inferstream ", "bold reverse"), f"  {words} "), style="dim")

    def busy(self, words: str) -> None:
        """What is being done, until something is ready."""
        self._status.update(f"{words} …")
        self._status.start()

    def ready(self, sentence: str) -> None:
        """What is there now."""
        self._status.stop()
        self._console.print(Text.assemble(("✓ ", "green"), sentence))

    def announce(self, traffic: Traffic) -> None:
        count, tickets = len(traffic.requests), traffic.different - traffic.broken
        self._console.print()
        self._console.print(
            f"Sending [bold]{count:,}[/] requests: {tickets:,} different tickets, short and very long, "
            f"about {count / max(tickets, 1):.0f} times each, and {traffic.broken} broken ones."
        )

    def progress(self) -> Progress:
        return Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
        )

    def tickets(self, sample: Sample) -> None:
        lines = [Text("Some of the tickets, and where they went", "italic")]
        for text, output in sample.rows():
            lines.append(Text(f" {textwrap.shorten(text, self._console.width - 2, placeholder=' …')}"))
            lines.append(_decision(output))
        self._section(Group(*lines))

    def failures(self, figures: Figures) -> None:
        if not figures.failures:
            return
        title = "Broken requests are answered too, with a stable code and what to do"
        table = Table(title=title, title_justify="left", box=None, padding=(0, 1), show_header=False)
        for failure in figures.failures[:TICKETS_SHOWN]:
            table.add_row(Text(failure.code, "red"), Text(failure.message))
        self._section(table)

    def figures(self, figures: Figures, in_flight: int, shares: list[int]) -> None:
        table = Table(title="Figures", title_justify="left", box=None, padding=(0, 1), show_header=False)
        for name, value, remark in _figures(figures, in_flight, shares):
            table.add_row(Text(name, "dim"), value, Text(remark, "dim"))
        self._section(table)

    def verdict(self, verdict: Verdict) -> None:
        good = "green" if verdict.clean else "bold red"
        kinds = f"{verdict.results:,} results, {verdict.failures:,} failures, {verdict.dead_letters:,} dead letters"
        text = Text.assemble(
            (f"{verdict.requests:,} requests", "bold"),
            " → ",
            (f"{verdict.terminal_events:,} terminal events", "bold"),
            ": ",
            (f"{verdict.lost:,} lost, {verdict.duplicated:,} duplicated", f"bold {good}"),
            (f"\n{kinds}", "dim"),
        )
        self._console.print()
        self._console.print(
            Panel(text, title="Audit: read back from the topics", title_align="left", border_style=good)
        )

    def next_steps(self, kafka: bool) -> None:
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
    """The figures so far, in a line beside the progress bar."""
    reused = 1 - (figures.sources["miss"] + figures.sources["off"]) / max(figures.answered, 1)
    rate, half = f"[bold]{figures.per_second:,.0f}[/]/s", f"p50 {figures.percentile_ms(0.5):,.0f} ms"
    return f"{rate}  {half}  {reused:.0%} without the model"


def _figures(figures: Figures, in_flight: int, shares: list[int]) -> Iterator[tuple[str, Text, str]]:
    """Name, value and remark of each figure."""
    percentiles = "  ".join(
        f"p{share} {figures.percentile_ms(share / 100):,.0f} ms" for share in (50, 95, 99)
    )
    yield (
        "throughput",
        Text(f"{figures.per_second:,.0f} replies/s", "bold"),
        f"{figures.seconds:.1f} s in all",
    )
    yield "latency", Text(percentiles), f"{in_flight} requests in flight"
    yield "answered", _sources(figures), "repeats cost it nothing"
    yield "batch size", Text(f"{figures.mean_batch:.1f} on average"), "learned: what pays off here"
    yield "", _histogram(figures), "share of tickets"
    yield "padding", Text(f"{figures.padding_share:.1%}"), "of what the model ran on"
    if shares:
        yield "workers", Text(" + ".join(f"{share:,}" for share in shares)), "replies of each"
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


def _histogram(figures: Figures) -> Text:
    """A bar for each range of sizes, as high as the tickets that ran in such batches are many."""
    counts = [
        sum(figures.batch_sizes[size] for size in figures.batch_sizes if low <= size <= high)
        for low, high in SIZES
    ]
    most, text = max(*counts, 1), Text()
    for (low, high), count in zip(SIZES, counts, strict=True):
        name = str(low) if low == high else f"{low}+" if high > LONGEST_RANGE else f"{low}–{high}"
        text.append(name, "dim").append(f"{BLOCKS[-(-count * 8 // most)]} ", "cyan")
    return text


def _decision(output: TriageOutput) -> Text:
    line = (
        Text("   ")
        .append_text(confidence_bar(output.confidence, 8))
        .append(f"  {output.category:<22} ", "bold")
    )
    line.append_text(urgency(f"{output.priority:<7}")).append(" → ", "dim")
    return line.append("a human", "bold yellow") if output.needs_human else line.append(output.route)
