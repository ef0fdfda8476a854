"""A release that is broken, or does not fit, is refused before it answers anything, and the worker serves on."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import numpy_helper
from support.released_models import PASSED, PROD, ReleasedModels, digest_of

from inferstream import Client, Config, Edge
from inferstream.pipeline.config import CacheConfig, RegistryConfig
from inferstream.pipeline.models.metrics import Evaluation, Gate, ServedBy
from inferstream.pipeline.models.releases.release import Origin

Publish = Callable[[ReleasedModels], str]
"""Publishes a broken release; returns its version."""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReleasedModels:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "worker"))
    return ReleasedModels(tmp_path)


@asynccontextmanager
async def serving(
    models: ReleasedModels, task: str = "triage", **registry: Any
) -> AsyncIterator[tuple[Edge, Client]]:
    """A worker that follows the alias `prod`; it looks at it when a test says so."""
    config = Config(
        cache=CacheConfig(disk_bytes=0), registry=RegistryConfig(str(models.registry), poll_s=1e9, **registry)
    )
    edge = Edge(config, task=task, models=[f"{task}@prod"])
    async with edge as client:
        await client.request(task, "the engine has begun")
        yield edge, client


def with_manifest(change: Callable[[Path, dict[str, Any]], None]) -> Callable[[Path], None]:
    """Change the encoder's files, and its manifest so that they agree."""

    def damage(home: Path) -> None:
        folder = home / "models" / "tiny"
        manifest = json.loads((folder / "fp32.json").read_bytes())
        change(folder, manifest)
        manifest["graph_sha256"] = digest_of(folder / "fp32.onnx")
        manifest["tokenizer_sha256"] = digest_of(folder / "tokenizer.json")
        (folder / "fp32.json").write_text(json.dumps(manifest))

    return damage


def another_tokenizer(folder: Path, _: dict[str, Any]) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text() + " ")


def another_encoder(home: Path) -> None:
    other = ReleasedModels(home)
    other.home = home
    other.encoder(9)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def with_nan(path: Path) -> None:
    model = onnx.load(path)
    tensor = next(
        one
        for one in model.graph.initializer
        if one.data_type == onnx.TensorProto.FLOAT and len(one.dims) > 1
    )
    array = numpy_helper.to_array(tensor).copy()
    array.flat[-1] = np.nan  # of the last token, which none of the first texts has
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, path)


def damaged(ending: str, harm: Callable[[Path], object]) -> Publish:
    """A release of which one object is harmed in the registry."""

    def publish(models: ReleasedModels) -> str:
        models.encoder(seed=7)
        with_manifest(another_tokenizer)(models.home)  # no file that the worker has already
        models.head(2)
        release = models.release("triage", "shop")
        harm(models.object_of(release, ending))
        return release.version

    return publish


def made(damage: Callable[[Path], object] | None = None, **changes: Any) -> Publish:
    """A release whose files were harmed before it was published, so that its digests are right."""

    def publish(models: ReleasedModels) -> str:
        models.encoder(seed=7)
        models.head(2)
        return models.release("triage", "shop", damage, **changes).version

    return publish


def of_head(labels: tuple[str, ...] | None = None, **changes: Any) -> Publish:
    def publish(models: ReleasedModels) -> str:
        head = models.head(2, labels=labels, **changes) if labels else models.head(2, **changes)
        return models.release("triage", "shop", labels=head.labels).version

    return publish


def lying(models: ReleasedModels) -> str:
    """A release whose manifest has the labels of the others, and whose model has not."""
    models.head(2, labels=("refund", "login", "fraud"))
    return models.release("triage", "shop").version


def named_wrongly(models: ReleasedModels) -> str:
    models.head(2)
    return models.release("triage", "toys").version


def measured_with(provider: str) -> Evaluation:
    return Evaluation(
        "fitted", "1", "tiny-fp32", "1", ServedBy(provider, "a device", 1, "1.22"), 100, "0" * 64
    )


def damaged_manifest(models: ReleasedModels) -> str:
    models.head(2)
    release = models.release("triage", "shop")
    flip(models.registry / "releases" / "triage" / f"{release.version}.json")
    return release.version


NAN = np.full(96, np.nan, "<f4").tobytes()
REFUSED = {
    "a graph that was cut": (damaged("fp32.onnx", cut), "damaged"),
    "a graph with a flipped bit": (damaged("fp32.onnx", flip), "damaged"),
    "a graph that is gone": (damaged("fp32.onnx", Path.unlink), "lacks the object"),
    "a tokenizer that was cut": (damaged("tokenizer.json", cut), "damaged"),
    "a tokenizer with a flipped bit": (damaged("tokenizer.json", flip), "damaged"),
    "a head that was cut": (damaged("head.msgpack", cut), "damaged"),
    "a head with a flipped bit": (damaged("head.msgpack", flip), "damaged"),
    "a manifest of the model that was cut": (damaged("fp32.json", cut), "damaged"),
    "a manifest of the release with a flipped bit": (damaged_manifest, "manifest"),
    "a graph that is none": (
        made(with_manifest(lambda folder, _: cut(folder / "fp32.onnx"))),
        "another build",
    ),
    "a head that is none": (
        made(lambda home: cut(next(home.glob("heads/shop/*/head.msgpack")))),
        "is damaged",
    ),
    "another tokenizer than that of the manifest": (
        made(lambda home: (home / "models/tiny/tokenizer.json").write_text("{}")),
        "absent or damaged",
    ),
    "another tokenizer than that of the fit": (
        made(with_manifest(lambda folder, _: (folder / "tokenizer.json").write_text("{}"))),
        "another build",
    ),
    "another encoder than that of the fit": (
        made(another_encoder),
        "another build",
    ),
    "another length of rows": (
        made(with_manifest(lambda _, manifest: manifest.update(max_tokens=20))),
        "another build",
    ),
    "no encoder": (made(lambda home: (home / "models/tiny/fp32.json").unlink()), "tiny-fp32"),
    "no head": (made(lambda home: next(home.glob("heads/shop/current")).unlink()), "'shop'"),
    "other labels than those before": (
        of_head(("refund", "login", "fraud")),
        "'fraud' new and 'parcel' missing",
    ),
    "fewer labels": (of_head(("refund", "login")), "'parcel' missing"),
    "other labels than its manifest has": (lying, "other labels than its manifest says"),
    "weights that are no numbers": (of_head(weights=NAN), "no numbers"),
    "biases that are no numbers": (of_head(bias=NAN[:12]), "no numbers"),
    "weights of another shape": (of_head(weights=NAN[:40]), "shape"),
    "a temperature of zero": (of_head(temperature=0.0), "no numbers"),
    "a closed gate": (
        made(gate=Gate({"min_share": 0.97}, passed=False, failures=("It kept 91 %.",))),
        "It kept 91 %",
    ),
    "no gate": (made(gate=None), "not measured"),
    "no lineage": (made(origin=Origin(" ")), "lineage is missing"),
    "figures of another provider": (made(metrics=measured_with("cuda")), "'cuda'"),
    "a graph for another device": (
        made(with_manifest(lambda _, manifest: manifest.update(device="cuda"))),
        "cuda",
    ),
    "a later format": (made(format=99), "format 99"),
    "a name that it has no files for": (named_wrongly, "toys"),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_it_is_refused_and_the_worker_serves_on(
    models: ReleasedModels, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    publish, words = REFUSED[kind]
    good = models.triage(1)
    models.promote(good)
    async with serving(models) as (edge, client):
        before = await client.request("triage", "my card is broken")
        models.home = models.home.with_name("another publisher")
        bad = publish(models)
        models.promote(bad)
        follower = edge.serving.follower
        assert follower is not None
        for _ in range(3):
            await follower.look()
        (alias,) = follower.followed[0].aliases.values()
        reason = alias.refusals[bad].reason
        assert words in reason
        assert "\n" not in reason
        assert "Traceback" not in caplog.text
        assert sum("is refused" in record.message for record in caplog.records) == 1, (
            "each reason is told once"
        )
        again = await client.request("triage", "my card is broken", model=f"triage@{good}")
        assert (before.reply.release, again.reply.release) == (good, good)
        assert again.output == before.output
        assert (await client.request("triage", "where is my parcel")).reply.release == good
        page = edge.serving.metrics.render().decode()
        assert 'inferstream_release_refusals_total{task="triage"} 1.0' in page
        assert 'inferstream_release_behind{alias="prod",task="triage"} 1.0' in page
        assert len(list(edge.serving.engine.devices)) == 1, "what was loaded of it is freed"
        models.promote(good)
        await follower.look()
        assert not alias.refusals
        assert (
            'inferstream_release_behind{alias="prod",task="triage"} 0.0'
            in edge.serving.metrics.render().decode()
        )


async def embeds(
    models: ReleasedModels, damage: Callable[[Path], object] | None, words: str, **registry: Any
) -> None:
    """A release of an encoder for the task `embed` is refused."""
    models.encoder(1)
    good = models.release("embed", "tiny-fp32").version
    models.promote(good, task="embed")
    async with serving(models, "embed", **registry) as (edge, client):
        models.home = models.home.with_name("another publisher")
        models.encoder(2)
        bad = models.release("embed", "tiny-fp32", damage).version
        models.promote(bad, task="embed")
        assert edge.serving.follower is not None
        await edge.serving.follower.look()
        (alias,) = edge.serving.follower.followed[0].aliases.values()
        assert words in alias.refusals[bad].reason
        assert (await client.request("embed", "my card is broken")).reply.release == good


def wider(path: Path, dimensions: int = 48) -> None:
    """A graph whose vectors are longer."""
    model = onnx.load(path)
    output = model.graph.output[0]
    zeros = numpy_helper.from_array(np.zeros((32, dimensions), np.float32), "wider")
    model.graph.initializer.append(zeros)
    model.graph.node.append(onnx.helper.make_node("MatMul", [output.name, "wider"], ["longer"]))
    shape = onnx.helper.make_tensor_value_info("longer", onnx.TensorProto.FLOAT, ["rows", dimensions])
    model.graph.output[0].CopyFrom(shape)
    onnx.save(model, path)


async def test_vectors_of_other_dimensions_than_the_manifest_says(models: ReleasedModels) -> None:
    damage = with_manifest(lambda folder, _: wider(folder / "fp32.onnx"))
    await embeds(models, damage, "makes vectors of 48 dimensions, and its manifest says 32")


async def test_vectors_of_other_dimensions_than_those_before(models: ReleasedModels) -> None:
    def change(folder: Path, manifest: dict[str, Any]) -> None:
        wider(folder / "fp32.onnx")
        manifest["dimensions"] = 48

    await embeds(models, with_manifest(change), "keep_labels = false")


async def test_a_graph_with_an_array_of_no_numbers(models: ReleasedModels) -> None:
    await embeds(
        models, with_manifest(lambda folder, _: with_nan(folder / "fp32.onnx")), "holds no numbers (NaN)"
    )


async def test_a_graph_that_is_none(models: ReleasedModels) -> None:
    await embeds(models, with_manifest(lambda folder, _: cut(folder / "fp32.onnx")), "cannot be read")


async def test_a_tokenizer_with_more_tokens_than_the_graph(models: ReleasedModels) -> None:
    def change(folder: Path, _: dict[str, Any]) -> None:
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        vocabulary = tokenizer["model"]["vocab"]
        for piece in list(vocabulary):
            vocabulary[piece] += 500 if piece[0] != "[" else 0
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))

    await embeds(models, with_manifest(change), "")


async def test_one_that_is_too_large_for_the_memory_and_one_that_fits_later(models: ReleasedModels) -> None:
    models.encoder(1)
    good = models.release("embed", "tiny-fp32")
    models.promote(good.version, task="embed")
    limit = good.size_bytes * 3  # a model takes twice its files
    async with serving(models, "embed", memory_bytes=limit) as (edge, client):
        models.home = models.home.with_name("another publisher")
        models.encoder(2)
        other = models.release("embed", "tiny-fp32")
        models.promote(other.version, task="embed")
        follower = edge.serving.follower
        assert follower is not None
        await follower.look()
        (alias,) = follower.followed[0].aliases.values()
        refusal = alias.refusals[other.version]
        assert "raise `memory_bytes`" in refusal.reason
        assert refusal.again_at < float("inf"), "the fault may pass"
        assert (await client.request("embed", "my card")).reply.release == good.version


async def test_labels_may_change_where_the_settings_allow_it(models: ReleasedModels) -> None:
    models.promote(models.triage(1))
    async with serving(models, keep_labels=False) as (edge, client):
        models.head(2, labels=("refund", "login", "fraud"))
        other = models.release("triage", "shop", labels=("refund", "login", "fraud"), gate=PASSED).version
        models.promote(other)
        assert edge.serving.follower is not None
        await edge.serving.follower.look()
        answer = await client.request("triage", "my card is broken", model=PROD)
        assert answer.reply.release == other


async def test_the_first_release_of_a_worker_is_checked_as_well(models: ReleasedModels) -> None:
    models.head(2, weights=NAN)
    bad = models.release("triage", "shop").version
    models.promote(bad)
    with pytest.raises(Exception, match="no numbers"):
        async with serving(models):
            pass


def test_a_gate_that_was_forced_is_open() -> None:
    assert replace(PASSED, passed=False, forced=True).open
