"""Finds what a name means: a version, an alias, or a model of this machine as the release that it would be."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from ...config import Config
from ...errors import UsageError
from ...models.judgements import ClosedGate, measuring
from ...models.metrics import Gate
from ...models.progress import Progress
from ...models.registry import ModelRegistry
from ...models.releases.faults import BadRelease
from ...models.releases.names import ReleaseName, is_alias, is_release_name, parse_release_name
from ...models.releases.parts import UNMEASURED, make_release
from ...models.releases.registry.opening import open_registry
from ...models.releases.registry.publishing import publish_release
from ...models.releases.registry.store import ReleaseStore
from ...models.releases.release import Origin, Release
from ...tasks.catalogue import tasks
from ...tasks.releasing import parts_of, tasks_of


class LocalRelease(NamedTuple):
    """A model of this machine as a release. ``use``: what the judgement on it is about."""

    release: Release
    files: Mapping[str, Path]
    use: str


Trace = Callable[[Origin, Mapping[str, str], Path], Origin]
"""Adds to an origin what is recorded of models, by name and version, below a home folder."""


class ReleaseFinder:
    """Finds releases in the registry of the settings and on this machine."""

    def __init__(self, config: Config, progress: Progress, trace: Trace) -> None:
        """Raises UsageError for an address of a registry that cannot be used."""
        self._trace = trace
        self.store: ReleaseStore = open_registry(config.registry.url, limit_s=config.registry.timeout_s)
        self._config = config
        self._progress = progress
        self._local: dict[tuple[str, str], LocalRelease] = {}

    def find(self, name: str, task: str = "") -> Release:
        """What the name means. Raises UnknownRelease, UnknownModel, ModelError, UsageError."""
        if is_release_name(name):
            return self.named(parse_release_name(name))
        return self.local(name, task).release

    def named(self, name: ReleaseName) -> Release:
        """The version, or the stable one of the alias. Raises UnknownRelease, BadRelease, RegistryError."""
        version = name.version or self.store.alias(name.task, name.alias).stable
        return self.store.release(name.task, version)

    def local(self, name: str, task: str = "") -> LocalRelease:
        """A model of this machine, also one whose gate is closed: it may be looked at.

        Raises UsageError if several tasks could serve it, and none is named.
        """
        if (name, task) in self._local:
            return self._local[name, task]
        registry = ModelRegistry(judged=False)
        if task:
            found = {task: parts_of(tasks().find(task), registry, name, self._config)}
        else:
            found = tasks_of(registry, name, self._config)
        if len(found) > 1:
            known = " or ".join(f"{one}@ALIAS" for one in found)
            raise UsageError(f"{name} can be served by several tasks: say which one, as {known}.")
        one, parts = next(iter(found.items()))
        parts = parts._replace(origin=self._trace(parts.origin, parts.versions, registry.root.parent))
        local = LocalRelease(make_release(one, parts, self._progress), parts.files, parts.use)
        self._local[name, task] = self._local[name, one] = local
        return local

    def publish(self, name: str, task: str, *, force: bool) -> Release:
        """The release of a model of this machine, in the registry. Raises BadRelease if its gate refuses it."""
        release, files, use = self.local(name, task)
        gate = self._gate(name, release)
        if not gate.open:
            if not force:
                raise BadRelease(
                    f"{name} is not published: {' '.join(gate.failures)} Measure it with "
                    f"`{measuring(name, use)}`, or give --force, which release and history say for ever."
                )
            gate = replace(gate, forced=True)
        return publish_release(self.store, replace(release, gate=gate), files, self._progress)

    def _gate(self, name: str, release: Release) -> Gate:
        """The judgement on a model of this machine; a closed one on a model that is in it counts, as on the encoder."""
        gate = release.gate or UNMEASURED
        if gate.open:
            try:
                parts_of(tasks().find(release.task), ModelRegistry(), name, self._config)
            except ClosedGate as closed:
                return closed.gate
        return gate

    def target(self, alias: str, name: str) -> ReleaseName:
        """The alias that a change is about; an alias alone is of the task of the release ``name``, or of the only one
        that can serve the model. Raises UsageError.
        """
        if is_release_name(alias):
            found = parse_release_name(alias)
            if found.version:
                raise UsageError(
                    f"{alias} is a version, which never changes: name an alias, as {found.task}@prod."
                )
            return found
        if not is_alias(alias):
            raise UsageError(
                f"{alias[:100]!r} cannot be an alias: use small letters, digits and single hyphens."
            )
        task = parse_release_name(name).task if is_release_name(name) else self.local(name).release.task
        return ReleaseName(task, alias=alias)
