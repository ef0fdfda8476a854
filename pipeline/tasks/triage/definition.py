"""What the catalogue knows of `triage`. Light to import: loading and output import what they need."""

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from ....schemas.messages import TriageOutput
from ....schemas.tasks import CONTRACTS
from ..definition import Loaded
from .settings import TriageSettings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ...models.registry import ModelRegistry
    from ...models.releases.parts import ReleaseParts
    from .shared import Shared

TRIAGE: Final = "triage"


class TriageDefinition:
    """The task `triage`, see `TaskDefinition`."""

    name = TRIAGE
    contract = CONTRACTS[TRIAGE]
    settings = TriageSettings

    def __init__(self) -> None:
        self._shared: Shared | None = None  # of the models that this process has loaded

    def load(self, registry: "ModelRegistry", model_name: str, settings: TriageSettings) -> Loaded:
        """See `loading.load_triage`."""
        from .loading import load_triage
        from .shared import Shared

        self._shared = self._shared or Shared()
        return load_triage(registry, model_name, settings, self._shared)

    def matching(self, registry: "ModelRegistry", pattern: str) -> list[str]:
        """The names of the fitted models that the shell pattern ``pattern`` stands for."""
        from .head import HeadStore

        return [name for name in HeadStore(registry.root.parent).names() if fnmatchcase(name, pattern)]

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
