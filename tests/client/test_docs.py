"""Each block of Python in the pages for users of the client runs as it stands."""

import asyncio
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from support.responder import Responder, responder_thread

import inferstream
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.pulling import pull

PAGES = [ROOT / "docs" / "client.md", ROOT / "README.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Responder]:
    """A responder in the place of the workers on the Kafka at 127.0.0.1:9092."""
    pull(ModelRegistry(), "minilm", lambda step, done, total: None)  # for Edge, as a user has it
    for kind in (inferstream.Client, inferstream.SyncClient):

        def of_folder(address: str, *, kind: Any = kind, **how: Any) -> Any:
            assert address == "127.0.0.1:9092"
            return kind(embedded=tmp_path, **how)

        monkeypatch.setattr(inferstream, kind.__name__, of_folder)
    with responder_thread(tmp_path) as responder:
        yield responder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run_one_after_another(page: Path, worker: Responder) -> None:
    namespace: dict[str, Any] = {"__name__": "page"}
    blocks = BLOCK.findall(page.read_text())
    assert blocks
    for block in blocks:
        exec(compile(block, page.name, "exec"), namespace)
    assert worker.texts[0] == "I was charged twice"
    tests = [function for name, function in namespace.items() if name.startswith("test_")]
    assert bool(tests) == (page.name == "client.md")
    for test in tests:
        asyncio.run(test()) if inspect.iscoroutinefunction(test) else test()
