"""Whether what a step made is still there: variants, fitted models, the judgements on them, and releases."""

from ...errors import InferstreamError
from ...models.judgements import read_judgement
from ...models.metrics import FITTED, Gate
from ...models.registry import ModelRegistry
from ...models.releases.registry.opening import open_registry
from ...tasks.triage.head import HeadStore
from .making import MadeByStep, PublishedRelease


def is_here(result: MadeByStep, registry: ModelRegistry) -> bool:
    """Whether all of it is here, whole, and served under its names. ``registry`` must not refuse closed gates."""
    heads = HeadStore(registry.root.parent)
    try:
        return (
            all(registry.load(name).version == version for name, version in result.models.items())
            and all(_is_served(heads, name, version) for name, version in result.heads.items())
            and all(_gate_of(registry, heads, result, name) == gate for name, gate in result.gates.items())
            and all(_is_published(one, registry) for one in result.releases)
        )
    except InferstreamError:
        return False


def _is_served(heads: HeadStore, name: str, version: str) -> bool:
    return heads.current(name) == version and bool(heads.load(name, version))


def _is_published(release: PublishedRelease, registry: ModelRegistry) -> bool:
    """Whatever its alias means by now: whoever rolled it back meant it."""
    return bool(open_registry(release.registry, registry.root.parent).release(release.task, release.version))


def _gate_of(registry: ModelRegistry, heads: HeadStore, result: MadeByStep, name: str) -> Gate | None:
    """The judgement that workers find."""
    if heads.has(name):
        judgement = read_judgement(heads.root / name / heads.current(name))
    else:
        use = result.evaluations[name].use if name in result.evaluations else FITTED
        judgement = registry.load(name).judgements.get(use)
    return judgement.gate if judgement else None
