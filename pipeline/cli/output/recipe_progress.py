"""What `inferstream optimize` shows: the plan, a bar while a step runs, a line for each that is done."""

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from .tables import print_table

if TYPE_CHECKING:
    from ...models.progress import Progress as Report
    from ...optimize.recipes.making import Making
    from ...optimize.recipes.runner import DoneStep, PlannedStep

PLAN_COLUMNS = {"step": "STEP", "makes": "MAKES", "made_of": "OF", "expected": "EXPECTED", "basis": "BASIS"}


def plan_rows(planned: "Sequence[PlannedStep]") -> list[dict[str, object]]:
    """The steps of a plan, with what they are expected to take."""
    return [
        {
            "step": one.making.kind,
            "makes": one.making.name,
            "made_of": ", ".join(one.making.needs),
            "expected": "?" if one.expected.seconds is None else f"{one.expected.seconds:.0f} s",
            "expected_s": one.expected.seconds,
            "basis": one.expected.basis,
            "kept": one.kept,
        }
        for one in planned
    ]


def print_plan(planned: "Sequence[PlannedStep]") -> None:
    """The plan as a table."""
    print_table(plan_rows(planned), PLAN_COLUMNS, as_json=False)


class RecipeProgress:
    """See `Watch` in `optimize.recipes.runner`. Without a terminal it prints lines only. Writes to standard error."""

    def __init__(self, steps: int) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._steps = steps
        self._number = 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, making: "Making") -> "Report":
        self._number += 1
        title = f"{self._number} of {self._steps}  {making.kind} {making.name}"
        bar = self._bars.add_task(title, total=None)
        said: set[str] = set()

        def report(step: str, done: int, total: int | None) -> None:
            self._bars.update(bar, description=f"{title}: {step}", completed=done, total=total)
            if not self._console.is_terminal and step not in said:
                said.add(step)
                self._console.print(f"{title}: {step}", soft_wrap=True)

        return report

    def end(self, carried: "DoneStep") -> None:
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        record = carried.record
        took = "kept from an earlier run" if carried.kept else f"{record.seconds:.1f} s"
        self._console.print(
            f"{self._number} of {self._steps}  {record.kind} {record.name}  {took}", soft_wrap=True
        )
        for note in record.result.notes:
            self._console.print(f"  {note}", soft_wrap=True)
