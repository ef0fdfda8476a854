"""`inferstream triage fit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ....errors import UsageError
from ...options.rows import dialect_given, labeled_file
from ...output.triage_report import print_json, print_report, print_skipped, progress
from ...output.triage_tiers import print_cascade, print_tiers
from .shared import as_json, taxonomy_file

if TYPE_CHECKING:
    from ....optimize.triage.report import TriageReport
    from ....tasks.triage.head import HeadAccuracy


@click.command()
@labeled_file
@click.option(
    "--name", required=True, help="Name of the model for workers and requests. Each fit adds a version."
)
@click.option(
    "--test",
    type=click.Path(path_type=Path),
    help="File to measure on.  [default: a fifth of DATA is held out]",
)
@click.option(
    "--base",
    default="minilm-int8",
    show_default=True,
    help="Encoder of the model. Workers that serve the model run this encoder, unless the static tier is served.",
)
@click.option(
    "--serve",
    type=click.Choice(["encoder", "static", "cascade", "ensemble"]),
    default="encoder",
    show_default=True,
    help="Tier that answers requests; cascade: the static tier where it is sure, else the encoder; "
    "ensemble: both, added.",
)
@click.option(
    "--changed",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    help="Share of answers that the cascade may change against the encoder alone.",
)
@click.option(
    "--bound",
    type=click.Choice(["upper", "expected"]),
    default="upper",
    show_default=True,
    help="What of that share is kept within the limit: its upper 95 % bound, or its expectation.",
)
@click.option("--no-static", is_flag=True, help="Fit the encoder's head alone.")
@taxonomy_file
@as_json
def fit(
    data: Path,
    name: str,
    text: str,
    label: str,
    clean: str | None,
    as_json: bool,
    **more: Any,
) -> None:
    """Fit a model to labeled tickets, measure it, and store it.

    DATA has a column for the text and one for the label. Optional columns `route` and `priority` are used
    for categories that your taxonomy does not list.

    The model has two tiers: a head for the vectors of the encoder, and a static tier, which needs no encoder; and a
    cascade, in which the static tier answers where it is sure. A table says what each costs and wins. The static tier
    also learns to judge the urgent phrases of the taxonomy, and the cascade holds for these phrases only.

    \b
      inferstream triage fit tickets.jsonl --name shop --label category --test held-out.jsonl
      inferstream triage fit tickets.csv --name shop --serve static
      inferstream triage fit tickets.csv --name shop --serve cascade --changed 0.02
    """
    from ....models.manifest import ENCODER
    from ....models.registry import ModelRegistry
    from ....optimize.triage.cascade.fit import ChangeLimit, tiers_with_cascade
    from ....optimize.triage.fit import fit as fit_head
    from ....optimize.triage.fit_tiers import FitEncoder
    from ....optimize.triage.fitted_rows import files_with_fit
    from ....optimize.triage.labeled import read_labeled
    from ....runtime.sessions import Session
    from ....runtime.tokenizer import Tokenizer
    from ....tasks.triage.head import HeadStore
    from ....tasks.triage.loading import refuse_encoder_name
    from ....tasks.triage.taxonomy import load_taxonomy

    test, serve, taxonomy = more.pop("test"), more.pop("serve"), load_taxonomy(more.pop("taxonomy"))
    limit = ChangeLimit(more.pop("changed"), more.pop("bound"))
    if (head_alone := more.pop("no_static")) and serve != "encoder":
        raise UsageError(f"--serve {serve} needs the tier that --no-static leaves out: give one of the two.")
    registry = ModelRegistry()
    heads = HeadStore(registry.root.parent)
    heads.versions(name)  # raises for an invalid name before the work starts
    refuse_encoder_name(registry, name)
    manifest = registry.load(more.pop("base"), ENCODER)
    train = read_labeled(data, text, label, dialect_given(data, more)).cleaned(clean)
    tested = read_labeled(test, text, label, dialect_given(test, more)).cleaned(clean) if test else None
    tokenizer = Tokenizer(manifest.tokenizer_path, manifest.max_tokens, manifest.pad_id)
    encoder = FitEncoder(manifest, tokenizer, Session(manifest.graph_path))
    with progress() as report_progress:
        fitted = fit_head(train, tested, *encoder, report_progress)
        tiers = (
            None
            if head_alone
            else tiers_with_cascade(fitted, encoder, taxonomy, serve, limit, report_progress)
        )
    head, report = (tiers.head, tiers.report) if tiers else (fitted.head, fitted.report)
    version = heads.save(name, head, files_with_fit(tiers.files if tiers else {}, fitted.rows.train))
    measured = head.measured_served
    if as_json:
        print_json(
            {"name": name, "version": version, "base": manifest.name, "skipped": train.skipped}
            | msgspec.to_builtins(measured)
            | {"report": report, "served": head.served, "tiers": tiers.reports if tiers else []}
        )
        return
    print_report(report, f"{name} {version}, fitted on {measured.train_rows} tickets")
    _print_more(
        measured if head.served in ("encoder", "static") else None, report, train.skipped, fitted.repeated
    )
    if tiers:
        print_tiers(tiers.reports, head.served)
        print_cascade(head.cascade or None, tiers.changed_on_test)
    click.echo(f"\nServe it: inferstream worker triage --model {name} …")


def _print_more(measured: "HeadAccuracy | None", report: "TriageReport", skipped: int, repeated: int) -> None:
    if measured:
        click.echo(
            f"Calibration error {measured.calibration_error_before:.3f} as fitted, "
            f"{measured.calibration_error:.3f} with temperature {report.temperature:.3f}."
        )
    print_skipped(skipped)
    if repeated:
        click.echo(f"{repeated} test tickets are among those fitted on: they were not measured.")
