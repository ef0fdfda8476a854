"""Output of `triage fit` and `triage evaluate`: progress and measurements."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from .tables import print_table

if TYPE_CHECKING:
    from ...optimize.triage.fitted_rows import LeftOut
    from ...optimize.triage.report import Progress as ReportProgress
    from ...optimize.triage.report import TriageReport

CLASS_COLUMNS = {
    "label": "LABEL",
    "rows": "ROWS",
    "precision": "PRECISION",
    "recall": "RECALL",
    "f1": "F1",
    "mistaken_for": "MISTAKEN FOR",
}
FEW_ROWS = 100  # the 95 % interval of an accuracy is then about 8 points to each side
THRESHOLD_COLUMNS = {"threshold": "THRESHOLD", "automatic": "ANSWERED WITHOUT A HUMAN", "accuracy": "RIGHT"}


def print_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def print_report(report: "TriageReport", title: str) -> None:
    """Print the tables of classes and thresholds, and a sentence with the overall figures."""
    print_table([msgspec.to_builtins(one) for one in report.classes], CLASS_COLUMNS, as_json=False)
    click.echo()
    print_table([msgspec.to_builtins(one) for one in report.thresholds], THRESHOLD_COLUMNS, as_json=False)
    click.echo(
        f"\n{title}: {report.accuracy:.1%} of {report.rows} tickets right, macro F1 {report.macro_f1:.3f}, "
        f"expected calibration error {report.calibration_error:.3f}."
    )
    if report.rows < FEW_ROWS:
        click.echo("These are few tickets: on others the figures will differ.")


def print_skipped(rows: int) -> None:
    """Print the number of rows that were left out, unless it is 0."""
    if rows:
        click.echo(f"{rows} rows without a text or a label were left out.")


def print_left_out(rows: "LeftOut") -> None:
    """Say on standard error which of the given rows do not measure the models."""
    for name, count in rows.fitted.items():
        click.echo(f"{name} was fitted on {count} of the {rows.given} rows: they are left out.", err=True)
    for name in rows.unknown:
        click.echo(
            f"It is not known which rows {name} was fitted on, so none is left out: measured on these, a model seems "
            "better than it is.",
            err=True,
        )


@contextmanager
def progress() -> "Iterator[ReportProgress]":
    """A bar on standard error for each step."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done)

        yield report
