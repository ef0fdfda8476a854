"""One variant of an encoder that is on this machine, in other numbers than float32."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, cast

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from ...errors import ModelError
from ...graphs.bert.files import check_weights, read_config, read_weights
from ...graphs.bert.float32 import Pooling
from ...graphs.bert.int8 import Calibration, Int8BertEncoder
from ...graphs.bert.mixed import DynamicBertEncoder, MixedBertEncoder
from ...models.files import sha256_of
from ...models.manifest import Agreement, Manifest, write_manifest
from ...models.progress import Progress
from ...models.registry import ModelRegistry, split_name
from ...runtime.sessions import Session
from ...runtime.tokenizer import Tokenizer
from ...tasks.pooling import embed
from ..closeness.agreement import Embeddings, agreement
from ..closeness.built_gate import gated
from ..closeness.comparison import VariantComparison
from ..compression.calibration import calibration_of, measure_inputs
from ..compression.sensitivity import Goal, PrecisionMix, mixed_precision, multiplications
from ..pull.plans import WEIGHTS
from ..pull.pulled_files import completed, publish_graph
from ..pull.variants import BUILDER_VERSION, builder_version, refuse_without_weights
from ..sample import SAMPLE, calibration_texts, load_sample

METHODS = ("int8", "dynamic", "mixed", "fp16")


class QuantizedEncoder(NamedTuple):
    """The variant, and what is to be said about it."""

    manifest: Manifest
    notes: tuple[str, ...] = ()


def quantize_encoder(
    registry: ModelRegistry, original: Manifest, method: str, goal: Goal, progress: Progress
) -> QuantizedEncoder:
    """Make the variant of ``original`` in float32 by one of METHODS. ``goal`` is of the method mixed.

    Raises ModelError if it does not pass its gate, or if the goal cannot be reached.
    """
    base, _ = split_name(original.name)
    notes: tuple[str, ...] = ()

    def made() -> list[Manifest]:
        nonlocal notes
        if method == "int8" and (found := _pulled(registry, original)):
            return [found]
        manifest, notes = _Quantizing(registry.folder(base), original, progress).make(method, goal)
        manifest = gated(manifest, original.name)
        if manifest.gate and not manifest.gate.open:
            raise ModelError(
                f"{manifest.name} is not published. {' '.join(manifest.gate.failures)} Use {original.name}."
            )
        write_manifest(manifest, registry.manifest_path(base, method))
        return [manifest]

    return QuantizedEncoder(completed(registry, base, original.kind, progress, made)[0], notes)


def _pulled(registry: ModelRegistry, original: Manifest) -> Manifest | None:
    """The int8 variant, as the pull has built it."""
    base, _ = split_name(original.name)
    for one in registry.list():
        same = one.weights_sha256 == original.weights_sha256 and one.builder == builder_version(one)
        if one.name == f"{base}-int8" and same:
            registry.verify(one)
            return one
    return None


class _Quantizing:
    """One encoder while variants of it are made."""

    def __init__(self, home: Path, original: Manifest, progress: Progress) -> None:
        refuse_without_weights(original)
        if not (home / WEIGHTS).is_file() or sha256_of(home / WEIGHTS) != original.weights_sha256:
            raise ModelError(
                f"The weights in {home} are not those of {original.name}: make or pull that model again."
            )
        self._home = home
        self._original = original
        self._progress = progress
        self._config = read_config(home / "config.json")
        self._weights = read_weights(home / WEIGHTS, self._config)
        check_weights(self._config, self._weights, home / WEIGHTS)
        self._tokenizer = Tokenizer(original.tokenizer_path, original.max_tokens, original.pad_id)
        self._pooling = cast("Pooling", original.pooling or "mean")
        self._comparison = VariantComparison(self._tokenizer)
        self._sentences, self._labels = load_sample()

    def make(self, method: str, goal: Goal) -> QuantizedEncoder:
        """The variant, published but not listed."""
        base, _ = split_name(self._original.name)
        builders: Mapping[str, Callable[[Goal], tuple[onnx.ModelProto, tuple[str, ...]]]] = {
            "int8": lambda _: (self._int8(Int8BertEncoder), ()),
            "dynamic": lambda _: (self._int8(DynamicBertEncoder), ()),
            "mixed": self._mixed,
            "fp16": lambda _: (self._fp16(), ()),
        }
        self._progress(f"building {base}-{method}", 0, None)
        model, notes = builders[method](goal)
        digest, path = publish_graph(model, self._home, method)
        self._progress(f"measuring {method} against fp32", 0, None)
        original = msgspec.structs.replace(self._original.without_figures(), builder=BUILDER_VERSION)
        return QuantizedEncoder(self._comparison.measured(original, method, (digest, path)), notes)

    @cached_property
    def _calibration(self) -> Calibration:
        """Measured once; the weights of a layer are rounded once, however many graphs have it."""
        inputs = measure_inputs(
            self._config, self._weights, self._tokenizer, calibration_texts(self._sentences)
        )
        found = calibration_of(inputs)
        rounded: dict[str, tuple[NDArray[np.int8], NDArray[np.float32]]] = {}

        def quantize(name: str, weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
            if name not in rounded:
                rounded[name] = found.quantize(name, weight)
            return rounded[name]

        return found._replace(quantize=quantize)

    def _int8(self, kind: type[Int8BertEncoder]) -> onnx.ModelProto:
        return kind(self._config, self._weights, self._pooling, self._calibration).model()

    def _mixed(self, goal: Goal) -> tuple[onnx.ModelProto, tuple[str, ...]]:
        def measured(kept: Sequence[str]) -> Agreement:
            graph = self._with_kept(kept).SerializeToString()
            return self._agreement(Session(graph, provider="cpu"))

        costs = multiplications(self._config, self._weights)
        mix = mixed_precision(costs, goal, measured, self._progress)
        return self._with_kept(mix.kept), (_told(mix),)

    def _with_kept(self, kept: Sequence[str]) -> onnx.ModelProto:
        return MixedBertEncoder(self._config, self._weights, self._pooling, self._calibration, kept).model()

    def _fp16(self) -> onnx.ModelProto:
        """The float32 graph with inputs and outputs as they were, all between them in 16 bits."""
        from onnxruntime.transformers.float16 import convert_float_to_float16

        model: onnx.ModelProto = convert_float_to_float16(
            onnx.load(self._original.graph_path), keep_io_types=True
        )
        return model

    @cached_property
    def _fp32(self) -> Embeddings:
        """The vectors of the sentences."""
        return self._comparison.alone(self._original, self._sentences)

    def _agreement(self, session: Session) -> Agreement:
        vectors = embed(self._sentences, self._tokenizer, session)
        return agreement(self._fp32, vectors, self._labels, SAMPLE)


def _told(mix: PrecisionMix) -> str:
    if not mix.kept:
        return "All layers are in int8: with that the goal is reached."
    return (
        f"{len(mix.kept)} layers with {mix.share:.0%} of the multiplications stay in float32 ({', '.join(mix.kept)}): "
        f"mean cosine {mix.agreement.cosine_mean:.4f} instead of {mix.before.cosine_mean:.4f}, "
        f"{mix.agreement.label:.1%} of the labels instead of {mix.before.label:.1%}."
    )
