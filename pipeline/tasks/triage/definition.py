"""What the catalogue knows of `triage`. Light to import: loading and output import what they need."""

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from ....schemas.messages import TriageOutput
from ....schemas.tasks import CONTRACTS
from ...config import Share, Text
from ..definition import Loaded

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ...models.registry import ModelRegistry

TRIAGE: Final = "triage"


class TriageSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Classification of tickets.

    Attributes:
        model: the model that answers requests which name none.
        taxonomy: TOML file with categories, descriptions, examples and routes; the built-in example without it.
        threshold: tickets with a lower confidence need a human; the default is in the taxonomy.
    """

    model: Text = "minilm-int8"
    taxonomy: Text | None = None
    threshold: Share | None = None


class TriageDefinition:
    """The task `triage`, see `TaskDefinition`."""

    name = TRIAGE
    contract = CONTRACTS[TRIAGE]
    settings = TriageSettings

    def load(self, registry: "ModelRegistry", model_name: str, settings: TriageSettings) -> Loaded:
        """See `loading.load_triage`."""
        from .loading import load_triage

        return load_triage(registry, model_name, settings)

    def show(self, output: TriageOutput) -> "RenderableType":
        """The output for a terminal."""
        from .view import shown

        return shown(output)
