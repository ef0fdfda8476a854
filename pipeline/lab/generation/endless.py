"""The task `generate` whose texts end at their limit only, so that all that is compared makes as many tokens."""

from msgspec.structs import replace

from ...models.manifest import Manifest
from ...models.registry import ModelRegistry
from ...tasks.definition import Loaded
from ...tasks.generate.definition import GenerateDefinition
from ...tasks.generate.loading import load_generate
from ...tasks.generate.settings import GenerateSettings


class EndlessRegistry(ModelRegistry):
    """Its decoders have no token that ends a text."""

    def load(self, name: str, kind: str | None = None) -> Manifest:
        """See `ModelRegistry.load`."""
        return replace(super().load(name, kind), end_ids=())


class EndlessGenerate(GenerateDefinition):
    """`generate` with the decoders of an `EndlessRegistry`."""

    def load(self, registry: ModelRegistry, model_name: str, settings: GenerateSettings) -> Loaded:
        """See `load_generate`."""
        return load_generate(EndlessRegistry(), model_name, settings)
