"""The step `publish`: a release of a model that passed its gate, under an alias of the registry."""

from collections.abc import Mapping
from typing import Any, Final

from ....config import Config
from ....errors import ModelError, UsageError
from ....graphs.llama.decoder import KIND as DECODER
from ....graphs.marian.translator import KIND as TRANSLATOR
from ....models.manifest import CLASSIFIER, ENCODER
from ....models.metrics import Evaluation
from ....models.progress import Progress
from ....models.registry import ModelRegistry
from ....models.releases.alias import Rollout
from ....models.releases.faults import UnknownRelease
from ....models.releases.names import ReleaseName, is_alias
from ....models.releases.parts import make_release
from ....models.releases.registry.opening import address_of, open_registry
from ....models.releases.registry.promoting import Promoter, change_now
from ....models.releases.registry.publishing import publish_release
from ....models.releases.registry.store import ReleaseStore
from ....models.releases.release import Release
from ....tasks.catalogue import tasks
from ....tasks.classify.definition import CLASSIFY
from ....tasks.generate.definition import GENERATE
from ....tasks.releasing import parts_of
from ....tasks.translate.definition import TRANSLATE
from ....tasks.triage.definition import TRIAGE
from ....tasks.triage.head import HeadStore
from ..lineage import with_recorded_steps
from ..making import MadeByStep, PublishedRelease, StepPlace
from ..model_facts import ModelFacts
from ..quality import quality_of
from ..recipe import PublishStep
from ..taxonomies import RecipeTaxonomy

PUBLISHED_S: Final = 2.0
TASKS: Final[Mapping[str, str]] = {
    ENCODER: TRIAGE,
    CLASSIFIER: CLASSIFY,
    TRANSLATOR: TRANSLATE,
    DECODER: GENERATE,
}
"""What serves a model, by its kind."""


class PublishMaking:
    """Publishes one model, into the registry of the settings, and as these let the task serve it."""

    kind = "publish"
    reads_rows = False
    revision = 2

    def __init__(
        self, step: PublishStep, config: Config, facts: ModelFacts, taxonomy: RecipeTaxonomy
    ) -> None:
        if not is_alias(step.alias):
            raise UsageError(
                f"The step publish has the alias {step.alias!r}: use small letters, digits and single hyphens."
            )
        self._task = step.task or TASKS.get(facts.kind, TRIAGE)
        tasks().find(self._task)
        self.name = step.name
        self.needs = (step.of,)
        self._step = step
        self._config = config
        self._taxonomy = taxonomy
        url = config.registry.url
        self._registry = address_of(url) if url else None
        open_registry(self._registry)  # an address that cannot be used is told before the work

    @property
    def settings(self) -> dict[str, Any]:
        step = self._step
        chosen = step.model or step.choose
        of_task = self._config.tasks.get(self._task, {})
        return {
            "alias": f"{self._task}@{step.alias}",
            "model": chosen,
            "canary": step.canary,
            "registry": self._registry,
            **({"served_with": of_task} if of_task else {}),
            **(self._taxonomy.settings if self._task == TRIAGE else {}),
        }

    def reference_s(self, place: StepPlace) -> float | None:
        return PUBLISHED_S

    def make(self, place: StepPlace, progress: Progress) -> MadeByStep:
        name = self._chosen(place)
        timeout_s = self._config.registry.timeout_s
        store = open_registry(self._registry, place.registry.root.parent, limit_s=timeout_s)
        registry = ModelRegistry(place.registry.root.parent)  # which refuses closed gates
        parts = parts_of(tasks().find(self._task), registry, name, self._config)
        origin = with_recorded_steps(parts.origin, parts.versions, registry.root.parent)
        parts = parts._replace(origin=origin)
        release = publish_release(store, make_release(self._task, parts, progress), parts.files, progress)
        return MadeByStep(
            releases=(PublishedRelease(self._registry, self._task, release.version),),
            notes=(self._promoted(store, release),),
        )

    def _promoted(self, store: ReleaseStore, release: Release) -> str:
        """Let the alias mean the release, or try it; what an interrupted run has done already stays as it is."""
        target = ReleaseName(self._task, alias=self._step.alias)
        share = self._step.canary
        rollout = None if share is None else Rollout("canary", share)
        try:
            now = store.alias(target.task, target.alias)
        except UnknownRelease:
            now, rollout = None, None  # nothing is stable that it could be tried beside
        if now and rollout and release.version in (now.stable, now.candidate):
            is_stable = release.version == now.stable
            return f"{target} {'is' if is_stable else 'tries'} {release.version}, {release.name}, already."
        forced = bool(release.gate and release.gate.forced)
        Promoter(store).promote(target, release.version, change_now("by a recipe", forced=forced), rollout)
        tried = f"tries for {rollout.share:.0%} of the keys" if rollout else "is"
        return f"{target} {tried} {release.version}, {release.name}."

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
                f"{step.model} is not published: what passed {step.of} and {self._task} serves is {known}."
            )
        if not opened:
            raise ModelError(f"Nothing is published: no {_what(self._task)} passed {step.of}.")
        return step.model or _best(opened, step.choose)

    def _is_servable(self, place: StepPlace, name: str) -> bool:
        """Whether the task serves it as it was measured: an encoder was measured with a head that is not kept."""
        return HeadStore(place.registry.root.parent).has(name) == (self._task == TRIAGE)


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
            return quality_of(found) or 0.0
        return next((speed.rows_per_s for speed in found.speeds), 0.0)

    return max(opened, key=worth)


def _what(task: str) -> str:
    return "fitted model" if task == TRIAGE else "variant"
