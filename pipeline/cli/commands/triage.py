"""`inferstream triage`: fit triage to labeled tickets, measure it, manage taxonomies and fitted models."""

from pathlib import Path
from typing import Any

import click
import msgspec

from ..groups import SuggestingGroup
from ..options.rows import dialect_given, labeled_file
from ..output.triage_lists import print_heads, print_rules
from ..output.triage_report import print_json, print_report, print_skipped, progress

taxonomy_file = click.option(
    "--taxonomy",
    type=click.Path(path_type=Path),
    help="TOML file with the taxonomy.  [default: the built-in example]",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.group("triage", cls=SuggestingGroup)
def command() -> None:
    """Adapt the triage of support tickets to your own categories, and measure it.

    Without labeled tickets, write a taxonomy: categories, each with a description and some examples.
    With a few dozen labeled tickets per category, `fit` a model: it is more accurate, and its confidence
    is calibrated. Files of tickets are CSV or JSON Lines (.jsonl).

    \b
      inferstream triage draft tickets.csv > taxonomy.toml
      inferstream triage check taxonomy.toml
      inferstream triage fit tickets.csv --name shop
      inferstream triage evaluate new-tickets.csv --model shop
    """


@command.command()
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
    help="Encoder of the model. Workers that serve the model run this encoder.",
)
@as_json
def fit(
    data: Path,
    name: str,
    text: str,
    label: str,
    test: Path | None,
    base: str,
    clean: str | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Fit a model to labeled tickets, measure it, and store it.

    DATA has a column for the text and one for the label. Optional columns `route` and `priority` are used
    for categories that your taxonomy does not list.

    \b
      inferstream triage fit tickets.jsonl --name shop --label category --test held-out.jsonl
    """
    from ...models.manifest import ENCODER
    from ...models.registry import ModelRegistry
    from ...optimize.triage.fit import fit as fit_head
    from ...optimize.triage.labeled import read_labeled
    from ...runtime.sessions import Session
    from ...runtime.tokenizer import Tokenizer
    from ...tasks.triage.head import HeadStore
    from ...tasks.triage.loading import refuse_encoder_name

    registry = ModelRegistry()
    heads = HeadStore(registry.root.parent)
    heads.versions(name)  # raises for an invalid name before the work starts
    refuse_encoder_name(registry, name)
    train = read_labeled(data, text, label, dialect_given(data, reading)).cleaned(clean)
    tested = read_labeled(test, text, label, dialect_given(test, reading)).cleaned(clean) if test else None
    manifest = registry.load(base, ENCODER)
    tokenizer = Tokenizer(manifest.tokenizer_path, manifest.max_tokens, manifest.pad_id)
    with progress() as report_progress:
        fitted = fit_head(train, tested, manifest, tokenizer, Session(manifest.graph_path), report_progress)
    version = heads.save(name, fitted.head)
    measured = fitted.head.measured
    if as_json:
        print_json(
            {"name": name, "version": version, "base": manifest.name, "skipped": train.skipped}
            | msgspec.to_builtins(measured)
            | {"report": fitted.report}
        )
        return
    print_report(fitted.report, f"{name} {version}, fitted on {measured.train_rows} tickets")
    click.echo(
        f"Calibration error {measured.calibration_error_before:.3f} as fitted, "
        f"{measured.calibration_error:.3f} with temperature {fitted.head.temperature:.3f}."
    )
    print_skipped(train.skipped)
    if fitted.repeated:
        click.echo(f"{fitted.repeated} test tickets are among those fitted on: they were not measured.")
    click.echo(f"\nServe it: inferstream worker triage --model {name} …")


@command.command()
@labeled_file
@click.option(
    "--model",
    default="minilm-int8",
    show_default=True,
    help="Fitted model, or encoder for the taxonomy.",
)
@click.option(
    "--tier",
    type=click.Choice(["static", "encoder"]),
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

    DATA has a column for the text and one for the label. Use the table of thresholds to choose `threshold`:
    it shows for each value the share of tickets that are answered without a human, and the share of these
    answers that are right.

    \b
      inferstream triage evaluate tickets.csv --model shop
      inferstream triage evaluate tickets.csv --taxonomy taxonomy.toml
    """
    from ...models.registry import ModelRegistry
    from ...optimize.triage.labeled import read_labeled
    from ...optimize.triage.report import indices_of, measure
    from ...optimize.triage.tiers import scores_of
    from ...tasks.triage.loading import TriageModel

    tickets = read_labeled(data, text, label, dialect_given(data, reading))
    parts = TriageModel(ModelRegistry(), model, taxonomy)
    tickets = tickets.cleaned(clean or parts.clean)
    measured = tier or parts.served
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


@command.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@as_json
def check(file: Path | None, as_json: bool) -> None:
    """Check a taxonomy and list its categories and routes.

    Without FILE, lists the built-in example.

    \b
      inferstream triage check taxonomy.toml
    """
    from ...tasks.triage.taxonomy import load_taxonomy

    print_rules(load_taxonomy(file), as_json)


@command.command()
@labeled_file
@click.option(
    "--examples",
    default=3,
    show_default=True,
    type=click.IntRange(0, 100),
    help="Number of tickets to copy for each category.",
)
def draft(data: Path, text: str, label: str, examples: int, clean: str | None, **reading: Any) -> None:
    """Print a first taxonomy, made from labeled tickets. Drafts of replies are a chain, see docs/chains.md.

    Its categories are the labels in DATA, its examples some of the tickets. Redirect it to a file, then edit
    the descriptions and routes.

    \b
      inferstream triage draft tickets.csv > taxonomy.toml
    """
    from ...optimize.triage.draft import draft_taxonomy
    from ...optimize.triage.labeled import read_labeled

    tickets = read_labeled(data, text, label, dialect_given(data, reading)).cleaned(clean)
    click.echo(draft_taxonomy(tickets, examples), nl=False)


@command.command("list")
@as_json
def list_heads(as_json: bool) -> None:
    """List all versions of the fitted models on this machine."""
    from ...home import home_folder
    from ...tasks.triage.head import HeadStore

    heads = HeadStore(home_folder())
    if not heads.names() and not as_json:
        click.echo("There are no fitted models yet: run `inferstream triage fit DATA.csv --name NAME`.")
        return
    print_heads(heads, as_json)


@command.command()
@click.argument("name")
@click.argument("version")
def use(name: str, version: str) -> None:
    """Select the version of a fitted model that workers serve.

    Workers that start from now on serve VERSION as NAME; running workers keep their version.

    \b
      inferstream triage use shop 0123456789ab
    """
    from ...home import home_folder
    from ...tasks.triage.head import HeadStore

    HeadStore(home_folder()).use(name, version)
    click.echo(f"{name} is now {version}: restart the workers that serve it.")
