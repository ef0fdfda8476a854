"""`inferstream triage fit`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from ....errors import UsageError
from ...options.rows import dialect_given, labeled_file
from ...output.fits import TIERS, FitGiven, FitJudgement, print_judged, print_next
from ...output.triage_report import print_json, print_report, print_skipped, progress
from ...output.triage_tiers import print_cascade, print_tiers
from .shared import as_json, taxonomy_file

if TYPE_CHECKING:
    from ....optimize.triage.fit import Fitted
    from ....optimize.triage.fit_tiers import FittedTiers
    from ....optimize.triage.report import Progress, TriageReport
    from ....tasks.triage.head import Head, HeadAccuracy, HeadStore


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
    type=click.Choice(TIERS),
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
    """Fit a model to labeled tickets, store it, judge it.

    DATA has a column for the text and one for the label. Optional columns `route` and `priority` are used
    for categories that your taxonomy does not list.

    The model has two tiers: a head for the vectors of the encoder, and a static tier, which needs no encoder; and a
    cascade, in which the static tier answers where it is sure. A table says what each costs and wins. The static tier
    also learns to judge the urgent phrases of the taxonomy, and the cascade holds for these phrases only.

    In the end what is served is judged beside its original on the test tickets, as by `models evaluate`: the encoder
    beside its float32 original, all else beside the encoder. What surely keeps less than 97 % of its accuracy (95 %
    interval) is refused by workers and by `models promote`.

    \b
      inferstream triage fit tickets.jsonl --name shop --label category --test held-out.jsonl
      inferstream triage fit tickets.csv --name shop --serve static
      inferstream triage fit tickets.csv --name shop --serve cascade --changed 0.02
    """
    from ....home import writable_folder
    from ....models.manifest import ENCODER
    from ....models.registry import ModelRegistry
    from ....optimize.triage.cascade.fit import ChangeLimit, tiers_with_cascade
    from ....optimize.triage.fit import fit as fit_head
    from ....optimize.triage.fit_tiers import FitEncoder
    from ....optimize.triage.labeled import read_labeled
    from ....runtime.sessions import Session
    from ....runtime.tokenizer import Tokenizer
    from ....tasks.triage.head import HeadStore
    from ....tasks.triage.loading import refuse_encoder_name
    from ....tasks.triage.taxonomy import load_taxonomy

    test, serve, taxonomy_file = more.pop("test"), more.pop("serve"), more.pop("taxonomy")
    taxonomy = load_taxonomy(taxonomy_file)
    limit = ChangeLimit(more.pop("changed"), more.pop("bound"))
    if (head_alone := more.pop("no_static")) and serve != "encoder":
        raise UsageError(f"--serve {serve} needs the tier that --no-static leaves out: give one of the two.")
    registry = ModelRegistry()
    heads = HeadStore(registry.root.parent)
    heads.versions(name)  # raises for an invalid name before the work starts
    writable_folder(heads.root)
    before = _version_before(heads, name)
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
        head = tiers.head if tiers else fitted.head
        version = heads.save(name, head, _files_of(fitted, tiers))
        judged = _judged(name, version, fitted, taxonomy_file, report_progress)
    made = _Made(version, head, fitted, tiers, judged)
    if as_json:
        _print_json(name, made, train.skipped)
        return
    given = FitGiven(
        name=name,
        served=head.served,
        tiers=TIERS if tiers else (),
        measure=_options_of(test or data, {"text": text, "label": label} | more),
        taxonomy=str(taxonomy_file or ""),
        before="" if before == version else before,
    )
    _print(given, made, train.skipped)


def _version_before(heads: "HeadStore", name: str) -> str:
    """The version that is served; empty if there is none, or none that can be read."""
    from ....errors import ModelError

    try:
        return heads.current(name) if heads.has(name) else ""
    except ModelError:
        return ""


def _files_of(fitted: "Fitted", tiers: "FittedTiers | None") -> dict[str, bytes]:
    from ....optimize.triage.fitted_rows import files_with_fit

    if tiers is None:
        return files_with_fit({}, fitted.rows.train)
    return files_with_fit(tiers.files, fitted.rows.train, tiers.measured_both)


class _Made(NamedTuple):
    version: str
    head: "Head"
    fitted: "Fitted"
    tiers: "FittedTiers | None"
    judged: FitJudgement

    @property
    def report(self) -> "TriageReport":
        return self.tiers.report if self.tiers else self.fitted.report

    @property
    def measured(self) -> "HeadAccuracy":
        both = self.tiers.measured_both if self.tiers else {}
        return both.get(self.head.served) or self.head.measured_served or self.head.measured


def _print_json(name: str, made: _Made, skipped: int) -> None:
    print_json(
        {"name": name, "version": made.version, "base": made.head.base, "skipped": skipped}
        | msgspec.to_builtins(made.measured)
        | {
            "report": made.report,
            "served": made.head.served,
            "tiers": made.tiers.reports if made.tiers else [],
        }
        | made.judged._asdict()
    )


def _print(given: FitGiven, made: _Made, skipped: int) -> None:
    print_report(made.report, f"{given.name}, fit {made.version}, on {made.measured.train_rows} tickets")
    one_tier = given.served in ("encoder", "static")
    _print_more(made.measured if one_tier else None, made.report, skipped, made.fitted.repeated)
    if made.tiers:
        print_tiers(made.tiers.reports, given.served)
        print_cascade(made.head.cascade or None, made.tiers.changed_on_test)
    print_judged(made.judged, given.name)
    print_next(made.judged, given)


def _options_of(file: Path, reading: dict[str, Any]) -> str:
    """The arguments with which another command reads the file as this one did."""
    usual = {"text": "text", "label": "label"}
    options = [
        f"--{name} {shlex.quote(value)}" for name, value in reading.items() if value != usual.get(name)
    ]
    return " ".join([shlex.quote(str(file)), *options])


def _judged(
    name: str, version: str, fitted: "Fitted", taxonomy: Path | None, report_progress: "Progress"
) -> FitJudgement:
    """The judgement on what is served. The model stands without one, too."""
    from ....errors import InferstreamError
    from ....models.registry import ModelRegistry
    from ....optimize.evaluation.fits import judge_fit

    registry = ModelRegistry(judged=False)
    chosen = str(taxonomy) if taxonomy else None
    try:
        return FitJudgement(judge_fit(registry, name, version, fitted, chosen, report_progress))
    except InferstreamError as error:
        return FitJudgement(None, str(error))


def _print_more(measured: "HeadAccuracy | None", report: "TriageReport", skipped: int, repeated: int) -> None:
    if measured:
        click.echo(
            f"Calibration error {measured.calibration_error_before:.3f} as fitted, "
            f"{measured.calibration_error:.3f} with temperature {report.temperature:.3f}."
        )
    print_skipped(skipped)
    if repeated:
        click.echo(f"{repeated} test tickets are among those fitted on: they were not measured.")
