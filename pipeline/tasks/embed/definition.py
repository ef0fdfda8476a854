"""What the catalogue knows of `embed`. Light to import: `load` imports what it needs."""

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from ....schemas.messages import EmbedOutput
from ....schemas.tasks import CONTRACTS
from ...config import Text
from ..definition import Loaded

SHOWN: Final = 12

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ...models.registry import ModelRegistry

EMBED: Final = "embed"


class EmbedSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Vectors of texts.

    Attributes:
        model: the encoder that answers requests which name none.
    """

    model: Text = "minilm-int8"


class EmbedDefinition:
    """The task `embed`, see `TaskDefinition`."""

    name = EMBED
    contract = CONTRACTS[EMBED]
    settings = EmbedSettings

    def load(self, registry: "ModelRegistry", model_name: str, settings: EmbedSettings) -> Loaded:
        """Any encoder of the registry. Raises UnknownModel or ModelError."""
        from ..vectors import TextEncoder
        from .task import Embed

        encoder = TextEncoder.of(registry, model_name)
        return Loaded(encoder.manifest, lambda graph: Embed(model_name, encoder))

    def show(self, output: EmbedOutput) -> "RenderableType":
        """The first numbers of the vector, for a terminal."""
        numbers = ", ".join(f"{number:.4f}" for number in output.vector[:SHOWN])
        more = ", …" if output.dimensions > SHOWN else ""
        pieces = f", the mean of {output.windows} pieces of the text" if output.windows > 1 else ""
        return f"[{numbers}{more}]\n{output.dimensions} dimensions{pieces}"
