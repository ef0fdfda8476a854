"""`inferstream bench-assistant`."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec
from rich.console import Console

from ..options.settings import KAFKA_ADDRESS
from ..output.bench_progress import BenchProgress
from ..output.tables import print_table
from .bench import FOLDER, print_figures, with_bench

if TYPE_CHECKING:
    from ...lab.bench.figures import BenchFigure
    from ...lab.generation.parts import BenchAsked, BenchPart

PARTS: Final = ("speed", "prefixes", "scaling", "exact")
SPEED_COLUMNS: Final = {
    "system": "on one core",
    "one_per_s": "1 stream, tokens/s",
    "all_per_s": "all streams",
    "first_ms": "first token, ms",
    "late_ms": "of a late request",
    "long_s": "of a long prompt, s",
    "gap_ms": "longest gap meanwhile, ms",
}


@click.command("bench-assistant")
@click.option("--model", default="smollm2-135m-int4", show_default=True, help="A decoder that can chat.")
@click.option(
    "--peers",
    metavar="PYTHON",
    help="The Python of an environment with the peers: pip install xllamacpp gguf openvino-genai there.",
)
@click.option(
    "--kafka",
    **{**KAFKA_ADDRESS, "help": "Measure on this Kafka; without an address a local one runs meanwhile."},
)
@click.option("--rounds", type=click.IntRange(min=1), default=6, show_default=True, help="Rounds.")
@click.option(
    "--only",
    type=click.Choice(PARTS),
    multiple=True,
    help="Measure only this part; may be given several times.",
)
@click.option("--quick", is_flag=True, help="One tiny round: to see that it works.")
@click.option(
    "--out", type=FOLDER, default="results/bench-assistant", show_default=True, help="For figures.json."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown.")
def command(
    model: str,
    peers: str | None,
    kafka: str | None,
    rounds: int,
    only: tuple[str, ...],
    quick: bool,
    out: Path,
    as_json: bool,
    markdown: bool,
) -> None:
    """Measure generated texts over a real Kafka beside llama.cpp and OpenVINO GenAI.

    All run on one core with the same weights and prompts, greedy, 64 tokens a stream, and take turns; Kafka and the
    client have the other cores. Streams run alone and together, a request comes late, a long prompt arrives while
    others decode; and the engine without a broker shows what Kafka costs.

    Then prompts share their beginning, several workers share the streams, and 200 texts are compared with those made
    alone.

    \b
      inferstream bench-assistant --peers ../peers/bin/python
    """
    from ...lab.generation.parts import BenchAsked
    from ...lab.generation.peers import absent_peers

    console = Console(stderr=True)
    for sentence in absent_peers(peers).values() if peers else ():
        console.print(sentence, soft_wrap=True)
    asked = BenchAsked(model, peers, rounds, quick)
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, BenchPart] = {}
    figures: list[BenchFigure] = []
    for name in only or PARTS:
        found[name] = _measure(name, kafka, asked, console)
        figures += found[name].figures
        body = {"figures": figures, "parts": found}
        (out / "figures.json").write_bytes(msgspec.json.format(msgspec.json.encode(body), indent=2))
        if found[name].speeds and not as_json:
            speeds = msgspec.to_builtins(found[name].speeds)
            print_table(speeds, SPEED_COLUMNS, as_json=False, markdown=markdown)
            click.echo()
    print_figures(figures, as_json=as_json, markdown=markdown)
    console.print(f"All values are in {out}.")


def _measure(name: str, kafka: str | None, asked: "BenchAsked", console: Console) -> "BenchPart":
    from ...lab.generation.parts import PART_OF
    from ...tasks.generate.definition import GENERATE

    with BenchProgress(console) as progress:
        return asyncio.run(with_bench(kafka, lambda bench: PART_OF[name](bench, asked, progress), GENERATE))
