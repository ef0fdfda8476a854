"""What the catalogue knows of `triage`. Light to import: loading and output import what they need."""

from typing import TYPE_CHECKING, Final

from ....schemas.messages import TriageOutput
from ....schemas.tasks import CONTRACTS
from ..definition import Loaded
from .settings import TriageSettings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ...models.registry import ModelRegistry
    from ...models.releases.parts import ReleaseParts

TRIAGE: Final = "triage"


class TriageDefinition:
    """The task `triage`, see `TaskDefinition`."""

    name = TRIAGE
    contract = CONTRACTS[TRIAGE]
    settings = TriageSettings

    def load(self, registry: "ModelRegistry", model_name: str, settings: TriageSettings) -> Loaded:
        """See `loading.load_triage`."""
        from .loading import load_triage

        return load_triage(registry, model_name, settings)

    def release_parts(
        self, registry: "ModelRegistry", model_name: str, settings: TriageSettings
    ) -> "ReleaseParts":
        """See `releasing.triage_parts`."""
        from .releasing import triage_parts

        return triage_parts(registry, model_name, settings)

    def show(self, output: TriageOutput) -> "RenderableType":
        """The output for a terminal."""
        from .view import shown

        return shown(output)

    def line(self, output: TriageOutput) -> str:
        """The output for a pipe: category, confidence, priority and route, with tabs between them."""
        route = "a human" if output.needs_human else output.route
        return f"{output.category}\t{output.confidence:.2f}\t{output.priority}\t{route}"
