"""What was measured of variants, as tables."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
import msgspec

from .tables import print_table

if TYPE_CHECKING:
    from ...models.metrics import Estimate, Evaluation, Gate, Judgement

QUALITY = {
    "name": "NAME",
    "accuracy": "ACCURACY",
    "share": "OF THE ORIGINAL'S",
    "f1": "MACRO F1",
    "calibration": "CALIBRATION ERROR",
    "agreement": "SAME ANSWER",
    "static": "BY THE STATIC TIER",
    "foreign": "FOREIGN TO A HUMAN",
    "negated": "NEGATED",
    "cosine": "COSINE",
    "bleu": "BLEU",
    "chrf": "CHRF",
    "references": "REFERENCES",
    "kl": "KL",
    "top1": "SAME TOKEN",
    "perplexity": "PERPLEXITY",
    "gate": "GATE",
}
SPEED = {
    "name": "NAME",
    "device": "DEVICE",
    "p50_ms": "P50 MS",
    "p99_ms": "P99 MS",
    "rate": "ROWS/S, ONE CORE",
    "times": "÷ ORIGINAL",
    "size": "MB",
    "memory": "MB IN MEMORY",
}


def print_judgements(found: "Mapping[str, Judgement]", as_json: bool) -> None:
    """The figures of quality and of speed, and why a gate is closed."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    first = next(iter(found.values())).evaluation
    fitted = f", heads fitted on {first.fitted_rows}" if first.fitted_rows else ""
    click.echo(f"{first.rows} rows that nothing was made from{fitted}; 95% intervals in brackets.\n")
    _print_filled([_quality(name, one) for name, one in found.items()], QUALITY)
    if any(one.evaluation.speeds for one in found.values()):
        click.echo()
        _print_filled([_speed(name, one.evaluation) for name, one in found.items()], SPEED)
    for name, one in found.items():
        for failure in one.gate.failures:
            click.echo(f"\n{name}: {failure}", nl=False)
    closed = [name for name, one in found.items() if not one.gate.open]
    if any(one.gate.failures for one in found.values()):
        click.echo()
    if closed:
        them = "it" if len(closed) == 1 else "them"
        click.echo(
            f"Workers refuse {' and '.join(closed)} from now on. --force publishes {them} nevertheless."
        )


def _print_filled(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> None:
    """Without the columns that have no figure."""
    filled = {name: title for name, title in columns.items() if any(row[name] is not None for row in rows)}
    print_table(rows, filled, as_json=False)


def _quality(name: str, judgement: "Judgement") -> dict[str, Any]:
    one = judgement.evaluation
    negated = one.negation if one.negation is not None else one.negation_agreement
    return {
        "name": name,
        "accuracy": _estimate(one.accuracy),
        "share": _estimate(one.share),
        "f1": _percent(one.macro_f1),
        "calibration": None if one.calibration_error is None else f"{one.calibration_error:.3f}",
        "agreement": _estimate(one.agreement),
        "static": _percent(one.static_share),
        "foreign": _percent(one.out_of_scope),
        "negated": _percent(negated),
        "cosine": one.cosine_mean,
        "bleu": one.bleu,
        "chrf": one.chrf,
        "references": one.reference_bleu,
        "kl": one.kl,
        "top1": _percent(one.top1),
        "perplexity": one.perplexity,
        "gate": words_of(judgement.gate),
    }


def words_of(gate: "Gate") -> str:
    """passed, closed, or forced."""
    if gate.passed:
        return "passed, once forced" if gate.forced else "passed"
    return "forced" if gate.forced else "closed"


def _speed(name: str, one: "Evaluation") -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(SPEED) | {
        "name": name,
        "size": None if one.size_bytes is None else f"{one.size_bytes / 1e6:.1f}",
    }
    if not one.speeds:
        return row
    speed = one.speeds[0]  # the latest; the column says of which device
    times = speed.times_original
    taken = speed.resident_bytes
    return row | {
        "device": f"{speed.served_by.provider}: {speed.served_by.device}",
        "p50_ms": f"{speed.p50_ms:.2f}",
        "p99_ms": f"{speed.p99_ms:.2f}",
        "rate": f"{speed.rows_per_s:,.0f}",
        "times": times and f"{times.value:.2f} ({times.low:.2f}–{times.high:.2f})",
        "memory": None if taken is None else f"{taken / 1e6:.0f}",
    }


def _estimate(figure: "Estimate | None") -> str | None:
    return None if figure is None else f"{figure.value:.1%} ({figure.low:.1%}–{figure.high:.1%})"


def _percent(figure: float | None) -> str | None:
    return None if figure is None else f"{figure:.1%}"
