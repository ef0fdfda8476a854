"""`inferstream triage`: fit triage to your own tickets, measure it, look after taxonomies and fitted models."""

from pathlib import Path

import click
import msgspec

from ...errors import UsageError
from ..output.triage_lists import print_heads, print_rules
from ..output.triage_report import print_json, print_report, print_skipped, progress

data_file = click.argument("data", type=click.Path(path_type=Path))
text_column = click.option(
    "--text", default="text", show_default=True, help="The column that holds the ticket."
)
label_column = click.option(
    "--label", default="label", show_default=True, help="The column that holds the right category."
)
taxonomy_file = click.option(
    "--taxonomy", type=click.Path(path_type=Path), help="Your taxonomy; the built-in example without one."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")


@click.group("triage")
def command() -> None:
    """Fit the triage of support tickets to your own categories, and measure it.

    Without any labeled tickets, edit a taxonomy: categories, each with a description and some examples.
    With some dozens of labeled tickets for each category, `fit` a model: it is more accurate, and its
    confidence is calibrated. Files of tickets are CSV or JSON Lines (.jsonl).
    """


@command.command()
@data_file
@click.option(
    "--name", required=True, help="What workers and requests call the model; a new fit is a new version."
)
@text_column
@label_column
@click.option(
    "--test",
    type=click.Path(path_type=Path),
    help="Measure on this file; without it a fifth of DATA is held out.",
)
@click.option(
    "--base",
    default="minilm-int8",
    show_default=True,
    help="The encoder; workers need the same one, so fit on it.",
)
@as_json
def fit(data: Path, name: str, text: str, label: str, test: Path | None, base: str, as_json: bool) -> None:
    """Fit a model to labeled tickets and store it.

    DATA has the columns text and label, or those that you name; the model is stored under NAME.
    Optional columns `route` and `priority` say where categories go that your taxonomy does not list.
    """
    from ...models.registry import ModelRegistry
    from ...optimize.triage.fit import fit as fit_head
    from ...optimize.triage.labeled import read_labeled
    from ...runtime.sessions import Session
    from ...runtime.tokenizer import Tokenizer
    from ...tasks.triage.head import HeadStore

    registry = ModelRegistry()
    heads = HeadStore(registry.root.parent)
    heads.versions(name)  # a bad name is an error before the work, not after it
    _refuse_encoder_name(name)
    train = read_labeled(data, text, label)
    tested = read_labeled(test, text, label) if test else None
    manifest = registry.load(base)
    tokenizer = Tokenizer(manifest.tokenizer_path, manifest.max_tokens, manifest.pad_id)
    with progress() as tell:
        fitted = fit_head(train, tested, manifest, tokenizer, Session(manifest.graph_path), tell)
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
    click.echo(f"\nServe it: inferstream worker triage --model {name} …")


@command.command()
@data_file
@text_column
@label_column
@click.option(
    "--model",
    default="minilm-int8",
    show_default=True,
    help="A fitted model, or an encoder to use with a taxonomy.",
)
@taxonomy_file
@as_json
def evaluate(data: Path, text: str, label: str, model: str, taxonomy: Path | None, as_json: bool) -> None:
    """Measure a model or a taxonomy on labeled tickets.

    The table of thresholds says what to set `threshold` to: how many tickets are answered without a human at
    each, and how many of those answers are right.
    """
    from ...models.registry import ModelRegistry
    from ...optimize.triage.labeled import read_labeled
    from ...optimize.triage.report import embed_with, indices_of, measure
    from ...runtime.sessions import Session
    from ...tasks.triage.loading import TriageModel

    tickets = read_labeled(data, text, label)
    parts = TriageModel(ModelRegistry(), model, taxonomy)
    session = Session(parts.manifest.graph_path)
    classifier = parts.classifier(session)
    truth = indices_of(tickets.labels, classifier.labels)
    with progress() as tell:
        vectors = embed_with(tickets.texts, parts.tokenizer, session, tell, "reading the tickets")
    report = measure(classifier, vectors, truth)
    if as_json:
        print_json(
            {"model": model, "base": parts.manifest.name, "skipped": tickets.skipped, "report": report}
        )
        return
    print_report(report, model)
    print_skipped(tickets.skipped)
    if abs(report.best_temperature / report.temperature - 1) > 0.1:
        click.echo(f"On these tickets temperature = {report.best_temperature:.3g} would be calibrated best.")


@command.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@as_json
def check(file: Path | None, as_json: bool) -> None:
    """Check a taxonomy and show where its categories go.

    Without FILE it is the built-in example.
    """
    from ...tasks.triage.taxonomy import load_taxonomy

    print_rules(load_taxonomy(file), as_json)


@command.command()
@data_file
@text_column
@label_column
@click.option(
    "--examples",
    default=3,
    show_default=True,
    type=click.IntRange(0, 100),
    help="Tickets to copy for each category.",
)
def draft(data: Path, text: str, label: str, examples: int) -> None:
    """Print a taxonomy to start from.

    Its categories are the labels in DATA, its examples some of the tickets there. Redirect it into a file, then
    write better descriptions and the routes.
    """
    from ...optimize.triage.draft import draft_taxonomy
    from ...optimize.triage.labeled import read_labeled

    click.echo(draft_taxonomy(read_labeled(data, text, label), examples), nl=False)


@command.command("list")
@as_json
def list_heads(as_json: bool) -> None:
    """List the fitted models on this machine, all versions."""
    from ...home import home_folder
    from ...tasks.triage.head import HeadStore

    heads = HeadStore(home_folder())
    if not heads.names() and not as_json:
        click.echo("No fitted models here yet; run `inferstream triage fit DATA.csv --name NAME`.")
        return
    print_heads(heads, as_json)


@command.command()
@click.argument("name")
@click.argument("version")
def use(name: str, version: str) -> None:
    """Serve another version of a fitted model.

    Workers that start later take VERSION when they are asked to serve NAME.
    """
    from ...home import home_folder
    from ...tasks.triage.head import HeadStore

    HeadStore(home_folder()).use(name, version)
    click.echo(f"{name} is now {version}; restart the workers that serve it.")


def _refuse_encoder_name(name: str) -> None:
    """A fitted model must not hide an encoder."""
    from ...models.catalogue import CATALOGUE
    from ...models.registry import ModelRegistry, split_name

    taken = {split_name(manifest.name)[0] for manifest in ModelRegistry().list()} | set(CATALOGUE)
    if split_name(name)[0] in taken:
        raise UsageError(f"{name!r} is the name of an encoder; choose another for the fitted model.")
