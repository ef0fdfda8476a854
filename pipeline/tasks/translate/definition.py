"""What the catalogue knows of `translate`. Light to import: `load` imports what it needs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ....schemas.tasks import CONTRACTS
from ....schemas.translation import TranslateOutput
from ..definition import Loaded
from .settings import TranslateSettings

if TYPE_CHECKING:
    from ...models.registry import ModelRegistry
    from ...models.releases.parts import ReleaseParts

TRANSLATE: Final = "translate"


class TranslateDefinition:
    """The task `translate`, see `TaskDefinition`."""

    name = TRANSLATE
    contract = CONTRACTS[TRANSLATE]
    settings = TranslateSettings

    def load(self, registry: "ModelRegistry", model_name: str, settings: TranslateSettings) -> Loaded:
        """See `loading.load_translate`."""
        from .loading import load_translate

        return load_translate(registry, model_name, settings)

    def release_parts(
        self, registry: "ModelRegistry", model_name: str, settings: TranslateSettings
    ) -> "ReleaseParts":
        """The translator, and the glossary of the settings."""
        from .loading import translate_parts

        return translate_parts(registry, model_name, settings)

    def show(self, output: TranslateOutput) -> str:
        """The translation, and the note if there is one, for a terminal."""
        return f"{output.text}\n\n{output.note}" if output.note else output.text

    def line(self, output: TranslateOutput) -> str:
        """The translation, for a pipe."""
        return output.text

    def models_for(self, options: Mapping[str, Any], settings: TranslateSettings) -> list[str]:
        """The models that a process serves which answers only requests with these options."""
        from .directions import models_for

        return models_for(options.get("source"), options.get("target"), settings)
