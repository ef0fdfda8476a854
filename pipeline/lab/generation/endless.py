"""The task `generate` whose texts end at their limit only, so that all that is compared makes as many tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from ...models.manifest import Manifest
from ...models.registry import ModelRegistry
from ...runtime.generated_row import PREFILL, GeneratedRow
from ...runtime.generator import Generator
from ...runtime.graph import Graph
from ...runtime.model import Model, Row
from ...tasks.definition import Loaded
from ...tasks.generate.definition import GenerateDefinition
from ...tasks.generate.loading import load_generate
from ...tasks.generate.settings import GenerateSettings


class EndlessRegistry(ModelRegistry):
    """Its decoders have no token that ends a text."""

    def load(self, name: str, kind: str | None = None, use: str = "") -> Manifest:
        """See `ModelRegistry.load`."""
        return replace(super().load(name, kind, use), end_ids=())


class EndlessGenerate(GenerateDefinition):
    """`generate` with the decoders of an `EndlessRegistry`. With ``chunk`` prompts are read in chunks of that size."""

    def __init__(self, chunk: int | None = None) -> None:
        self._chunk = chunk

    def load(self, registry: ModelRegistry, model_name: str, settings: GenerateSettings) -> Loaded:
        """See `load_generate`."""
        loaded = load_generate(EndlessRegistry(), model_name, settings)
        if self._chunk is None or loaded.model is None:
            return loaded
        return loaded._replace(model=ChunkedOf(loaded.model, self._chunk))


@dataclass(frozen=True)
class ChunkedOf:
    """Makes a generator that reads prompts in chunks of ``chunk`` tokens."""

    model: Callable[[Graph], Model]
    chunk: int

    def __call__(self, graph: Graph) -> Model:
        generator = self.model(graph)
        assert isinstance(generator, Generator)
        step = generator.step

        def chunked(rows: Sequence[Row]) -> Sequence[Any]:
            for row in rows:
                if isinstance(row, GeneratedRow) and row.phase == PREFILL:
                    row.chunk = min(row.chunk, self.chunk)
                    row.next_chunk()
            return step(rows)

        generator.step = chunked  # type: ignore[method-assign]
        return generator
