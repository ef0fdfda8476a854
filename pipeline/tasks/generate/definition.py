"""What the catalogue knows of `generate`. Light to import: `load` imports what it needs."""

from typing import TYPE_CHECKING, Final

from ....schemas.generation import GenerateOutput
from ....schemas.tasks import CONTRACTS
from ..definition import Loaded
from .settings import GenerateSettings

if TYPE_CHECKING:
    from ...models.registry import ModelRegistry
    from ...models.releases.parts import ReleaseParts

GENERATE: Final = "generate"
BRIEF: Final = {"max_tokens": 16, "too_long": "window"}
"""Options of a request that any model answers in a moment, however short its context is."""


class GenerateDefinition:
    """The task `generate`, see `TaskDefinition`."""

    name = GENERATE
    contract = CONTRACTS[GENERATE]
    settings = GenerateSettings
    trial = (
        {"text": "Thank you!", "options": BRIEF},
        {"text": "The order of last week is late, and the courier says: " * 20, "options": BRIEF},
        {"text": "Não consigo entrar na minha conta: a", "options": BRIEF},
    )

    def load(self, registry: "ModelRegistry", model_name: str, settings: GenerateSettings) -> Loaded:
        """See `loading.load_generate`."""
        from .loading import load_generate

        return load_generate(registry, model_name, settings)

    def release_parts(
        self, registry: "ModelRegistry", model_name: str, settings: GenerateSettings
    ) -> "ReleaseParts":
        """The files of the decoder."""
        from ...models.metrics import GENERATE as USE
        from ...models.releases.parts import parts_of_variant

        return parts_of_variant(registry, registry.load(model_name), USE)

    def show(self, output: GenerateOutput) -> str:
        """All texts, for a terminal."""
        return "\n\n".join(choice.text for choice in output.choices)

    def line(self, output: GenerateOutput) -> str:
        """The first text, for a pipe."""
        return output.text
