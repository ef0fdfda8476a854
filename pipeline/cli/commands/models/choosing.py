"""`models choose`: the fastest model within limits, by the figures of this machine."""

import os
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ...output.evaluations import words_of
from ...output.tables import print_table
from ...output.triage_report import progress
from .shared import as_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....optimize.choosing.choice import Miss
    from ....optimize.choosing.offers import Offer

COLUMNS = {
    "name": "NAME",
    "provider": "DEVICE",
    "device": "MODEL OF THE DEVICE",
    "agreement": "SAME ANSWER",
    "p50_ms": "P50 MS",
    "p99_ms": "P99 MS",
    "rows_per_s": "ROWS/S",
    "size_mb": "MB",
    "gate": "GATE",
    "misses": "MISSES",
    "note": "SAME ANSWER IS",
}


@click.command()
@click.argument("name", required=False)
@click.option(
    "--latency-ms",
    type=click.FloatRange(min=0, min_open=True),
    help="99 % of rows that come alone must be answered within this time.",
)
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    help="At least this share of the answers must be those of the original, as 0.98.",
)
@click.option(
    "--max-size-mb", type=click.FloatRange(min=0, min_open=True), help="The most megabytes of files."
)
@click.option("--zero-shot", is_flag=True, help="For classification by a taxonomy, not by a fitted model.")
@as_json
def choose(
    name: str | None,
    latency_ms: float | None,
    min_agreement: float | None,
    max_size_mb: float | None,
    zero_shot: bool,
    as_json: bool,
) -> None:
    """Choose the fastest variant within limits.

    NAME is a model (minilm), whose variants, prunings and fitted models are compared; without it, all encoders and
    fitted models are. Encoders and translators that were not measured on this machine are measured now. What a fitted
    model answers as fast as it does depends on its texts: measure it with `models evaluate`. The status is 1 if
    nothing fits.

    \b
      inferstream models choose minilm --latency-ms 20 --min-agreement 0.98
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ....models.metrics import FITTED, ZERO_SHOT
    from ....models.registry import ModelRegistry
    from ....optimize.choosing.choice import ChoiceLimits
    from ....optimize.choosing.choice import choose as choose_offer
    from ....optimize.choosing.offers import offers

    registry = ModelRegistry(judged=False)
    with progress() as report_progress:
        found, not_measured = offers(registry, name, ZERO_SHOT if zero_shot else FITTED, report_progress)
    chosen, reason, misses = choose_offer(found, ChoiceLimits(latency_ms, min_agreement, max_size_mb))
    if as_json:
        document = {
            "chosen": chosen,
            "reason": reason,
            "offers": [
                msgspec.to_builtins(offer) | {"misses": [miss.why for miss in missed]}
                for offer, missed in zip(found, misses, strict=True)
            ],
            "not_measured": not_measured,
        }
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
    else:
        _print(found, misses, not_measured)
        click.echo(f"\n{reason}")
    if chosen is None:
        raise click.exceptions.Exit(1)


def _print(
    found: "Sequence[Offer]", misses: "Sequence[Sequence[Miss]]", not_measured: dict[str, str]
) -> None:
    """The table, and the devices without figures."""
    rows: list[dict[str, Any]] = [
        msgspec.to_builtins(offer)
        | {
            "agreement": None if offer.agreement is None else f"{offer.agreement:.1%}",
            "gate": "" if offer.gate is None else words_of(offer.gate),
            "misses": "; ".join(miss.why for miss in missed),
        }
        for offer, missed in zip(found, misses, strict=True)
    ]
    print_table(rows, COLUMNS, as_json=False)
    for provider, why in not_measured.items():
        click.echo(f"{provider}: {why}.")
