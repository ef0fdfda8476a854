"""`inferstream optimize`: make variants of a model by a recipe, and report."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ...config import Config
from ...errors import UsageError
from ...optimize.recipes.reading import PROFILES
from ..options.registry import REGISTRY
from ..options.rows import dialect_options
from ..options.settings import with_settings

if TYPE_CHECKING:
    from ...optimize.recipes.model_facts import ModelFacts
    from ...optimize.recipes.offered import AdaptedRecipe
    from ...optimize.recipes.recipe import Recipe


@click.command("optimize")
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    help="A recipe that ships with inferstream: for a small device, a server without a GPU, a GPU.",
)
@click.option("--model", metavar="NAME", help="The model to make variants of, in the place of the recipe's.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="File of labeled texts, CSV or JSON Lines; of texts for translators and language models.  [default: the "
    "recipe's]",
)
@click.option(
    "--test",
    type=click.Path(path_type=Path),
    help="File that judges.  [default: a fifth of the data is held out]",
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    help="File with translations of the texts, for the BLEU of translators.",
)
@click.option(
    "--text", metavar="COLUMN", help="Column or field with the text.  [default: the recipe's, else text]"
)
@click.option(
    "--label",
    metavar="COLUMN",
    help="Column or field with the correct category.  [default: the recipe's, else label]",
)
@click.option(
    "--clean", type=click.Choice(["mail", "none"]), help="mail: strip HTML, quoted mails and signatures."
)
@dialect_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("optimize-report"),
    show_default=True,
    help="Folder for report.html, report.json and recipe.toml.",
)
@click.option(
    "--taxonomy",
    type=click.Path(path_type=Path),
    help="The taxonomy that cascades are made for, and that publish takes along.  [default: the recipe's, else that "
    "of the settings]",
)
@with_settings(REGISTRY, kafka=False)
@click.option("--dry-run", is_flag=True, help="Print the plan with the expected seconds, and make nothing.")
@click.option(
    "--print-recipe", is_flag=True, help="Print the recipe as it would be run, to start one of your own."
)
@click.option("--print-schema", is_flag=True, help="Print the JSON Schema of report.json.")
@click.option("--json", "as_json", is_flag=True, help="Print the report, or the plan, as JSON.")
def command(
    recipe: Path | None,
    profile: str | None,
    out: Path,
    dry_run: bool,
    print_recipe: bool,
    print_schema: bool,
    as_json: bool,
    config: Config,
    **options: Any,
) -> None:
    """Make smaller and faster variants of a model by a recipe, and report what each costs and keeps.

    RECIPE is a TOML file; a profile is a recipe that ships with inferstream. Each step is kept when it is done: after
    Ctrl-C or `kill -9` run the same command again, and it goes on. What another recipe has made of the same model and
    the same rows is not made again. The report has a table and plots, the machine, and the commands that repeat it.

    Steps quantize, prune and distill make variants, static, cascade and ensemble fit models, evaluate measures all on
    rows that no step saw, gate judges, publish makes a release. Each says in the recipe what it is of. Classifiers,
    translators and language models have quantize, evaluate, gate and publish: a profile leaves out the others.

    \b
      inferstream optimize --profile cpu --data tickets.csv --dry-run
      inferstream optimize --profile cpu --data tickets.csv
      inferstream optimize --profile edge --print-recipe > recipe.toml
      inferstream optimize recipe.toml --data tickets.csv --label category --out report
      inferstream optimize --profile cpu --model translate-en-pt --data sentences.txt
    """
    # NumPy reads it when it is imported, see `models pull`.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if print_schema:
        from ...optimize.recipes.report.report import RecipeReport

        _print_json(msgspec.json.schema(RecipeReport))
        return
    of_settings = config.tasks.get("triage", {}).get("taxonomy")
    wanted = _recipe(recipe, profile, options | {"of_settings": of_settings})
    if print_recipe:
        _print_recipe(wanted, of_profile=profile is not None)
        return
    _run(wanted, config, out, of_profile=profile is not None, dry_run=dry_run, as_json=as_json)


def _print_recipe(wanted: "Recipe", *, of_profile: bool) -> None:
    """As it would be run; the steps of a profile are not checked for a model that is not known yet."""
    from ...errors import UnknownModel
    from ...optimize.recipes.offered import AdaptedRecipe
    from ...optimize.recipes.reading import write_recipe

    try:
        fitting = _fitting(wanted, of_profile=of_profile)[0] if of_profile else AdaptedRecipe(wanted)
    except UnknownModel:
        fitting = AdaptedRecipe(wanted)
    click.echo(write_recipe(fitting.recipe), nl=False)


def _fitting(wanted: "Recipe", *, of_profile: bool) -> "tuple[AdaptedRecipe, ModelFacts]":
    """What is run, and what its model is. What a profile leaves out is told on standard error."""
    from ...models.registry import ModelRegistry
    from ...optimize.recipes.model_facts import facts_of
    from ...optimize.recipes.offered import AdaptedRecipe, adapted
    from ..output.pull_progress import pull_progress

    with pull_progress() as looking:
        facts = facts_of(wanted.model, ModelRegistry(judged=False), looking)
    fitting = adapted(wanted, facts) if of_profile else AdaptedRecipe(wanted)
    for note in fitting.notes:
        click.echo(note, err=True)
    return fitting, facts


def _run(
    wanted: "Recipe", config: Config, out: Path, *, of_profile: bool, dry_run: bool, as_json: bool
) -> None:
    from ...models.registry import ModelRegistry
    from ...optimize.machine.machine import check_provider, this_machine
    from ...optimize.recipes.plan import plan_of
    from ...optimize.recipes.report.building import report_of, write_report
    from ...optimize.recipes.rows import RecipeRows
    from ...optimize.recipes.runner import RecipeRun
    from ..output.recipe_progress import RecipeProgress, plan_rows, print_plan
    from ..output.recipe_report import print_variants

    registry, machine = ModelRegistry(judged=False), this_machine()
    fitting, facts = _fitting(wanted, of_profile=of_profile)
    rows = RecipeRows(wanted.data, facts)
    plan = plan_of(fitting.recipe, facts, config)
    run = RecipeRun(registry, plan, rows, machine)
    if dry_run:
        planned = run.planned()
        if as_json:
            _print_json(plan_rows(planned))
        else:
            print_plan(planned)
        return
    check_provider(wanted.provider)
    with RecipeProgress(len(plan)) as progress:
        carried = run.run(progress)
        report = report_of(registry, fitting, rows, carried, machine)
        written = write_report(report, out)
    if as_json:
        _print_json(report)
        return
    print_variants(report)
    click.echo(f"The report: {written[-1]} (as JSON: {written[1].name}, the recipe: {written[0].name}).")


def _recipe(path: Path | None, profile: str | None, options: dict[str, Any]) -> "Recipe":
    """The recipe of the file or the profile, with what the options say. Raises UsageError."""
    from ...home import expanded
    from ...optimize.recipes.reading import parse_recipe, read_profile, read_recipe, with_model, write_recipe
    from ...optimize.recipes.recipe import TriagePart

    if (path is None) == (profile is None):
        raise UsageError(f"Name a recipe: a file, or a --profile: {', '.join(PROFILES)}.")
    found = read_recipe(path) if path else read_profile(str(profile))
    data = {name: options[name] for name in ("text", "label", "clean", "format", "delimiter", "encoding")}
    files = {"file": options["data"], "test": options["test"], "references": options["reference"]}
    data |= {name: str(file.absolute()) for name, file in files.items() if file}
    given = {name: value for name, value in data.items() if value is not None}
    if options["model"]:
        found = with_model(found, options["model"])
    taxonomy = options["taxonomy"] or found.triage.taxonomy or options["of_settings"]
    if taxonomy:
        taxonomy = str(expanded(str(taxonomy), "triage.taxonomy").absolute())
    replace = msgspec.structs.replace
    changed = replace(found, data=replace(found.data, **given), triage=TriagePart(taxonomy))
    return parse_recipe(write_recipe(changed), "The recipe with these options")


def _print_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))
