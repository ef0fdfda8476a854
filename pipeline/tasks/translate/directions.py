"""Finds the model of a direction on this machine."""

from ...graphs.marian.translator import KIND
from ...models.catalogue import TRANSLATORS
from ...models.registry import ModelRegistry
from .settings import TranslateSettings


def models_for(source: str | None, target: str | None, settings: TranslateSettings) -> list[str]:
    """The models to load for one direction: those of the settings, and if they do not have it, one that has.

    A model of the catalogue is named also if it is not on this machine: loading it says how to get it.
    """
    configured = [settings.model, *settings.models]
    pair = f"{source}-{target}"
    having = [one for one in ModelRegistry().list() if one.kind == KIND and one.pair == pair]
    if source is None or target is None or any(one.name in configured for one in having):
        return configured
    if published := [one.name for one in TRANSLATORS.values() if one.name == f"translate-{pair}"]:
        return [f"{published[0]}-int8"]
    return [min(having, key=lambda one: one.precision != "int8").name] if having else configured
