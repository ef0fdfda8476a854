"""The output of the demo of an assistant: conversations side by side while tokens come, and figures at the end."""

import time
from collections.abc import Iterable
from math import ceil
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ...lab.demo.assistant import AssistantResult, AssistantRun
from ...lab.demo.assistant_figures import AssistantFigures
from ...lab.demo.shown_conversations import ShownConversation, ShownTurn
from .demo_screen import Screen, histogram

MIN_WIDTH: Final = 36
"""Of a panel, with its border."""
MOST_COLUMNS: Final = 3
HEIGHTS: Final = (5, 11)
"""The least and the most lines of a panel, with its border."""
KEPT_CHARACTERS: Final = 2_000
"""Of a conversation, from its end: more than a panel shows."""
PAUSE_S: Final = 1.0
REDRAWS_A_SECOND: Final = 12


class AssistantScreen(Screen):
    """Shows conversations on ``console``: live on a terminal, otherwise a line for each answer."""

    def __init__(self, console: Console, shown: int) -> None:
        """``shown``: how many conversations are shown, the first ones."""
        super().__init__(console)
        self.shown = shown
        self._killed = False

    def live(self, run: AssistantRun) -> Live:
        """Enter it while there are conversations."""
        self._console.print()
        return Live(
            get_renderable=lambda: self._panels(run),
            console=self._console,
            refresh_per_second=REDRAWS_A_SECOND,
            auto_refresh=self._console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def observe(self, run: AssistantRun, shown: ShownConversation, turn: ShownTurn) -> None:
        """Print an answer that is complete, and the end of a worker; a terminal shows both by itself."""
        if self._console.is_terminal:
            return
        if run.kill is not None and run.kill.at is not None and not self._killed:
            self._killed = True
            self._print(f"{run.kill.at - run.began:5.1f} s  {_of_kill(run)}")
        if turn.ended and shown.number < self.shown:
            seconds = time.perf_counter() - run.began
            answer = turn.error or " / ".join(_clean(turn.text).split("\n"))
            self._print(f"{seconds:5.1f} s  {shown.talk.name:<7} {turn.question}  →  {answer}")

    def conversations(self, result: AssistantResult) -> None:
        """The figures, and the audit."""
        self._section(_figures(result))
        self._section(_audited(result))

    def next_steps(self, *, kafka: bool) -> None:
        """What to try next."""
        steps = Table.grid(padding=(0, 2))
        steps.add_column(no_wrap=True)
        steps.add_row('inferstream request generate "Once upon a time"', Text("a text that goes on", "dim"))
        if not kafka:
            steps.add_row(
                "make demo-assistant KAFKA=1", Text("on a real Kafka; a worker is killed meanwhile", "dim")
            )
        self._section(steps)

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)

    def _panels(self, run: AssistantRun) -> RenderableType:
        if not self._console.is_terminal:
            return Text()
        count = min(self.shown, len(run.conversations)) + 1
        columns = max(1, min(MOST_COLUMNS, self._console.width // MIN_WIDTH))
        rows = ceil(count / columns)
        low, high = HEIGHTS
        height = max(low, min(high, (self._console.height - 1) // rows))
        width = self._console.width // columns
        panels = [_panel(one, width, height) for one in run.conversations[: self.shown]]
        panels.append(_totals(run, height))
        table = Table.grid(expand=True)
        for _ in range(columns):
            table.add_column(width=width)
        for begin in range(0, count, columns):
            table.add_row(*panels[begin : begin + columns])
        return table


def _panel(shown: ShownConversation, width: int, height: int) -> Panel:
    """The end of a conversation."""
    text = Text()
    for turn in shown.turns:
        text.append(f"› {turn.question}\n", "cyan")
        text.append(f"{_clean(turn.text)}\n").append(turn.error, "red")
    lines = text[-KEPT_CHARACTERS:].wrap(Console(width=width), width - 4)
    while lines and not lines[-1].plain.strip():
        lines.pop()
    style, state = _state(shown)
    return Panel(
        Text("\n").join(lines[2 - height :]),
        title=f"[bold]{shown.talk.name}[/]",
        title_align="left",
        subtitle=state,
        subtitle_align="right",
        border_style=style,
        height=height,
    )


def _state(shown: ShownConversation) -> tuple[str, str]:
    """The color of the border, and what is written there."""
    if not shown.turns:
        return "dim", ""
    turn = shown.turns[-1]
    if turn.error:
        return "red", "failed"
    if shown.ended:
        return "green", "complete"
    waits_s = turn.waits_s(time.perf_counter())
    if waits_s > PAUSE_S:
        return "yellow", f"waits {waits_s:.0f} s"
    return ("dim", "") if turn.ended else ("white", f"{turn.tokens} tokens")


def _totals(run: AssistantRun, height: int) -> Panel:
    figures = run.figures()
    open_now = sum(bool(one.turns) and not one.turns[-1].ended for one in run.conversations)
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text(f"{figures.tokens_a_second:.0f}", "bold"), f"tokens/s, {open_now} answers at once")
    grid.add_row(Text(f"{figures.first_median_s:.2f}", "bold"), "s to the first token, median")
    grid.add_row(Text(f"{figures.cached_share:.0%}", "bold"), "of prompt tokens read before")
    if run.kill is not None:
        killed = run.kill.number is not None
        grid.add_row(Text("✗" if killed else "✓", "red" if killed else "green"), _of_kill(run))
    done = f"{figures.turns} of {run.questions} answers, {len(run.conversations)} conversations"
    return Panel(grid, title=done, title_align="left", border_style="dim", height=height)


def _of_kill(run: AssistantRun) -> str:
    if run.kill is None or run.kill.number is None:
        return "all workers run"
    return f"worker {run.kill.number} killed (SIGKILL) while it made {run.kill.requests} answers"


def _figures(result: AssistantResult) -> Table:
    table = Table(title="Figures", title_justify="left", box=None, padding=(0, 1), show_header=False)
    for name, value, remark in _rows(result.figures, result.run):
        table.add_row(Text(name, "dim"), value, Text(remark, "dim"))
    return table


def _rows(figures: AssistantFigures, run: AssistantRun) -> Iterable[tuple[str, RenderableType, str]]:
    """Name, value and remark of each figure."""
    tokens = f"{figures.tokens:,} tokens in {figures.seconds:.1f} s"
    yield "throughput", Text(f"{figures.tokens_a_second:,.0f} tokens/s", "bold"), tokens
    first = f"{figures.first_median_s:.2f} s median, {figures.first_worst_s:.2f} s worst"
    yield "first token", first, "from the question on"
    yield "pause", f"{figures.longest_pause_s:.2f} s", "the longest between two tokens of an answer"
    prefixes = f"{figures.cached_tokens:,} of {figures.prompt_tokens:,} prompt tokens"
    yield "read before", prefixes, f"in {figures.hits} of {figures.turns} turns: not computed again"
    yield "batches", f"{run.batches.mean:.1f} answers in a step", "on average, when an answer ended"
    yield "", histogram(run.batches), "share of answers"
    if run.kill is not None:
        yield "killed", _of_kill(run), "its answers went on elsewhere" if run.kill.requests else ""


def _audited(result: AssistantResult) -> Panel:
    audit = result.audit
    color = "green" if result.clean else "bold red"
    ended = audit.results + audit.failures.total() + audit.expired + audit.dead_letters + audit.duplicated
    lost = f"{audit.unended:,} lost, {audit.duplicated:,} duplicated, {audit.out_of_order:,} out of order"
    text = Text.assemble(
        (f"{audit.requests:,} requests", "bold"),
        " → ",
        (f"{ended:,} terminal events", "bold"),
        ": ",
        (lost, color),
        (f"\n{audit.results:,} results, {audit.chunks:,} chunks, {audit.torn:,} torn streams", "dim"),
    )
    if result.killed and audit.duplicated:
        text.append(
            "\nThe killed worker had not committed what it answered: readers pass over the repetition.", "dim"
        )
    return Panel(text, title="Audit: read back from the topics", title_align="left", border_style=color)


def _clean(text: str) -> str:
    """Without control characters, which a model can write, too: they must not command the terminal."""
    return "".join(one if one.isprintable() or one == "\n" else " " for one in text)
