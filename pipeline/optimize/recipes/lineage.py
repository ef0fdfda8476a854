"""The lineage of what recipes made on this machine, from the records of their steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from ...models.releases.release import Origin
from .store import StepRecord, StepStore


def with_recorded_steps(origin: Origin, models: Mapping[str, str], home: Path) -> Origin:
    """The origin with the steps that made these models, each a name and its version; as it is if none are recorded."""
    found: dict[str, StepRecord] = {}
    _collect(models, StepStore(home).all(), found)
    records = list(found.values())
    if not records:
        return origin
    last = records[-1]
    return replace(
        origin,
        recipe_sha256=last.key,
        steps=(*origin.steps, *map(_in_words, records)),
        data=origin.data | {f"{one.kind} {one.name}": one.rows_sha256 for one in records if one.rows_sha256},
        made_on=last.machine,
        made_with=last.packages,
        made_at=last.made_at,
    )


def _collect(models: Mapping[str, str], records: Sequence[StepRecord], found: dict[str, StepRecord]) -> None:
    """Add the steps that made the models after those that made their inputs, which are older."""
    for name, version in models.items():
        made = (place for place, one in enumerate(records) if _made(one).get(name) == version)
        place = next(made, None)
        if place is not None and (record := records[place]).key not in found:
            _collect(record.inputs, records[place + 1 :], found)
            found[record.key] = record


def _made(record: StepRecord) -> dict[str, str]:
    """The versions of the variants and fitted models, by name."""
    return record.result.models | record.result.heads


def _in_words(record: StepRecord) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in record.settings.items() if value is not None)
    return f"recipe step {record.name}: {record.kind}" + (f" ({settings})" if settings else "")
