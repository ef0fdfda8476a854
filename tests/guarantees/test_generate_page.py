"""What docs/generate.md says: its JSON is that of the golden bytes, its commands work."""

import asyncio
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import ROOT
from support.decoder_home import with_decoder
from support.steps_worker import topics_there

from inferstream.pipeline.tasks.generate.options import WANTED
from inferstream.schemas.topics import Topics

PAGE = (ROOT / "docs" / "generate.md").read_text()
GOLDEN = ROOT / "tests" / "schemas" / "golden" / "v1"
PATIENCE_S = 60.0


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [block for name, block in found if name == language]


def test_the_examples_are_the_golden_bytes() -> None:
    (examples,) = blocks("json")
    golden = {path.read_bytes().decode() for path in GOLDEN.glob("*.json")}
    assert set(examples.splitlines()) <= golden
    assert len(examples.splitlines()) == 3


def test_all_options_are_in_the_table() -> None:
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert WANTED.keys() <= named


@pytest.mark.kafka
def test_the_commands_ask_and_read(
    kafka: str, unique: str, kcat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kcat and jq as the page has them, with other names of broker and prefix, and an end to reading."""
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "home"))
    with_decoder(tmp_path)
    (commands,) = (block for block in blocks("") if "kcat" in block)
    topics = Topics("generate", unique)
    for old, new in {"broker:9092": kafka, "inferstream.generate": f"{unique}.generate"}.items():
        commands = commands.replace(old, new)
    ask, read = commands.splitlines()
    read = read.replace("-C -q", "-C -e -q")
    whole = (
        f"{kcat} -C -e -q -b {kafka} -t {topics.replies} -o beginning | jq -c 'select(.type == \"result\")'"
    )
    with subprocess.Popen([sys.executable, "-m", "support.generate_worker", kafka, unique]) as worker:
        try:
            asyncio.run(topics_there(kafka, topics))
            subprocess.run(["bash", "-c", ask], check=True, timeout=PATIENCE_S)
            end = time.monotonic() + PATIENCE_S
            while not (result := output_of(whole)):
                assert time.monotonic() < end
            text = json.loads(result)["output"]["choices"][0]["text"]
            shown = output_of(read).decode()
        finally:
            worker.terminate()
    assert shown
    assert text.startswith(shown)


def output_of(command: str) -> bytes:
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, timeout=PATIENCE_S, check=False
    ).stdout
