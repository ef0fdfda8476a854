"""Releases and aliases in a terminal."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from .tables import print_table

if TYPE_CHECKING:
    from ...models.releases.alias import AliasState
    from ...models.releases.names import ReleaseName
    from ...models.releases.registry.store import ReleaseStore
    from ...models.releases.release import Release

ALIASES: Final = {
    "alias": "ALIAS",
    "stable": "STABLE",
    "candidate": "CANDIDATE",
    "rollout": "ROLLOUT",
    "previous": "BEFORE",
    "at": "CHANGED",
    "by": "BY",
}
RELEASES: Final = {
    "release": "RELEASE",
    "model": "MODEL",
    "size": "SIZE",
    "gate": "GATE",
    "aliases": "ALIASES",
    "source": "SOURCE",
}
HISTORY: Final = {
    "number": "CHANGE",
    "at": "AT",
    "by": "BY",
    "stable": "STABLE",
    "candidate": "CANDIDATE",
    "rollout": "ROLLOUT",
    "rolled_back": "ROLLED BACK",
    "forced": "FORCED",
    "reason": "REASON",
}
SHOWN_LABELS: Final = 12


def state_row(state: "AliasState") -> dict[str, Any]:
    """A state for a table."""
    row: dict[str, Any] = msgspec.structs.asdict(state)
    return row | {"rollout": rollout_in_words(state), "forced": "yes" if state.forced else None}


def rollout_in_words(state: "AliasState") -> str | None:
    """How the candidate is tried."""
    rollout = state.rollout
    return f"{rollout.mode} {rollout.share:.0%}" if rollout else None


def state_in_words(name: "ReleaseName", state: "AliasState") -> str:
    """What a change has done, in a sentence."""
    forced = " It was forced, which its history says for ever." if state.forced else ""
    if state.candidate and state.rollout:
        return (
            f"{name} tries release {state.candidate} beside {state.stable} ({rollout_in_words(state)} of the keys)."
            f"{forced} `inferstream models promote {name} --finish` makes it the stable version."
        )
    dropped = f"; {state.rolled_back} was rolled back" if state.rolled_back else ""
    before = f"; before it was {state.previous}" if state.previous and not dropped else ""
    return f"{name} is release {state.stable}{before}{dropped}.{forced}"


def print_aliases(store: "ReleaseStore", task: str = "") -> bool:
    """A table of the aliases of a task, or of all; False if there are none."""
    rows = list(alias_rows(store, task))
    if rows:
        click.echo(f"\nAliases in the registry {store.shown}, and their releases:")
        print_table(rows, ALIASES, as_json=False)
    return bool(rows)


def alias_rows(store: "ReleaseStore", task: str = "") -> Iterator[dict[str, Any]]:
    """A row for each alias; one that is damaged says so."""
    from ...models.releases.faults import BadRelease

    for one in [task] if task else store.tasks_with_aliases():
        for alias in store.aliases(one):
            try:
                row = state_row(store.alias(one, alias))
            except BadRelease as error:
                row = {"stable": str(error)}
            yield {"alias": f"{one}@{alias}", **row}


def release_rows(store: "ReleaseStore", task: str = "") -> Iterator[dict[str, Any]]:
    """A row for each release of a task, or of all tasks; one that is damaged says so."""
    from ...models.releases.faults import BadRelease
    from ...ops.releases.differences import gate_in_words

    named = list(alias_rows(store, task))
    for one in [task] if task else store.tasks():
        for version in store.versions(one):
            aliases = [
                f"{row['alias']} ({part})"
                for row in named
                for part in ("stable", "candidate")
                if row["alias"].partition("@")[0] == one and row.get(part) == version
            ]
            row: dict[str, Any] = {"release": f"{one}@{version}", "aliases": aliases}
            try:
                release = store.release(one, version)
            except BadRelease as error:
                yield row | {"gate": str(error)}
                continue
            yield row | {
                "model": release.name,
                "size": f"{release.size_bytes / 1e6:.1f} MB",
                "gate": gate_in_words(release),
                "source": release.origin.source,
                "manifest": msgspec.to_builtins(release),
            }


def print_release(release: "Release") -> None:
    """A release as lines of a field and its value."""
    from ...ops.releases.differences import figures_of, gate_in_words

    origin = release.origin
    labels = ", ".join(release.labels[:SHOWN_LABELS])
    more = f", … ({len(release.labels)})" if len(release.labels) > SHOWN_LABELS else ""
    fields = {
        "release": f"{release.task}@{release.version}",
        "model": release.name,
        "source": origin.source,
        "steps": "; ".join(origin.steps),
        "recipe": origin.recipe_sha256,
        **{f"data of {name}": digest for name, digest in origin.data.items()},
        "made on": origin.made_on,
        "made at": origin.made_at,
        "made with": ", ".join(f"{name} {version}" for name, version in origin.made_with.items()),
        "labels": f"{labels}{more}",
        "gate": gate_in_words(release),
        **figures_of(release),
        "size": f"{release.size_bytes / 1e6:.1f} MB in {len(release.files)} files",
    }
    print_fields({name: value for name, value in fields.items() if value not in (None, "")})
    for path, file in release.files.items():
        click.echo(f"  {file.sha256[:12]}  {file.size_bytes:>11,}  {path}")


def print_fields(fields: dict[str, Any]) -> None:
    """Lines of a name and its value."""
    width = max(map(len, fields))
    for name, value in fields.items():
        click.echo(f"{name:<{width}}  {value}")
