"""Fitted models, as `models list` and `models show` tell them: the version that is served of each."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from .evaluations import words_of
from .releases import print_fields
from .tables import print_table

if TYPE_CHECKING:
    from ...models.metrics import Judgement
    from ...tasks.triage.head import HeadAccuracy, HeadStore

KIND: Final = "fitted model"
COLUMNS: Final = {
    "name": "NAME",
    "served": "ANSWERED BY",
    "accuracy": "ACCURACY",
    "labels": "LABELS",
    "base": "ENCODER",
    "size": "SIZE",
    "version": "FIT",
}


IN_WORDS: Final = {"version": "fit", "versions": "fits"}


def fitted_rows(heads: "HeadStore") -> Iterator[dict[str, Any]]:
    """A row for each fitted model; damaged ones are left out, as those of encoders are."""
    from ...errors import InferstreamError

    for name in heads.names():
        try:
            yield fitted_row(heads, name)
        except InferstreamError:
            continue


def fitted_row(heads: "HeadStore", name: str) -> dict[str, Any]:
    """What is known of the version that is served. Raises UnknownModel, ModelError."""
    from ...models.judgements import read_judgement
    from ...tasks.triage.fit_record import measured_served
    from ...tasks.triage.head import HEAD_FILE

    head = heads.load(name)
    folder = heads.root / name / head.version
    judgement = read_judgement(folder)
    sizes = [path.stat().st_size for file in (HEAD_FILE, *head.files) if (path := folder / file).exists()]
    return {
        "name": name,
        "kind": KIND,
        "served": head.served,
        "base": head.base,
        "accuracy": _accuracy(measured_served(head, folder), judgement),
        "fitted_on": head.measured.train_rows,
        "labels": len(head.labels),
        "tiers": "encoder" if head.static is msgspec.UNSET else "encoder, static",
        "judged": words_of(judgement.gate) if judgement else "not measured beside its original",
        "size": f"{sum(sizes) / 1e6:.1f} MB",
        "version": head.version,
        "versions": heads.versions(name),
        "path": str(folder),
    }


def _accuracy(measured: "HeadAccuracy | None", judgement: "Judgement | None") -> str:
    """Of what answers: on the test rows of its fit, or by the judgement on it."""
    if measured:
        return f"{measured.accuracy:.1%} of {measured.test_rows} held-out rows"
    if judgement and judgement.evaluation.accuracy:
        return f"{judgement.evaluation.accuracy.value:.1%} of {judgement.evaluation.rows} unseen rows"
    return "not measured"


def print_fitted_models(rows: list[dict[str, Any]]) -> None:
    """A table."""
    click.echo("\nFitted models:")
    print_table(rows, COLUMNS, as_json=False)


def print_fitted_model(row: dict[str, Any]) -> None:
    """Lines of what is known of one."""
    print_fields(
        {
            IN_WORDS.get(field, field.replace("_", " ")): ", ".join(value)
            if isinstance(value, list)
            else value
            for field, value in row.items()
        }
    )
