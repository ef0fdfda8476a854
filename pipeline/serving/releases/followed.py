"""The models of one task, some of which are named by an alias or a version: what each name stands for now."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...engine.by_tenant import ByTenant
from ...engine.model_entry import ModelEntry, Served
from ...engine.trials.trial import Trial, TrialName
from ...models.releases.alias import AliasState
from ...models.releases.names import ReleaseName
from ...tasks.definition import TaskDefinition
from .opening import OpenRelease


@dataclass
class Refusal:
    """Why a version is not served, and when it is tried again, in seconds of the clock; never: inf."""

    reason: str
    again_at: float
    pause_s: float


@dataclass
class FollowedAlias:
    """An alias that a worker follows. Changed on the event loop only.

    Attributes:
        state: of the alias when it was last read; None if the registry could not be reached since the start.
        stable: what answers.
        candidate: what is on trial beside it.
        kept: the one that was stable before, for a rollback.
        trial: of the candidate, while there is one.
        refusals: by version.
        ready: what is loaded and waits until the other members of the group have it too.
        noted: the version that this machine knows as the one served last.
        unreached: why the registry could not be read at the last look; empty if it could.
    """

    name: ReleaseName
    stable: OpenRelease
    state: AliasState | None = None
    candidate: OpenRelease | None = None
    kept: OpenRelease | None = None
    ready: OpenRelease | None = None
    trial: Trial | None = None
    noted: str = ""
    refusals: dict[str, Refusal] = field(default_factory=dict)
    unreached: str = ""

    @property
    def open(self) -> list[OpenRelease]:
        """All that is loaded for it, what it serves first."""
        return [one for one in (self.stable, self.candidate, self.ready, self.kept) if one is not None]

    @property
    def is_behind(self) -> bool:
        """Whether something else is served than the alias means, as far as is known."""
        return bool(self.unreached) or self.state is None or self.state.stable != self.stable.version

    @property
    def status(self) -> dict[str, Any]:
        """For the page /releases."""
        return {
            "alias": str(self.name),
            "means": self.state.stable if self.state else None,
            "stable": self.stable.version,
            "candidate": self.candidate.version if self.candidate else None,
            "kept": self.kept.version if self.kept else None,
            "behind": self.is_behind,
            "unreached": self.unreached or None,
            "refused": {version: refusal.reason for version, refusal in self.refusals.items()},
        }

    def served(self) -> Served:
        """What its name stands for."""
        state = self.state
        if self.candidate is None or state is None or state.rollout is None:
            self.trial = None
            return self.stable.entry
        name = TrialName(self.name.task, self.name.alias, state.number, state.at)
        entries = (self.stable.entry, self.candidate.entry)
        if self.trial is None or self.trial.name != name or self.trial.entries != entries:
            self.trial = Trial(name, state.rollout, *entries)
        return self.trial


@dataclass
class ReleasedModels:
    """All models of one task, in the order of the settings.

    Attributes:
        plain: those that are no releases, by name.
        fixed: releases that the settings name by their version.
        aliases: by their name.
        tenants: by tenant, the name of the model that answers its requests which name none.
    """

    definition: TaskDefinition
    names: Sequence[str]
    plain: dict[str, Mapping[str, ModelEntry]] = field(default_factory=dict)
    fixed: dict[str, OpenRelease] = field(default_factory=dict)
    aliases: dict[str, FollowedAlias] = field(default_factory=dict)
    tenants: Mapping[str, str] = field(default_factory=dict)

    @property
    def task(self) -> str:
        return self.definition.name

    def open(self) -> Iterator[OpenRelease]:
        """All releases that are loaded."""
        yield from self.fixed.values()
        for alias in self.aliases.values():
            yield from alias.open

    def find(self, version: str) -> OpenRelease | None:
        """A release of the task that is loaded."""
        return next((one for one in self.open() if one.version == version), None)

    def served(self) -> dict[str, Served]:
        """What each name stands for; each release that is loaded has the name of its version as well."""
        served: dict[str, Served] = {}
        for name in self.names:
            if name in self.aliases:
                served[name] = self.aliases[name].served()
            elif name in self.fixed:
                served[name] = self.fixed[name].entry
            else:
                for other, entry in self.plain[name].items():
                    served.setdefault(other, entry)
        for release in self.open():
            served.setdefault(f"{self.task}@{release.version}", release.entry)
        if self.tenants:
            default = self.names[0]
            of_tenants = {tenant: served[name] for tenant, name in self.tenants.items()}
            served[default] = ByTenant(served[default], of_tenants)
        return served
