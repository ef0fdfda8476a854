"""Finds the model of a direction on this machine."""

from ...errors import UsageError
from ...graphs.marian.translator import KIND
from ...models.catalogue import TRANSLATORS
from ...models.manifest import Manifest
from ...models.registry import ModelRegistry
from ...models.releases.names import is_release_name
from .settings import TranslateSettings


def models_for(source: str | None, target: str | None, settings: TranslateSettings) -> list[str]:
    """The models to load for one direction: those of the settings, and if they do not have it, one that has.

    The languages of a release are known when it is loaded, so a model of this machine stands beside it. A model of the
    catalogue is named also if it is not on this machine: loading it says how to get it. Raises
    UsageError with the directions of this machine if it has none, or several and one language says not which.
    """
    configured = [settings.model, *settings.models]
    if source is None and target is None:
        return configured
    released = [name for name in configured if is_release_name(name)]
    try:
        return [*released, *_of_this_machine(source, target, configured)]
    except UsageError:
        if released:
            return released
        raise


def _of_this_machine(source: str | None, target: str | None, configured: list[str]) -> list[str]:
    """The models of the settings if one of them has the direction, else one that has. Raises UsageError."""
    here = [one for one in ModelRegistry().list() if one.kind == KIND and one.pair]
    having = [one for one in here if _has(one.pair, source, target)]
    if any(one.name in configured for one in having):
        return [name for name in configured if not is_release_name(name)]
    if published := [one.name for one in TRANSLATORS.values() if one.name == f"translate-{source}-{target}"]:
        return [f"{published[0]}-int8"]
    if len({one.pair for one in having}) == 1:
        return [min(having, key=lambda one: one.precision != "int8").name]
    asked = " and ".join(
        f"{name} {code!r}" for name, code in (("source", source), ("target", target)) if code
    )
    if having:
        raise UsageError(f"Name both languages: for {asked} alone this machine has {_listed(having)}.")
    raise UsageError(
        f"There is no model for {asked} on this machine, which has {_listed(here) if here else 'none'}. `inferstream "
        f"models pull` fetches {', '.join(TRANSLATORS)}; `inferstream models import marian` takes others."
    )


def _has(pair: str, source: str | None, target: str | None) -> bool:
    first, _, second = pair.partition("-")
    return source in (None, first) and target in (None, second)


def _listed(models: list[Manifest]) -> str:
    """``en-pt (translate-en-pt), pt-en (translate-pt-en)``, by the names before the precision."""
    names = {(one.pair, one.name.removesuffix(f"-{one.precision}")) for one in models}
    return ", ".join(f"{pair} ({name})" for pair, name in sorted(names))
