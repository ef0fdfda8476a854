"""The manifest of a model's float32 variant: what the plan of its pull says, and what its graph is."""

from pathlib import Path
from typing import NamedTuple

from ...models.manifest import Manifest
from .plans import PullPlan


class OriginalGraph(NamedTuple):
    """The float32 graph, however it came to be."""

    sha256: str
    path: Path
    dimensions: int  # of its vectors, or the number of its labels
    pad_id: int
    shorter: tuple[int, ...] = ()  # dimensions that a vector may be cut to


def original_manifest(
    plan: PullPlan, home: Path, source: str, graph: OriginalGraph, builder: int
) -> Manifest:
    """Of a model in ``home``, from ``source``, whose graph a builder of this version made or took."""
    return Manifest(
        name=f"{plan.base}-fp32",
        kind=plan.kind,
        precision="fp32",
        source=source,
        revision=plan.revision,
        weights_sha256=plan.digest_of(plan.weights),
        graph_sha256=graph.sha256,
        tokenizer_sha256=plan.digest_of("tokenizer.json"),
        max_tokens=plan.max_tokens,
        dimensions=graph.dimensions,
        pad_id=graph.pad_id,
        builder=builder,
        config_sha256=plan.digest_of("config.json"),
        pooling=plan.pooling,
        labels=plan.labels.names if plan.labels else (),
        multi_label=plan.labels is not None and plan.labels.multi_label,
        matryoshka_dimensions=graph.shorter,
        graph_from=plan.graph_from,
        notes=tuple(plan.notes),
        graph_path=str(graph.path),
        tokenizer_path=str(home / "tokenizer.json"),
    )
