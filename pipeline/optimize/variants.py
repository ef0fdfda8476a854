"""Builds the variants of one model: the float32 graph, and the int8 graph, which is measured against it."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import onnx

from ..errors import ModelError
from ..graphs.bert.float32 import BertEncoder, read_config, read_weights
from ..graphs.bert.int8 import Int8BertEncoder
from ..graphs.bert.probe import BertProbe
from ..graphs.builder import write_model
from ..models.files import publish, sha256_of
from ..models.manifest import Agreement, Manifest, write_manifest
from ..models.progress import Progress
from ..models.registry import ModelRegistry
from ..runtime.sessions import Session
from ..runtime.tokenizer import Tokenizer
from ..tasks.pooling import embed
from .evaluate import SAMPLE, agreement, load_sample
from .plans import PullPlan
from .quantize import Inputs, Rounding, calibration_texts, measure_inputs, taming_scales

RECIPE = 7  # raised whenever the same weights give another graph; a pull then rebuilds the variants
MIN_LABEL_AGREEMENT = 0.9


def make_variants(registry: ModelRegistry, plan: PullPlan, source: str, progress: Progress) -> list[Manifest]:
    """Build both variants from the files in the model's folder, and write a manifest for each.

    Raises ModelError if int8 gives less than MIN_LABEL_AGREEMENT of the sample sentences the label
    that float32 gives; then only the float32 variant has a manifest.
    """
    home = registry.folder(plan.base)
    builder = _VariantBuilder(home, plan, progress)
    fp32 = builder.fp32(source)
    write_manifest(fp32, registry.manifest_path(plan.base, "fp32"))
    int8 = builder.int8(fp32)
    write_manifest(int8, registry.manifest_path(plan.base, "int8"))
    return [fp32, int8]


class _VariantBuilder:
    """Builds graphs from the files of one model, which are read once."""

    def __init__(self, home: Path, plan: PullPlan, progress: Progress) -> None:
        self._home = home
        self._plan = plan
        self._progress = progress
        self._config = read_config(home / "config.json")
        self._weights = read_weights(home / "model.safetensors")
        self._tokenizer = Tokenizer(home / "tokenizer.json", plan.max_tokens, self._config.pad_token_id)
        self._texts, self._labels = load_sample()

    def fp32(self, source: str) -> Manifest:
        plan = self._plan
        self._progress(f"building {plan.base}-fp32", 0, None)
        digest, path = self._publish(BertEncoder(self._config, self._weights, plan.pooling).model(), "fp32")
        return Manifest(
            name=f"{plan.base}-fp32",
            kind=plan.kind,
            precision="fp32",
            source=source,
            revision=plan.revision,
            weights_sha256=plan.digest_of("model.safetensors"),
            graph_sha256=digest,
            tokenizer_sha256=plan.digest_of("tokenizer.json"),
            max_tokens=plan.max_tokens,
            dimensions=self._config.hidden_size,
            pad_id=self._config.pad_token_id,
            recipe=RECIPE,
            graph_path=str(path),
            tokenizer_path=str(self._home / "tokenizer.json"),
        )

    def int8(self, fp32: Manifest) -> Manifest:
        self._progress(f"building {self._plan.base}-int8", 0, None)
        inputs = self._inputs()
        scales = taming_scales({name: seen.peak for name, seen in inputs.items()})
        rounding = Rounding(inputs, scales)
        model = Int8BertEncoder(self._config, self._weights, self._plan.pooling, scales, rounding).model()
        digest, path = self._publish(model, "int8")
        return msgspec.structs.replace(
            fp32,
            name=f"{self._plan.base}-int8",
            precision="int8",
            graph_sha256=digest,
            graph_path=str(path),
            agreement=self._agreement(fp32, path),
            made_from=f"{fp32.graph_sha256} int8 {RECIPE}",
        )

    def _inputs(self) -> dict[str, Inputs]:
        """Statistics of the inputs of the linear layers on the calibration texts."""
        with TemporaryDirectory(dir=self._home) as folder:
            probe = Path(folder) / "probe.onnx"
            write_model(BertProbe(self._config, self._weights, self._plan.pooling).model(), probe)
            return measure_inputs(
                Session(probe, provider="cpu"), self._tokenizer, calibration_texts(self._texts)
            )

    def _agreement(self, fp32: Manifest, int8_graph: Path) -> Agreement:
        self._progress("measuring int8 against fp32", 0, None)
        original, variant = (
            # One window a run: in a batch, the scales of dynamic int8 depend on the other rows.
            embed(self._texts, self._tokenizer, Session(graph, provider="cpu"), batch_tokens=1)
            for graph in (fp32.graph_path, int8_graph)
        )
        measured = agreement(original, variant, self._labels, SAMPLE)
        if measured.label >= MIN_LABEL_AGREEMENT:
            return measured
        raise ModelError(
            f"int8 gives only {measured.label:.1%} of the sample sentences the label that float32 gives; "
            f"use {fp32.name}, which is ready."
        )

    def _publish(self, model: onnx.ModelProto, precision: str) -> tuple[str, Path]:
        """Write a graph under a name with its digest, so that a manifest never gets the graph of another pull."""
        part = self._home / f"{precision}.{os.getpid()}.part"
        write_model(model, part)
        digest = sha256_of(part)
        path = self._home / f"{precision}-{digest[:12]}.onnx"
        publish(part, path)
        return digest, path
