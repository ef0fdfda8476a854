"""Builds the variants of a model that brings its graph: that graph in float32, and int8 by what its products read."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import onnx

from ....errors import ModelError
from ....graphs.imported.adapting import AdaptedGraph
from ....graphs.imported.checks import read_onnx
from ....graphs.imported.static_int8 import Int8Rewriter, products_of, with_outputs
from ....models.manifest import CLASSIFIER, Manifest
from ....models.progress import Progress
from ....runtime.encoder import collate
from ....runtime.sessions import Session
from ....runtime.tokenizer import Tokenizer
from ...closeness.comparison import VariantComparison
from ...compression.calibration import Inputs, calibration_of, inputs_like
from ...sample import calibration_texts, load_sample
from ..original import OriginalGraph, original_manifest
from ..plans import PullPlan
from ..pulled_files import publish_graph
from .config import read_imported_config

GRAM_BYTES = 400_000_000  # of the statistics that are in memory at once; the texts are run again for the rest
BUILDER_VERSION = 1_001  # as `variants.BUILDER_VERSION`, for graphs that are imported


class ImportedVariantBuilder:
    """Makes the variants from the graph in ``source``, and measures them on the sample."""

    def __init__(self, home: Path, plan: PullPlan, graph: Path, progress: Progress) -> None:
        self._home = home
        self._plan = plan
        self._graph = graph
        self._progress = progress
        self._config = read_imported_config(home / "config.json")
        self._tokenizer = Tokenizer(home / "tokenizer.json", plan.max_tokens, self._config.padding)

    def fp32(self, source: str) -> Manifest:
        """The graph, checked, with our inputs and output. Raises ModelError."""
        plan = self._plan
        self._progress(f"checking {self._graph.name}", 0, None)
        adapted = AdaptedGraph(read_onnx(self._graph), self._graph.name)
        model = adapted.classifier(len(plan.labels.names)) if plan.labels else adapted.encoder(plan.pooling)
        digest, path = publish_graph(model, self._home, "fp32")
        width = self._tried(Session(path, provider="cpu"))
        if plan.labels and width != len(plan.labels.names):
            raise ModelError(
                f"{self._graph.name} gives {width} scores, and config.json has {len(plan.labels.names)} labels."
            )
        shorter = () if plan.kind == CLASSIFIER else self._config.shorter
        graph = OriginalGraph(digest, path, width, self._config.padding, shorter)
        return original_manifest(plan, self._home, source, graph, BUILDER_VERSION)

    def int8(self, fp32: Manifest) -> Manifest:
        """The int8 variant, compared with ``fp32``. Raises ModelError if the graph has nothing for it."""
        base = self._plan.base
        self._progress(f"building {base}-int8", 0, None)
        model = onnx.load(fp32.graph_path)
        rewriter = Int8Rewriter(onnx.load(fp32.graph_path))
        windows = list(chain.from_iterable(self._tokenizer.encode(calibration_texts(load_sample()[0]))))
        for names in _groups(model):
            rewriter.add(calibration_of(_measured(model, names, windows)))
        digest, path = publish_graph(rewriter.finished(), self._home, "int8")
        self._progress("measuring int8 against fp32", 0, None)
        return VariantComparison(self._tokenizer).measured(fp32, "int8", (digest, path))

    def _tried(self, session: Session) -> int:
        """The width of the output, after rows of several lengths have run. Raises ModelError if any does not."""
        longest = self._plan.max_tokens
        rows = [self._row(length) for length in (2, 3, min(9, longest), longest)]
        try:
            alone = [session.run(collate([row], self._config.padding))[0][0] for row in rows]
            together = session.run(collate(rows[:3], self._config.padding))[0]
        except Exception as error:
            raise ModelError(
                f"{self._graph.name} cannot run rows of 2 to {longest} tokens: {error}"
            ) from error
        if together.ndim != 2 or not all(np.isfinite(one).all() for one in (*alone, together)):
            raise ModelError(
                f"{self._graph.name} gives what are no finite numbers, or no vector for each row."
            )
        difference = max(float(np.abs(a - b).max()) for a, b in zip(alone[:3], together, strict=True))
        size = max(1.0, float(np.abs(together).max()))
        if difference > MAX_OF_COMPANY * size:
            raise ModelError(
                f"{self._graph.name} gives other numbers for a row beside longer ones (by {difference:.2g}): it does "
                "not leave out the padding."
            )
        return int(together.shape[1])

    def _row(self, length: int) -> list[int]:
        """A row of tokens of real texts."""
        (windows,) = self._tokenizer.encode([" ".join(load_sample()[0])])
        return [*windows[0][: length - 1], windows[0][-1]]


MAX_OF_COMPANY = 1e-4  # share of the largest number: what the order of additions in float32 may change


def _groups(model: onnx.ModelProto) -> Iterator[list[str]]:
    """The inputs of the products, in groups whose statistics fit into memory."""
    sizes = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if tensor.dims}
    widths = {product.inputs: sizes[product.weight] for product in products_of(model)}
    group: list[str] = []
    total = 0
    for name, width in widths.items():
        total += 8 * width**2
        if group and total > GRAM_BYTES:
            yield group
            group, total = [], 8 * width**2
        group.append(name)
    if group:
        yield group


def _measured(
    model: onnx.ModelProto, names: list[str], windows: Sequence[Sequence[int]]
) -> dict[str, Inputs]:
    """The statistics of these values on the windows, each run alone."""
    session = Session(with_outputs(model, names), provider="cpu")
    seen: dict[str, Inputs] = {}
    for window in windows:
        outputs = session.run(collate([window], 0))
        for name, output in zip(names, outputs, strict=True):
            states = output.reshape(-1, output.shape[-1]).astype(np.float64)
            if not np.isfinite(states).all():
                raise ModelError("A value inside of the graph is not a finite number; use its fp32 variant.")
            if name not in seen:
                seen[name] = inputs_like(states)
            seen[name].add(states)
    return seen
