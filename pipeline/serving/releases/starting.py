"""What a worker serves when it starts: the releases that its settings name, or those that it served last. Blocks."""

import logging
import re
from collections.abc import Sequence
from typing import Any

from ...config import Config
from ...errors import InferstreamError, ModelError, UsageError
from ...models.releases.alias import AliasState
from ...models.releases.local.last_served import last_served
from ...models.releases.local.loading_notes import Meant
from ...models.releases.names import ReleaseName, is_release_name, parse_release_name
from ...tasks.definition import TaskDefinition
from ..loading import ModelLoader
from .followed import FollowedAlias, ReleasedModels
from .opening import OpenRelease, ReleaseOpener

log = logging.getLogger(__name__)

PATTERN = re.compile(r"[*?\[]")


class Start:
    """Loads the models of all tasks of a process. ``opener`` is there only if a release is named."""

    def __init__(self, config: Config, loader: ModelLoader) -> None:
        self._config = config
        self._loader = loader
        self._opened: list[OpenRelease] = []
        self.opener: ReleaseOpener | None = None

    def models(self, definition: TaskDefinition, names: Sequence[str] = ()) -> ReleasedModels:
        """The models of a task; those of its settings if there are no ``names``.

        Raises UnknownModel, ModelError, ProviderUnavailable, UsageError.
        """
        settings: Any = self._config.of_task(definition.name, definition.settings)
        tenants: dict[str, str] = {} if names else getattr(settings, "tenants", {})
        if tenant := next((tenant for tenant, name in tenants.items() if PATTERN.search(name)), None):
            raise UsageError(
                f"The model of the tenant {tenant!r} must be one name, and no pattern: {tenants[tenant]!r}."
            )
        given = names or [settings.model, *getattr(settings, "models", ()), *tenants.values()]
        names = list(dict.fromkeys(name for one in given for name in self._matching(definition, one)))
        models = ReleasedModels(definition, names, tenants=tenants)
        for name in names:
            if not is_release_name(name):
                models.plain[name] = self._loader.entries(definition, [name])
                continue
            named = parse_release_name(name)
            if named.task != definition.name:
                raise UsageError(
                    f"{name} is a release of {named.task!r}, and {definition.name!r} is served by it here."
                )
            if named.version:
                models.fixed[name] = self._open(definition, named.version)
            else:
                models.aliases[name] = self._follow(definition, named)
        return models

    def _matching(self, definition: TaskDefinition, name: str) -> Sequence[str]:
        """The names that a shell pattern stands for. Raises UsageError if there is none."""
        if not PATTERN.search(name):
            return [name]
        matching = getattr(definition, "matching", None)
        found: Sequence[str] = matching(self._loader.registry, name) if matching else ()
        if not found:
            raise UsageError(f"No model of {definition.name!r} here has a name like {name!r}.")
        return found

    def _follow(self, definition: TaskDefinition, name: ReleaseName) -> FollowedAlias:
        """The alias, with its stable version; where that cannot be served, with the one that was served last."""
        opener = self._the_opener()
        version = last_served(opener.local.folder, name)
        state: AliasState | None = None
        try:
            state = opener.state(name.task, name.alias)
            # What it has served before has no other version to stand in for it: no crash makes that one refused.
            meant = None if state.stable == version else Meant(name.alias, state.number)
            return FollowedAlias(name, self._open(definition, state.stable, meant), state)
        except InferstreamError as error:
            if version is None or (state is not None and version == state.stable):
                raise
            problem = error
        try:
            stable = self._open(definition, version)
        except InferstreamError as error:
            raise ModelError(
                f"{problem} {name.task}@{version}, which was served last, cannot be served either: {error}"
            ) from error
        log.error(
            "%s The worker starts on %s@%s, which it served last as %s.", problem, name.task, version, name
        )
        # The follower tries it again, and says what it finds.
        return FollowedAlias(name, stable, unreached=str(problem) if state is None else "")

    def _open(self, definition: TaskDefinition, version: str, meant: Meant | None = None) -> OpenRelease:
        known = next((one for one in self._opened if one.version == version), None)
        if known is not None:
            return known
        opener = self._the_opener()
        release = opener.find(definition.name, version)
        opened = opener.open(definition, release, self._opened, meant=meant)
        self._opened.append(opened)
        return opened

    def _the_opener(self) -> ReleaseOpener:
        if self.opener is None:
            try:
                self.opener = ReleaseOpener(self._config, self._loader)
            except ModuleNotFoundError as error:
                raise ModelError(f"Releases need a package that is not installed ({error}).") from error
        return self.opener
