"""Models of the hub by their id, from a server with the hub's addresses."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from support.file_server import FileServer, serve
from support.tiny_hub import COMMIT, REPOSITORY, make_it_the_hub, serve_hub
from support.tiny_model import write_tiny_model

from inferstream.pipeline.errors import InferstreamError, ModelError, UsageError
from inferstream.pipeline.models.fetching import Downloader
from inferstream.pipeline.models.http import Corrupted, Unreachable
from inferstream.pipeline.models.hub import HubId, list_files, parse_hub_id

INFO = f"/api/models/{REPOSITORY}/revision/main?blobs=true"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    with serve() as server:
        make_it_the_hub(server, monkeypatch)
        serve_hub(server, write_tiny_model(tmp_path / "model"))
        yield server


@pytest.fixture
def downloader() -> Iterator[Downloader]:
    with Downloader(lambda *_: None, lambda _: None) as downloader:
        yield downloader


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sentence-transformers/all-MiniLM-L6-v2", ("sentence-transformers/all-MiniLM-L6-v2", "main")),
        ("a/b@v1.0", ("a/b", "v1.0")),
        ("a/b@refs/pr/7", ("a/b", "refs/pr/7")),
        (f"a/b@{COMMIT}", ("a/b", COMMIT)),
        ("minilm", None),
        ("../mine", None),
        ("/etc/passwd", None),
        ("a/b/c", None),
        ("a/b@", None),
        ("https://hub/a/b", None),
        ("", None),
    ],
)
def test_ids(text: str, expected: tuple[str, str] | None) -> None:
    assert parse_hub_id(text) == (HubId(*expected) if expected else None)


def test_names_here() -> None:
    assert HubId("a/all-MiniLM_L6.v2", "main").model_name == "all-minilm_l6.v2"
    assert HubId("a/X--y-", "main").model_name == "x-y"
    assert (HubId("a/b", COMMIT).is_commit, HubId("a/b", "main").is_commit) == (True, False)


def test_files_at_the_commit_of_a_branch(server: FileServer, downloader: Downloader, tmp_path: Path) -> None:
    found = list_files(HubId(REPOSITORY, "main"), downloader)
    assert found.commit == COMMIT
    assert {"config.json", "tokenizer.json", "model.safetensors"} < found.names
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    assert found.pinned("model.safetensors").size_bytes == len(weights)
    found.fetch_small("config.json", tmp_path / "deep" / "config.json")
    expected = (tmp_path / "model" / "config.json").read_bytes()
    assert (tmp_path / "deep" / "config.json").read_bytes() == expected
    assert server.asked[-1][0] == f"/{REPOSITORY}/resolve/{COMMIT}/config.json"


def test_the_users_token_is_sent(
    server: FileServer, downloader: Downloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    list_files(HubId(REPOSITORY, "main"), downloader)
    assert server.tokens == ["Bearer secret"]


def test_a_small_file_with_another_digest_is_refused(
    server: FileServer, downloader: Downloader, tmp_path: Path
) -> None:
    found = list_files(HubId(REPOSITORY, "main"), downloader)
    server.files[f"/{REPOSITORY}/resolve/{COMMIT}/config.json"] += b" "
    with pytest.raises(Corrupted, match=r"config\.json"):
        found.fetch_small("config.json", tmp_path / "config.json")
    assert not (tmp_path / "config.json").exists()


def test_files_that_are_not_there(server: FileServer, downloader: Downloader) -> None:
    found = list_files(HubId(REPOSITORY, "main"), downloader)
    with pytest.raises(UsageError, match=r"has no weights\.bin"):
        found.pinned("weights.bin")
    with pytest.raises(ModelError, match=r"digest of config\.json"):
        found.pinned("config.json")


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (401, ModelError, "HF_TOKEN"),
        (403, ModelError, "accept its terms"),
        (404, ModelError, "check the name and the revision"),
        (429, Unreachable, "status 429"),
        (503, Unreachable, "status 503"),
    ],
)
def test_what_the_hub_says_becomes_a_sentence(
    server: FileServer, downloader: Downloader, status: int, kind: type[InferstreamError], sentence: str
) -> None:
    server.statuses = [status] * 9
    with pytest.raises(kind, match=sentence) as caught:
        list_files(HubId(REPOSITORY, "main"), downloader)
    assert REPOSITORY in str(caught.value)


def test_a_short_failure_of_the_hub_is_waited_out(server: FileServer, downloader: Downloader) -> None:
    server.statuses = [502, 503]
    assert list_files(HubId(REPOSITORY, "main"), downloader).commit == COMMIT


@pytest.mark.parametrize(
    "answer", [b"<html>", b"{}", b'{"sha": 1}', json.dumps({"sha": "a"}).encode(), b"\xff"]
)
def test_an_answer_that_is_not_the_hubs(server: FileServer, downloader: Downloader, answer: bytes) -> None:
    server.files[INFO] = answer
    with pytest.raises(ModelError, match="does not answer like a model hub"):
        list_files(HubId(REPOSITORY, "main"), downloader)


def test_a_hub_that_is_switched_off_or_away(
    server: FileServer, downloader: Downloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        list_files(HubId(REPOSITORY, "main"), downloader)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Unreachable, match="HF_HUB_OFFLINE"):
        list_files(HubId(REPOSITORY, "main"), downloader)
