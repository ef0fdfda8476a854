"""A classifier behind the queue: answers, options, the cache, and two variants of it."""

from pathlib import Path

import pytest
from support.tiny_families import LABELS, write_tiny

from inferstream import ClassifyOutput, Config, Edge, WrongType
from inferstream.pipeline.config import CacheConfig
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.pulling import pull


async def test_a_classifier_is_served_over_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "home"))
    folder = write_tiny(tmp_path / "hub", "roberta", classifier=True)
    pull(ModelRegistry(), "classifier", lambda *_: None, folder=folder)
    config = Config(cache=CacheConfig(disk_bytes=0))
    async with Edge(config, tasks={"classify": ["classifier", "classifier-fp32"]}) as client:
        text = "my card is broken"
        first = await client.request("classify", text)
        again = await client.request("classify", text)
        exact = await client.request("classify", text, model="classifier-fp32", options={"top_k": 1})
        long = await client.request("classify", "the parcel is late " * 60)
        with pytest.raises(WrongType, match="threshold"):
            await client.request("classify", text, options={"threshold": 7})
    assert isinstance(first.output, ClassifyOutput)
    assert {one.label for one in first.output.scores} == set(LABELS.values())
    assert first.output == again.output
    assert again.reply.cache == "memory"
    assert len(exact.output.scores) == 1
    assert exact.output.score == pytest.approx(first.output.score, abs=0.1)
    assert long.output.windows > 1
