"""The variants of one model: the float32 graph, and int8 measured against it."""

import os
from pathlib import Path

import msgspec
import numpy as np

from ..errors import ModelError
from ..graphs.bert import build_bert, read_config
from ..graphs.builder import write_model
from ..runtime.fetching import Progress, publish, sha256_of
from ..runtime.manifest import Agreement, Manifest, write_manifest
from ..runtime.registry import ModelRegistry
from ..runtime.sessions import Session
from ..runtime.tokenizer import Tokenizer
from .evaluate import SAMPLE, Embeddings, agreement, embed, load_sample
from .plans import Plan
from .quantize import quantize_int8

RECIPE = 1  # raised whenever the same weights give another graph, so that a pull builds it anew
LEAST_LABEL_AGREEMENT = 0.95


def make_variants(registry: ModelRegistry, plan: Plan, source: str, progress: Progress) -> list[Manifest]:
    """Build both variants from the files in the model's folder, and write a manifest for each.

    Raises ModelError when int8 labels too many sentences otherwise than float32; float32 is then kept alone.
    """
    home = registry.folder(plan.base)
    fp32 = _make_fp32(home, plan, source, progress)
    write_manifest(fp32, registry.manifest_path(plan.base, "fp32"))
    int8 = _make_int8(home, fp32, progress)
    write_manifest(int8, registry.manifest_path(plan.base, "int8"))
    return [fp32, int8]


def _make_fp32(home: Path, plan: Plan, source: str, progress: Progress) -> Manifest:
    progress(f"building {plan.base}-fp32", 0, None)
    config = read_config(home / "config.json")
    part = home / f"fp32.{os.getpid()}.part"
    write_model(build_bert(config, home / "model.safetensors", plan.pooling), part)
    digest, path = _named_by_digest(part, "fp32")
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
        dimensions=config.hidden_size,
        pad_id=config.pad_token_id,
        recipe=RECIPE,
        graph_path=str(path),
        tokenizer_path=str(home / "tokenizer.json"),
    )


def _make_int8(home: Path, fp32: Manifest, progress: Progress) -> Manifest:
    base = fp32.name.removesuffix("-fp32")
    progress(f"quantizing {base}-int8", 0, None)
    part = home / f"int8.{os.getpid()}.part"
    quantize_int8(Path(fp32.graph_path), part)
    measured = _compare(fp32, part, progress)
    if measured.label < LEAST_LABEL_AGREEMENT:
        part.unlink()
        raise ModelError(
            f"int8 gives only {measured.label:.1%} of the sample sentences the label that float32 gives; "
            f"use {fp32.name}, which is ready."
        )
    digest, path = _named_by_digest(part, "int8")
    return msgspec.structs.replace(
        fp32,
        name=f"{base}-int8",
        precision="int8",
        graph_sha256=digest,
        graph_path=str(path),
        agreement=measured,
    )


def _compare(fp32: Manifest, int8_graph: Path, progress: Progress) -> Agreement:
    progress("measuring int8 against fp32", 0, None)
    labels, texts = load_sample()
    tokenizer = Tokenizer(fp32.tokenizer_path, fp32.max_tokens, fp32.pad_id)
    original, variant = (
        _embed_on_cpu(graph, tokenizer, texts) for graph in (Path(fp32.graph_path), int8_graph)
    )
    return agreement(original, variant, labels, SAMPLE)


def _embed_on_cpu(graph: Path, tokenizer: Tokenizer, texts: list[str]) -> Embeddings:
    return np.ascontiguousarray(embed(Session(graph, provider="cpu"), tokenizer, texts))


def _named_by_digest(part: Path, precision: str) -> tuple[str, Path]:
    """Name a graph by its digest: a manifest and its graph can never be of two different pulls."""
    digest = sha256_of(part)
    path = part.with_name(f"{precision}-{digest[:12]}.onnx")
    publish(part, path)
    return digest, path
