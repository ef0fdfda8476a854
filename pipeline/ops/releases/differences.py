"""What differs between two releases."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from ...models.releases.release import Release, StoredFile

NOT_FIGURES = frozenset(
    ("by_label", "speeds", "served_by", "use", "version", "rows_sha256", "fitted_rows", "seed", "size_bytes")
)


class Difference(NamedTuple):
    """One thing that differs, with both of its values; None: it is not there."""

    what: str
    first: object
    second: object


def differences(first: Release, second: Release) -> list[Difference]:
    """What differs: names, lineage, labels, figures, the gate, size, files."""
    pairs = {**_facts(first), **_facts(second)}
    found = [Difference(what, _facts(first).get(what), _facts(second).get(what)) for what in pairs]
    found += _labels(first, second)
    found += _files(first, second)
    return [one for one in found if one.first != one.second]


def figures_of(release: Release) -> dict[str, Any]:
    """What was measured, each figure by its name in words."""
    if release.metrics is None:
        return {}
    measured = msgspec.structs.asdict(release.metrics)
    figures = {
        name.replace("_", " "): _plain(value) for name, value in measured.items() if name not in NOT_FIGURES
    }
    for speed in release.metrics.speeds:
        where = f"on {speed.served_by.device} ({speed.served_by.provider})"
        figures[f"p50 {where}"] = f"{speed.p50_ms:.2f} ms"
        figures[f"p99 {where}"] = f"{speed.p99_ms:.2f} ms"
        figures[f"rows/s {where}"] = round(speed.rows_per_s)
    return {name: value for name, value in figures.items() if value not in (None, "")}


def gate_in_words(release: Release) -> str:
    """The judgement on the release."""
    gate = release.gate
    if gate is None:
        return "not measured"
    limits = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in gate.thresholds.items())
    if gate.passed:
        return f"passed ({limits})" if limits else "passed: it is the original"
    state = "forced although it did not pass" if gate.forced else "closed"
    return f"{state}: {' '.join(gate.failures)}"


def _facts(release: Release) -> dict[str, object]:
    origin = release.origin
    return {
        "task": release.task,
        "model": release.name,
        "version": release.version,
        "size": f"{release.size_bytes / 1e6:.1f} MB",
        "gate": gate_in_words(release),
        "source": origin.source,
        "recipe": origin.recipe_sha256[:12] or None,
        "steps": "; ".join(origin.steps) or None,
        "made on": origin.made_on or None,
        "made at": origin.made_at or None,
        **{f"data of {name}": digest[:12] for name, digest in origin.data.items()},
        **{f"made with {name}": version for name, version in origin.made_with.items()},
        **figures_of(release),
    }


def _labels(first: Release, second: Release) -> Iterator[Difference]:
    gone = [label for label in first.labels if label not in second.labels]
    new = [label for label in second.labels if label not in first.labels]
    if gone or new:
        yield Difference("labels", ", ".join(gone) or None, ", ".join(new) or None)
    elif first.labels != second.labels:
        yield Difference("labels", "in another order", "in another order than the first")


def _files(first: Release, second: Release) -> Iterator[Difference]:
    for path in sorted({*first.files, *second.files}):
        yield Difference(path, _file(first.files.get(path)), _file(second.files.get(path)))


def _file(file: StoredFile | None) -> str | None:
    return f"{file.sha256[:12]}, {file.size_bytes} bytes" if file else None


def _plain(value: Any) -> Any:
    """A figure with its interval, a number, or a text."""
    if hasattr(value, "low"):
        return f"{value.value:.4g} ({value.low:.4g} to {value.high:.4g})"
    return round(value, 6) if isinstance(value, float) else value
