"""Output of `triage list` and `triage check`: fitted models, and the categories of a taxonomy."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from .evaluations import words_of
from .tables import print_table

if TYPE_CHECKING:
    from pathlib import Path

    from ...tasks.triage.head import HeadStore
    from ...tasks.triage.taxonomy import Taxonomy

HEAD_COLUMNS = {
    "name": "NAME",
    "version": "FIT",
    "current": "CURRENT",
    "base": "ENCODER",
    "served": "ANSWERED BY",
    "labels": "LABELS",
    "train_rows": "FITTED ON",
    "accuracy": "ACCURACY",
    "calibration_error": "CALIBRATION ERROR",
    "gate": "GATE",
}
RULE_COLUMNS = {
    "category": "CATEGORY",
    "route": "ROUTE",
    "priority": "PRIORITY",
    "phrases": "PHRASES",
    "text_blocks": "TEXT BLOCKS",
}


def print_heads(heads: "HeadStore", as_json: bool) -> None:
    """Print all versions of all fitted models, one row each."""
    print_table(list(_head_rows(heads)), HEAD_COLUMNS, as_json=as_json)


def print_rules(taxonomy: "Taxonomy", as_json: bool) -> None:
    """Print the categories of a taxonomy with their routes and priorities."""
    print_table(list(_rule_rows(taxonomy)), RULE_COLUMNS, as_json=as_json)


def _rule_rows(taxonomy: "Taxonomy") -> Iterator[dict[str, Any]]:
    for name, rule in taxonomy.categories.items():
        yield {
            "category": name,
            "route": taxonomy.route(name),
            "priority": taxonomy.priority(name),
            "phrases": 1 + len(rule.examples),
            "text_blocks": len(taxonomy.text_blocks(name)),
            "description": rule.description,
        }


def _head_rows(heads: "HeadStore") -> Iterator[dict[str, Any]]:
    from ...tasks.triage.fit_record import measured_served

    for name in heads.names():
        for version in heads.versions(name):
            head = heads.load(name, version)
            row = {
                "name": name,
                "version": version,
                "current": version == heads.current(name),
                "base": head.base,
                "served": head.served,
            }
            yield row | {
                "labels": len(head.labels),
                "gate": _gate(heads.root / name / version),
                "train_rows": head.measured.train_rows,
                **msgspec.to_builtins(measured_served(head, heads.root / name / version) or {}),
            }


def _gate(folder: "Path") -> str:
    """The judgement on the version in this folder."""
    from ...errors import ModelError
    from ...models.judgements import read_judgement

    try:
        judgement = read_judgement(folder)
    except ModelError:
        return "damaged"
    return words_of(judgement.gate) if judgement else "not measured"
