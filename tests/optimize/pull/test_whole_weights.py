"""Weights in parts are joined; pickles are refused unless the user takes the risk."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.file_server import serve
from support.tiny_families import write_tiny
from support.tiny_hub import COMMIT, REPOSITORY, make_it_the_hub, serve_hub

from inferstream.pipeline.errors import ModelError, UsageError
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.plans import WEIGHTS
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.optimize.pull.whole_weights import whole_weights

INDEX = "model.safetensors.index.json"


def quiet(step: str, done: int, total: int | None) -> None:
    pass


def in_parts(folder: Path, more: int = 1) -> Path:
    """The tiny DistilBERT with its weights in two files."""
    write_tiny(folder, "distilbert")
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    files = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(weights)}
    for file in set(files.values()):
        part = {name: array for name, array in weights.items() if files[name] == file}
        save_file(part | {f"vocab_projector.{file[:11]}": np.zeros(more, np.float32)}, folder / file)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return folder


def test_parts_make_the_model_that_the_whole_makes(tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path / "home")
    whole = pull(registry, "whole", quiet, folder=write_tiny(tmp_path / "whole", "distilbert"))
    parts = pull(registry, "parts", quiet, folder=in_parts(tmp_path / "parts"))
    assert [one.graph_sha256 for one in parts] == [one.graph_sha256 for one in whole]
    assert parts[0].source == f"the folder {tmp_path / 'parts'}"
    assert pull(registry, "parts", quiet, folder=tmp_path / "parts") == parts


def test_parts_of_a_model_on_the_hub_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as server:
        serve_hub(server, in_parts(tmp_path / "hub", more=20_000))
        make_it_the_hub(server, monkeypatch)
        registry = ModelRegistry(tmp_path / "home")
        (first, _) = pull(registry, REPOSITORY, quiet)
        assert first.revision == COMMIT
        server.asked.clear()
        again = pull(registry, REPOSITORY, quiet)
        assert again[0] == first
        assert not any(path.endswith(".safetensors") for path, _ in server.asked)


def test_wrong_parts_are_refused(tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "a")
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UsageError, match=r"no file model-00002-of-00002\.safetensors"):
        pull(ModelRegistry(tmp_path / "home"), "mine", quiet, folder=folder)
    folder = in_parts(tmp_path / "b")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": "../../secret.safetensors"}}))
    with pytest.raises(UsageError, match="no file of weights"):
        pull(ModelRegistry(tmp_path / "home"), "mine", quiet, folder=folder)
    folder = in_parts(tmp_path / "c")
    first, second = sorted(folder.glob("model-*.safetensors"))
    second.write_bytes(first.read_bytes())
    with pytest.raises(ModelError, match="which another part has too"):
        pull(ModelRegistry(tmp_path / "home"), "mine", quiet, folder=folder)
    second.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="Cannot read the weights"):
        pull(ModelRegistry(tmp_path / "home"), "mine", quiet, folder=folder)


class Touch:
    """What a pickle may hold: a call of anything, made when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def only_pickled(folder: Path, content: object) -> Path:
    write_tiny(folder, "distilbert")
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(content))
    return folder


def test_a_pickle_is_not_read_unless_it_is_asked_for(tmp_path: Path) -> None:
    folder = only_pickled(tmp_path / "hub", Touch(tmp_path / "ran"))
    registry = ModelRegistry(tmp_path / "home")
    with pytest.raises(UsageError, match=r"can run any program.*--from FOLDER --weights-may-run-code"):
        pull(registry, "mine", quiet, folder=folder)
    with pytest.raises(UsageError, match=r"give --from FOLDER"):
        pull(registry, "org/name", quiet, pickled=True)
    with (
        pytest.raises(UsageError, match="leave --weights-may-run-code out"),
        whole_weights(write_tiny(tmp_path / "whole", "bert"), pickled=True),
    ):
        pass
    assert not (tmp_path / "ran").exists()


@pytest.mark.optimize
def test_a_pickle_of_tensors_makes_the_same_model_and_one_of_code_is_refused(tmp_path: Path) -> None:
    import torch

    registry = ModelRegistry(tmp_path / "home")
    whole = pull(registry, "whole", quiet, folder=write_tiny(tmp_path / "whole", "distilbert"))
    folder = only_pickled(tmp_path / "hub", Touch(tmp_path / "ran"))
    with pytest.raises(ModelError, match="no set of tensors that torch reads safely"):
        pull(registry, "mine", quiet, folder=folder, pickled=True)
    assert not (tmp_path / "ran").exists()
    weights = load_file(tmp_path / "whole" / WEIGHTS)
    torch.save({name: torch.tensor(one) for name, one in weights.items()}, folder / "pytorch_model.bin")
    made = pull(registry, "mine", quiet, folder=folder, pickled=True)
    assert [one.graph_sha256 for one in made] == [one.graph_sha256 for one in whole]
