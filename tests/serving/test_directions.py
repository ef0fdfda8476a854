"""One worker with two translators: the options of a request choose the direction."""

from pathlib import Path

import pytest
from support.tiny_marian import write_tiny_marian

from inferstream.pipeline.config import Config
from inferstream.pipeline.errors import UnknownModel, WrongType
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.translators import import_translator
from inferstream.pipeline.serving.edge import Edge
from inferstream.pipeline.tasks.settings import load_config

DIRECTIONS = ("xxyy", "yyxx")
SETTINGS = """
[cache]
enabled = false
[retries]
max_attempts = 1
[translate]
model = "translate-xx-yy-fp32"
models = ["translate-yy-xx-fp32"]
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "home"))
    for seed, direction in enumerate(DIRECTIONS):
        folder = write_tiny_marian(tmp_path / direction, seed)
        for path in list(folder.iterdir()):
            path.rename(folder / path.name.replace("xxyy", direction))
        import_translator(ModelRegistry(), folder, lambda step, done, total: None)
    path = tmp_path / "settings.toml"
    path.write_text(SETTINGS)
    return load_config(path)


async def test_the_languages_of_a_request_choose_the_model(config: Config) -> None:
    async with Edge(config, task="translate") as client:
        plain = await client.request("translate", "my card")
        there = await client.request("translate", "my card", options={"source": "xx", "target": "yy"})
        back = await client.request("translate", "my card", options={"source": "yy"})
        with pytest.raises(
            UnknownModel, match="no model for source 'xx' and target 'zz' here; this worker has: "
        ):
            await client.request("translate", "my card", options={"source": "xx", "target": "zz"})
        with pytest.raises(
            WrongType, match="option 'source' must be 'xx' with translate-xx-yy-fp32, not 'yy'"
        ):
            await client.request(
                "translate", "my card", model="translate-xx-yy-fp32", options={"source": "yy"}
            )
    assert plain.reply.model == there.reply.model == "translate-xx-yy-fp32"
    assert plain.output == there.output
    assert (there.output.source, there.output.target) == ("xx", "yy")
    assert back.reply.model == "translate-yy-xx-fp32"
    assert (back.output.source, back.output.target) == ("yy", "xx")
