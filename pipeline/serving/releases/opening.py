"""Opens releases: what they are is read from the registry, laid out here, checked, loaded and tried. Blocks."""

from collections.abc import Collection, Container, Iterable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from ...config import Config
from ...engine.device import Device
from ...engine.model_entry import ModelEntry
from ...models.releases.alias import AliasState
from ...models.releases.faults import BadRelease
from ...models.releases.local.loading_notes import LoadingNotes, Meant
from ...models.releases.local.local import LocalReleases
from ...models.releases.registry.opening import open_registry
from ...models.releases.release import Release
from ...runtime.freed_memory import keep_large_blocks_apart
from ...runtime.memory_left import NoMemory
from ...tasks.chains.declared import chains_of
from ...tasks.definition import TaskDefinition
from ..loading import ModelLoader
from ..step_options import check_step_options
from .first_texts import check_answers
from .room import NoRoom, check_left, check_limit, taken_bytes


class OpenRelease(NamedTuple):
    """A release that can answer."""

    release: Release
    entry: ModelEntry

    @property
    def version(self) -> str:
        return self.release.version


class ReleaseOpener:
    """Opens the releases of one process, one after the other. Call it in a thread, not on the event loop."""

    def __init__(self, config: Config, loader: ModelLoader) -> None:
        """Raises UsageError for a registry whose address cannot be used."""
        keep_large_blocks_apart()
        self._config = config
        self._loader = loader
        self.store = open_registry(config.registry.url, limit_s=config.registry.timeout_s)
        self.local = LocalReleases(self.store)
        self._notes = LoadingNotes(self.local.folder)

    def state(self, task: str, alias: str) -> AliasState:
        """What the alias means now. Raises RegistryError, UnknownRelease, BadRelease."""
        return self.store.alias(task, alias)

    def find(self, task: str, version: str) -> Release:
        """The manifest of a release that is laid out here, else the registry's. Raises ModelError, UnknownRelease."""
        here = (one for one in self.local.laid_out() if (one.task, one.version) == (task, version))
        return next(here, None) or self.store.release(task, version)

    def open(
        self,
        definition: TaskDefinition,
        release: Release,
        loaded: Sequence[OpenRelease] = (),
        instead_of: OpenRelease | None = None,
        meant: Meant | None = None,
    ) -> OpenRelease:
        """The release, ready for requests, or the reason why it must not answer any.

        Args:
            loaded: those that are in memory now.
            instead_of: the one in whose place it comes.
            meant: by which state of an alias: a version that ends processes while it is tried is refused then. None if
                nothing else could be served.

        Raises ModelError or UsageError, also of the code of a task; ProviderUnavailable.
        """
        folder = self.local.lay_out(release)
        check_left(release, [one.release for one in loaded])
        self._check_limit(release, loaded)
        with self._notes.tried(release.task, release.version, meant) if meant else nullcontext():
            try:
                entry = self._loader.released(definition, release, folder)
            except NoMemory as error:
                raise NoRoom(str(error)) from error
            self._check_limit(release, loaded, entry.device)
            self._check_provider(release, entry)
            _check_labels(release, entry)
            if instead_of is not None and self._config.registry.keep_labels:
                _check_alike(release, entry, instead_of)
            check_step_options(chains_of(self._config).values(), {definition.name: {"": entry}})
            check_answers(definition, entry, self._config.engine.run_timeout_s)
        return OpenRelease(release, entry)

    def forget(self, running: Container[Device]) -> None:
        """Free what was opened and does not run."""
        self._loader.forget(running)

    def _check_limit(self, release: Release, loaded: Iterable[OpenRelease], *device: Device) -> None:
        """Raise NoRoom if the settings do not allow the release, on this device, beside those that are loaded."""
        devices = [*(one.entry.device for one in loaded), *device]
        releases = [*(one.release for one in loaded), release]
        check_limit(releases, taken_bytes(devices), self._config.registry.memory_bytes)

    def _check_provider(self, release: Release, entry: ModelEntry) -> None:
        """Raise BadRelease for one that was judged on another device than it would run on here."""
        provider = self._loader.provider_of(entry)
        measured = release.metrics.served_by.provider if release.metrics else None
        if provider is not None and measured is not None and measured != provider:
            raise BadRelease(
                f"The release {release.task}@{release.version} was measured with the provider {measured!r}, and it "
                f"would run with {provider!r} here: measure and publish it for this one."
            )


def _check_labels(release: Release, entry: ModelEntry) -> None:
    """Raise BadRelease if the model has other labels than its manifest."""
    labels = labels_of(entry.task)
    if release.labels and labels and set(release.labels) != set(labels):
        raise BadRelease(
            f"The release {release.task}@{release.version} has other labels than its manifest says: "
            f"{_difference(release.labels, labels)}."
        )


def _check_alike(release: Release, entry: ModelEntry, before: OpenRelease) -> None:
    """Raise BadRelease if the answers have other labels or dimensions than those before."""
    advice = "If the readers of the answers know them, set `keep_labels = false` in [registry]."
    old = labels_of(before.entry.task) or before.release.labels
    new = labels_of(entry.task) or release.labels
    if set(old) != set(new):
        raise BadRelease(
            f"The release {release.task}@{release.version} has other labels than {before.version}, in whose place it "
            f"would come: {_difference(old, new)}. {advice}"
        )
    was, is_now = (getattr(one.task, "dimensions", None) for one in (before.entry, entry))
    if was != is_now:
        raise BadRelease(
            f"The release {release.task}@{release.version} makes vectors of {is_now} dimensions, and {before.version}, "
            f"in whose place it would come, of {was}. {advice}"
        )


def labels_of(task: Any) -> Collection[str]:
    """The labels that a task may answer, if it has any."""
    return tuple(getattr(task, "labels", ()))


def _difference(before: Collection[str], after: Collection[str]) -> str:
    new, gone = sorted(set(after) - set(before)), sorted(set(before) - set(after))
    told = [
        f"{', '.join(map(repr, found[:5]))} {verb}"
        for found, verb in ((new, "new"), (gone, "missing"))
        if found
    ]
    return " and ".join(told)
