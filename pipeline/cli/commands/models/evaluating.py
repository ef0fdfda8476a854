"""`models evaluate`: measure variants beside their originals, and judge them."""

import os
from pathlib import Path
from typing import Any

import click

from ....errors import UsageError
from ...options.rows import dialect_given, labeled_file
from ...output.evaluations import print_judgements
from ...output.triage_report import print_left_out, progress
from .shared import as_json

FILE = click.Path(path_type=Path)


def thresholds_of(given: tuple[str, ...]) -> dict[str, float]:
    """``min_share=0.97`` → {"min_share": 0.97}. Raises UsageError."""
    found = {}
    for one in given:
        name, _, value = one.partition("=")
        try:
            found[name.strip().replace("-", "_")] = float(value)
        except ValueError as error:
            raise UsageError(f"--threshold {one!r} must be NAME=NUMBER, as min_share=0.97.") from error
    return found


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@labeled_file
@click.option(
    "--test",
    type=FILE,
    help="File to measure on, if heads are fitted on DATA.  [default: a fifth of DATA is held out]",
)
@click.option("--zero-shot", is_flag=True, help="Measure encoders with the categories of a taxonomy.")
@click.option(
    "--taxonomy",
    type=FILE,
    help="The taxonomy of fitted models, or for --zero-shot.  [default: the built-in example]",
)
@click.option(
    "--original",
    metavar="NAME",
    help="What to compare with.  [default: NAME-fp32, or what a pruned model was made of; of a fitted model its "
    "encoder tier; where that is what answers, the original of its encoder, fitted on the same rows]",
)
@click.option(
    "--foreign",
    type=FILE,
    help="File with texts that no category is for.  [default: 200 sentences of other domains]",
)
@click.option(
    "--negation",
    type=FILE,
    help="File with negated texts and their right labels.  [default: opposites of the rows, made by rules, for which "
    "only the agreement with the original is measured]",
)
@click.option(
    "--reference",
    "references",
    type=FILE,
    help="File with translations of the texts, for the BLEU of translators.",
)
@click.option(
    "--threshold",
    "thresholds",
    metavar="NAME=NUMBER",
    multiple=True,
    help="A threshold of the gate instead of the default ones; several may be given.  [default: min_share=0.97]",
)
@click.option("--force", is_flag=True, help="Publish what does not pass; its manifest says so for ever.")
@click.option("--speed/--no-speed", default=True, help="Measure speed and memory too.  [default: --speed]")
@click.option(
    "--provider",
    type=click.Choice(["cpu", "cuda", "tensorrt"]),
    help="What runs the models.  [default: the best that is usable]",
)
@as_json
def evaluate(
    names: tuple[str, ...],
    data: Path,
    text: str,
    label: str,
    zero_shot: bool,
    taxonomy: Path | None,
    original: str | None,
    thresholds: tuple[str, ...],
    force: bool,
    speed: bool,
    provider: str | None,
    clean: str | None,
    as_json: bool,
    **others: Any,
) -> None:
    """Measure models beside their originals, and judge them.

    Encoders get a head that is fitted anew on four fifths of DATA, and answer the last fifth. Fitted models, and
    encoders with --zero-shot, answer all of DATA but the rows that they were fitted on. Translators translate
    the texts of DATA, and language models read them. What does not pass its gate is refused by workers from then on,
    unless --force is given. The figures are kept with the models.

    \b
      inferstream models evaluate minilm-int8 minilm-pruned60-int8 tickets.csv
      inferstream models evaluate shop new-tickets.csv --threshold min_agreement=0.98
      inferstream models evaluate minilm-int8 tickets.csv --zero-shot --taxonomy my.toml
      inferstream models evaluate translate-en-pt-int8 sentences.txt --reference translations.txt
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ....models.registry import ModelRegistry
    from ....optimize.evaluation.files import DataFiles, classifies, labeled_files, text_files
    from ....optimize.evaluation.gates import checked_thresholds
    from ....optimize.evaluation.models import Asked, evaluate_models
    from ....optimize.evaluation.text_models import evaluate_text_models
    from ....tasks.triage.head import HeadStore

    limits = checked_thresholds(thresholds_of(thresholds))
    chosen = str(taxonomy) if taxonomy else None
    asked = Asked(names, original, zero_shot, chosen, provider, limits, force, speed)
    registry = ModelRegistry(provider=provider, judged=False)
    heads = HeadStore(registry.root.parent)
    if taxonomy and not zero_shot and not all(map(heads.has, names)):
        raise UsageError("--taxonomy is for fitted models, and for encoders with --zero-shot.")
    given = {name: others.pop(name) for name in ("test", "foreign", "negation", "references")}
    files = DataFiles(data, lambda path: dialect_given(path, others), text, label, clean, **given)
    with progress() as report_progress:
        if classifies(registry, names[0]):
            rows, sets = labeled_files(registry, asked, files)
            print_left_out(rows.left_out)
            found = evaluate_models(registry, asked, rows, sets, report_progress)
        else:
            found = evaluate_text_models(registry, asked, text_files(files), report_progress)
    print_judgements(found, as_json)
