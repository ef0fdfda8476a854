"""What the catalogue knows of `classify`. Light to import: loading and output import what they need."""

from typing import TYPE_CHECKING, Final

from ....schemas.classification import ClassifyOutput
from ....schemas.tasks import CONTRACTS
from ...errors import UnknownModel
from ..definition import Loaded
from .settings import DEFAULT_MODEL, ClassifySettings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ...models.registry import ModelRegistry
    from ...models.releases.parts import ReleaseParts

CLASSIFY: Final = "classify"


class ClassifyDefinition:
    """The task `classify`, see `TaskDefinition`."""

    name = CLASSIFY
    contract = CONTRACTS[CLASSIFY]
    settings = ClassifySettings

    def load(self, registry: "ModelRegistry", model_name: str, settings: ClassifySettings) -> Loaded:
        """Any classifier of the registry. Raises UnknownModel, ModelError, or UsageError for another kind of model."""
        from ...models.manifest import CLASSIFIER
        from ...models.metrics import CLASSIFY as USE
        from ..vectors import TextEncoder
        from .task import Classify

        try:
            model = TextEncoder.of(registry, model_name, CLASSIFIER, USE)
        except UnknownModel as error:
            if model_name != DEFAULT_MODEL:
                raise
            raise UnknownModel(
                "The task classify has no model yet: run `inferstream models pull ORG/NAME --as classifier` with a "
                "classifier of the hub, or name a model by --model."
            ) from error
        return Loaded(model.manifest, lambda graph: Classify(model_name, model, settings.threshold))

    def release_parts(
        self, registry: "ModelRegistry", model_name: str, settings: ClassifySettings
    ) -> "ReleaseParts":
        """The classifier, with what was measured of it as one."""
        from ...models.manifest import CLASSIFIER
        from ...models.metrics import CLASSIFY as USE
        from ...models.releases.parts import parts_of_variant

        manifest = registry.load(model_name, CLASSIFIER, USE)
        return parts_of_variant(registry, manifest, USE)._replace(labels=manifest.labels)

    def show(self, output: ClassifyOutput) -> "RenderableType":
        """The output for a terminal."""
        from .view import shown

        return shown(output)

    def line(self, output: ClassifyOutput) -> str:
        """The output for a pipe: the labels with commas between them, and the best score."""
        return f"{', '.join(output.labels) or 'none'}\t{output.score:.2f}"
