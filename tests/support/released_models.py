"""Models of a few kilobytes as releases: encoders of several seeds, heads on them, and a registry that has them."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from msgspec.structs import replace

from inferstream.pipeline.graphs.bert.files import read_config, read_weights
from inferstream.pipeline.graphs.bert.float32 import BertEncoder
from inferstream.pipeline.models.manifest import ENCODER, Manifest, write_manifest
from inferstream.pipeline.models.metrics import Gate
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.models.releases.alias import Rollout
from inferstream.pipeline.models.releases.names import ReleaseName
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.models.releases.registry.promoting import Promoter, change_now
from inferstream.pipeline.models.releases.registry.publishing import put_objects
from inferstream.pipeline.models.releases.release import Origin, Release, StoredFile
from inferstream.pipeline.tasks.triage.head import Head, HeadAccuracy, HeadStore

from .tiny_model import HIDDEN, write_tiny_model

LABELS = ("refund", "login", "parcel")
PROD = "triage@prod"
PASSED = Gate({"min_share": 0.97}, passed=True)
MEASURED = HeadAccuracy(80, 20, 0.9, 0.9, 0.1, 0.02)

Damage = Callable[[Path], object]


class ReleasedModels:
    """A home of a publisher, and a registry with what it has published.

    ``home``: where models are made, not that of a worker. ``registry``: the folder of the registry.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder / "publisher"
        self.registry = folder / "registry"
        self.store = open_registry(str(self.registry))
        self._promoter = Promoter(self.store)

    def encoder(self, seed: int = 0, name: str = "tiny") -> Manifest:
        """A float32 encoder with weights of this seed, in the home of the publisher."""
        folder = self.home / "models" / name
        write_tiny_model(folder, seed)
        config = read_config(folder / "config.json")
        weights = read_weights(folder / "model.safetensors", config)
        graph = folder / "fp32.onnx"
        onnx.save(BertEncoder(config, weights, "mean").model(), graph)
        manifest = Manifest(
            name=f"{name}-fp32",
            kind=ENCODER,
            precision="fp32",
            source="a test",
            revision="local",
            weights_sha256="",
            graph_sha256=digest_of(graph),
            tokenizer_sha256=digest_of(folder / "tokenizer.json"),
            max_tokens=48,
            dimensions=HIDDEN,
            pad_id=0,
            builder=1,
            graph_path=str(graph),
            tokenizer_path=str(folder / "tokenizer.json"),
        )
        write_manifest(manifest, folder / "fp32.json")
        return manifest

    def head(self, seed: int, name: str = "shop", labels: tuple[str, ...] = LABELS, **changes: Any) -> Head:
        """A fitted model of random numbers on the encoder `tiny`, which is made if it is not there."""
        if not (self.home / "models" / "tiny" / "fp32.json").exists():
            self.encoder()
        manifest = ModelRegistry(self.home).load("tiny-fp32")
        draw = np.random.default_rng(seed)
        head = Head(
            base="tiny-fp32",
            encoder_digest=manifest.digest,
            labels=labels,
            dimensions=HIDDEN,
            weights=draw.normal(0, 3, (HIDDEN, len(labels))).astype("<f4").tobytes(),
            bias=draw.normal(0, 1, len(labels)).astype("<f4").tobytes(),
            temperature=1.0,
            measured=MEASURED,
        )
        head = replace(head, **changes)
        shutil.rmtree(self.home / "heads" / name, ignore_errors=True)
        HeadStore(self.home).save(name, head)
        return head

    def release(self, task: str, name: str, damage: Damage | None = None, **changes: Any) -> Release:
        """All models and heads of the publisher as one release, put into the registry without any question.

        ``damage`` changes the files before their digests are taken.
        """
        if damage is not None:
            damage(self.home)
        files = {
            path.relative_to(self.home).as_posix(): path
            for part in ("models", "heads")
            for path in sorted((self.home / part).rglob("*"))
            if path.is_file() and path.suffix not in (".safetensors", ".lock") and path.name != "config.json"
        }
        labels = LABELS if task == "triage" else ()
        release = Release(
            task=task,
            name=name,
            files={path: StoredFile(digest_of(place), place.stat().st_size) for path, place in files.items()},
            origin=Origin("a test"),
            labels=labels,
            gate=PASSED,
        )
        release = replace(release, **changes)
        self.put(release, files)
        return release

    def put(self, release: Release, files: Mapping[str, Path]) -> None:
        """Into the registry, also what must not be served."""
        put_objects(self.store, release, files, lambda step, done, total: None)
        self.store.put_release(release)

    def triage(self, seed: int, **changes: Any) -> str:
        """Publish a fitted model; returns its version."""
        self.head(seed)
        return self.release("triage", "shop", **changes).version

    def promote(
        self, version: str, alias: str = "prod", task: str = "triage", rollout: Rollout | None = None
    ) -> None:
        """Make the alias mean this version, also one that must not be served."""
        name = ReleaseName(task, alias)
        try:
            self._promoter.promote(name, version, change_now(by="a test"), rollout)
        except Exception:
            self.force(version, name)

    def force(self, version: str, name: ReleaseName) -> None:
        """Write the state, as a promoter that checks nothing."""
        state = self.store.alias(name.task, name.alias)
        after = replace(state, number=state.number + 1, stable=version, previous=state.stable)
        self.store.put_alias(name.task, name.alias, after)

    def object_of(self, release: Release, ending: str) -> Path:
        """The object of the registry with the file whose path ends so."""
        (file,) = [file for path, file in release.files.items() if path.endswith(ending)]
        return self.registry / "objects" / "sha256" / file.sha256[:2] / file.sha256


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def answer_json(output: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output)
    return found
