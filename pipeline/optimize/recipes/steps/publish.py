"""The step `publish`: a release of a model that passed its gate, under an alias of the registry."""

from collections.abc import Mapping
from typing import Any, Final

from ....errors import ModelError, UsageError
from ....models.metrics import Evaluation
from ....models.progress import Progress
from ....models.registry import ModelRegistry
from ....models.releases.alias import Rollout
from ....models.releases.names import ReleaseName, is_alias
from ....models.releases.opening import open_registry
from ....models.releases.parts import make_release
from ....models.releases.promoting import Promoter, change_now
from ....models.releases.publishing import publish_release
from ....settings.loading import config_of
from ....tasks.catalogue import tasks
from ....tasks.releasing import parts_of
from ....tasks.settings import all_tables
from ....tasks.triage.definition import TRIAGE
from ....tasks.triage.head import HeadStore
from ..lineage import with_recorded_steps
from ..making import MadeByStep, StepPlace
from ..recipe import PublishStep

PUBLISHED_S: Final = 2.0


class PublishMaking:
    """Publishes one model. The registry is that of the settings, INFERSTREAM_REGISTRY_URL."""

    kind = "publish"
    reads_rows = False
    revision = 1

    def __init__(self, step: PublishStep) -> None:
        if not is_alias(step.alias):
            raise UsageError(
                f"The step publish has the alias {step.alias!r}: use small letters, digits and single hyphens."
            )
        tasks().find(step.task)
        self.name = step.name
        self.needs = (step.of,)
        self._step = step

    @property
    def settings(self) -> dict[str, Any]:
        step = self._step
        chosen = step.model or step.choose
        return {"alias": f"{step.task}@{step.alias}", "model": chosen, "canary": step.canary}

    def reference_s(self, place: StepPlace) -> float | None:
        return PUBLISHED_S

    def make(self, place: StepPlace, progress: Progress) -> MadeByStep:
        step = self._step
        name = self._chosen(place)
        config = config_of(None, of_tasks=all_tables())
        store = open_registry(
            config.registry.url, place.registry.root.parent, limit_s=config.registry.timeout_s
        )
        registry = ModelRegistry(place.registry.root.parent)  # which refuses closed gates
        parts = parts_of(tasks().find(step.task), registry, name, config)
        origin = with_recorded_steps(parts.origin, parts.versions, registry.root.parent)
        parts = parts._replace(origin=origin)
        release = publish_release(store, make_release(step.task, parts, progress), parts.files, progress)
        target = ReleaseName(step.task, alias=step.alias)
        rollout = None if step.canary is None else Rollout("canary", step.canary)
        forced = bool(release.gate and release.gate.forced)
        Promoter(store).promote(target, release.version, change_now("by a recipe", forced=forced), rollout)
        tried = f" tries for {step.canary:.0%} of the keys" if step.canary else " is"
        return MadeByStep(notes=(f"{target}{tried} {release.version}, {name}.",))

    def _chosen(self, place: StepPlace) -> str:
        """What is published. Raises ModelError if nothing passed, or not the model that is named."""
        step, judged = self._step, place.results[self._step.of]
        opened = {
            name: judged.evaluations[name]
            for name, gate in judged.gates.items()
            if gate.open and self._is_servable(place, name)
        }
        if step.model and step.model not in opened:
            known = ", ".join(opened) or "none"
            raise ModelError(
                f"{step.model} is not published: what passed {step.of} and {step.task} serves is {known}."
            )
        if not opened:
            raise ModelError(f"Nothing is published: no {_what(step.task)} passed {step.of}.")
        return step.model or _best(opened, step.choose)

    def _is_servable(self, place: StepPlace, name: str) -> bool:
        """Whether the task serves it as it was measured: an encoder was measured with a head that is not kept."""
        return HeadStore(place.registry.root.parent).has(name) == (self._step.task == TRIAGE)


def _best(opened: Mapping[str, Evaluation], choose: str) -> str:
    if choose == "fastest" and not any(one.speeds for one in opened.values()):
        raise UsageError(
            "No speeds were measured: leave out `speeds = false`, or choose smallest or most accurate."
        )

    def worth(name: str) -> float:
        found = opened[name]
        if choose == "smallest":
            return -float(found.size_bytes or 0)
        if choose == "most accurate":
            return found.accuracy.value if found.accuracy else 0.0
        return next((speed.rows_per_s for speed in found.speeds), 0.0)

    return max(opened, key=worth)


def _what(task: str) -> str:
    return "fitted model" if task == TRIAGE else "variant"
