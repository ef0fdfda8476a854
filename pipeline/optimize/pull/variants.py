"""Builds the variants of one model: the float32 graph, and the int8 graph, which is measured against it."""

from pathlib import Path
from typing import Protocol

from ...errors import ModelError
from ...graphs.bert.files import check_weights, read_config, read_weights
from ...graphs.bert.float32 import BertEncoder
from ...graphs.bert.int8 import Int8BertEncoder
from ...models.manifest import Manifest, write_manifest
from ...models.progress import Progress
from ...models.registry import ModelRegistry
from ...runtime.tokenizer import Tokenizer
from ..closeness.built_gate import gated
from ..closeness.comparison import VariantComparison
from ..compression.calibration import calibration_of, measure_inputs
from ..sample import calibration_texts, load_sample
from .imported.torch_export import export
from .imported.variants import BUILDER_VERSION as IMPORTED_BUILDER_VERSION
from .imported.variants import ImportedVariantBuilder
from .original import OriginalGraph, original_manifest
from .plans import EXPORTED, PullPlan
from .pulled_files import publish_graph

BUILDER_VERSION = 8  # raised whenever the same weights give another graph; a pull then rebuilds the variants


def make_variants(registry: ModelRegistry, plan: PullPlan, source: str, progress: Progress) -> list[Manifest]:
    """Build both variants from the files in the model's folder, and write a manifest for each.

    The manifests are written when both graphs have run, so that a pull that fails lists nothing. Raises
    ModelError if a graph cannot be built or run. If int8 does not pass its gate, ModelError too; then only the
    float32 variant has a manifest.
    """
    home = registry.folder(plan.base)
    builder = builder_of(home, plan, progress)
    fp32 = builder.fp32(source)
    int8 = gated(builder.int8(fp32), fp32.name)
    write_manifest(fp32, registry.manifest_path(plan.base, "fp32"))
    if int8.gate and not int8.gate.open:
        registry.manifest_path(plan.base, "int8").unlink(missing_ok=True)
        raise ModelError(
            f"{int8.name} is not published. {' '.join(int8.gate.failures)} Use {fp32.name}, which is ready."
        )
    write_manifest(int8, registry.manifest_path(plan.base, "int8"))
    return [fp32, int8]


def builder_version(manifest: Manifest) -> int:
    """Of what makes a variant like this one today."""
    return IMPORTED_BUILDER_VERSION if manifest.graph_from else BUILDER_VERSION


def refuse_without_weights(manifest: Manifest) -> None:
    """Raise ModelError for a graph that was not built from weights: only its pull makes variants of it."""
    if manifest.graph_from:
        raise ModelError(
            f"The graph of {manifest.name} was not built here from weights (it is from {manifest.graph_from}): it can "
            "be served, and its pull makes int8 of it, but no other variant."
        )


class Builder(Protocol):
    """Makes the variants of one model."""

    def fp32(self, source: str) -> Manifest: ...

    def int8(self, fp32: Manifest) -> Manifest: ...


def builder_of(home: Path, plan: PullPlan, progress: Progress) -> Builder:
    """What builds the graphs from the weights, or what takes the one that the model brings, or that torch exports."""
    if not plan.graph_from:
        return VariantBuilder(home, plan, progress)
    if plan.graph_from != EXPORTED:
        return ImportedVariantBuilder(home, plan, home / plan.weights, progress)
    progress(f"exporting {plan.base} by torch", 0, None)
    graph = home / "exported.onnx"
    export(home, graph, plan.max_tokens, classifier=plan.labels is not None)
    return ImportedVariantBuilder(home, plan, graph, progress)


class VariantBuilder:
    """Builds graphs from the files of one model, which are read once, and measures them on the sample."""

    def __init__(self, home: Path, plan: PullPlan, progress: Progress) -> None:
        self._home = home
        self._plan = plan
        self._progress = progress
        self._config = read_config(home / "config.json")
        self._weights = read_weights(home / "model.safetensors", self._config)
        check_weights(self._config, self._weights, home / "model.safetensors")
        self._tokenizer = Tokenizer(home / "tokenizer.json", plan.max_tokens, self._config.padding)
        self._all_texts = calibration_texts(load_sample()[0])

    def fp32(self, source: str) -> Manifest:
        plan = self._plan
        self._progress(f"building {plan.base}-fp32", 0, None)
        digest, path = publish_graph(
            BertEncoder(self._config, self._weights, plan.pooling).model(), self._home, "fp32"
        )
        config = self._config
        graph = OriginalGraph(
            digest, path, config.labels or config.hidden_size, config.padding, config.shorter
        )
        return original_manifest(plan, self._home, source, graph, BUILDER_VERSION)

    def int8(self, fp32: Manifest) -> Manifest:
        """The int8 variant, compared with ``fp32``, and its vectors alone with those in company."""
        self._progress(f"building {self._plan.base}-int8", 0, None)
        inputs = measure_inputs(self._config, self._weights, self._tokenizer, self._all_texts)
        calibration = calibration_of(inputs)
        model = Int8BertEncoder(self._config, self._weights, self._plan.pooling, calibration).model()
        digest, path = publish_graph(model, self._home, "int8")
        self._progress("measuring int8 against fp32", 0, None)
        return VariantComparison(self._tokenizer).measured(fp32, "int8", (digest, path))
