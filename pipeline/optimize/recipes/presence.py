"""Whether what a step made is still on this machine: variants and fitted models, and the judgements on them."""

from ...errors import InferstreamError
from ...models.judgements import read_judgement
from ...models.metrics import FITTED, Gate
from ...models.registry import ModelRegistry
from ...tasks.triage.head import HeadStore
from .making import MadeByStep


def is_here(result: MadeByStep, registry: ModelRegistry) -> bool:
    """Whether all of it is here, whole, and served under its names. ``registry`` must not refuse closed gates."""
    heads = HeadStore(registry.root.parent)
    try:
        return (
            all(registry.load(name).version == version for name, version in result.models.items())
            and all(_is_served(heads, name, version) for name, version in result.heads.items())
            and all(_gate_of(registry, heads, name) == gate for name, gate in result.gates.items())
        )
    except InferstreamError:
        return False


def _is_served(heads: HeadStore, name: str, version: str) -> bool:
    return heads.current(name) == version and bool(heads.load(name, version))


def _gate_of(registry: ModelRegistry, heads: HeadStore, name: str) -> Gate | None:
    """The judgement that workers find."""
    if heads.has(name):
        judgement = read_judgement(heads.root / name / heads.current(name))
    else:
        judgement = registry.load(name).judgements.get(FITTED)
    return judgement.gate if judgement else None
