"""`inferstream triage evaluate`."""

from pathlib import Path
from typing import Any

import click

from ...options.rows import dialect_given, labeled_file
from ...output.fits import TIERS
from ...output.triage_report import print_json, print_left_out, print_report, print_skipped, progress
from .shared import as_json, taxonomy_file


@click.command()
@labeled_file
@click.option(
    "--model",
    default="minilm-int8",
    show_default=True,
    help="Fitted model, or encoder for the taxonomy.",
)
@click.option(
    "--tier",
    type=click.Choice(TIERS),
    help="Part of a fitted model to measure.  [default: what is served]",
)
@taxonomy_file
@as_json
def evaluate(
    data: Path,
    text: str,
    label: str,
    model: str,
    tier: Any,
    taxonomy: Path | None,
    clean: str | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Measure a model or a taxonomy on labeled tickets.

    DATA has a column for the text and one for the label; rows that the model was fitted on are left out. Use the
    table of thresholds to choose `threshold`: it shows for each value the share of tickets that are answered without
    a human, and the share of these answers that are right.

    \b
      inferstream triage evaluate tickets.csv --model shop
      inferstream triage evaluate tickets.csv --taxonomy taxonomy.toml
    """
    from ....models.registry import ModelRegistry
    from ....optimize.triage.fitted_rows import without_fitted
    from ....optimize.triage.labeled import read_labeled
    from ....optimize.triage.report import indices_of, measure
    from ....optimize.triage.tiers import scores_of
    from ....tasks.triage.head import HeadStore
    from ....tasks.triage.loading import TriageModel

    tickets = read_labeled(data, text, label, dialect_given(data, reading))
    registry = ModelRegistry(judged=False)  # also a model whose gate is closed: it may be looked at
    parts = TriageModel(registry, model, taxonomy)
    tickets = tickets.cleaned(clean or parts.clean)
    tickets, left_out = without_fitted(HeadStore(registry.root.parent), [model], tickets)
    print_left_out(left_out)
    measured = tier or parts.served
    if measured != "encoder":
        parts.static()  # raises before the progress bar begins
    with progress() as report_progress:
        made = scores_of(parts, measured, tickets.texts, report_progress)
    report = measure(made, indices_of(tickets.labels, made.labels))
    if as_json:
        print_json({"model": model, "base": parts.base, "skipped": tickets.skipped, "report": report})
        return
    print_report(report, model if tier is None else f"{model}, its {tier} tier")
    print_skipped(tickets.skipped)
    if abs(report.best_temperature / report.temperature - 1) > 0.1:
        click.echo(
            f"For these tickets, temperature = {report.best_temperature:.3g} gives the best calibration."
        )
