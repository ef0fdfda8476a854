"""What docs/streaming.md says about the wire: its JSON is that of the golden bytes, its commands and its join work."""

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT
from support.steps_worker import served_steps

from inferstream.schemas.topics import Topics

PAGE = (ROOT / "docs" / "streaming.md").read_text()
GOLDEN = ROOT / "tests" / "schemas" / "golden" / "v1"
PATIENCE_S = 60.0


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [block for name, block in found if name == language]


def join(shown: list[str], chunk: dict[str, Any]) -> list[str]:
    """The function of the page."""
    (code,) = (block for block in blocks("python") if "def join" in block)
    names: dict[str, Any] = {}
    exec(code, names)
    found: list[str] = names["join"](shown, chunk)
    return found


def test_the_examples_are_the_golden_bytes() -> None:
    examples = "".join(blocks("json"))
    golden = {path.read_bytes().decode() for path in GOLDEN.glob("*.json")}
    assert set(examples.splitlines()) <= golden
    assert len(examples.splitlines()) == 6


@given(st.lists(st.lists(st.integers(1, 5), max_size=6), min_size=1, max_size=4))
def test_chunks_of_any_cut_and_repetition_join_to_a_start_of_the_answer(deliveries: list[list[int]]) -> None:
    whole = list("abcdefghijklmnopqrstuvwxyzabcd")
    shown: list[str] = []
    for sizes in deliveries:
        start = 0
        for size in sizes:
            shown += join(shown, {"from": start, "output": whole[start : start + size]})
            start += size
    assert shown == whole[: max(sum(sizes) for sizes in deliveries)]


@pytest.mark.kafka
def test_the_commands_ask_and_read(kafka: str, unique: str, kcat: Path) -> None:
    """kcat and jq as the page has them, with other names of broker, prefix and task, and an end to reading."""
    (commands,) = blocks("")
    topics = Topics("steps", unique)
    text = "Tell me a story " * 20
    names = {"broker:9092": kafka, "inferstream.generate": f"{unique}.steps", "Tell me a story": text.strip()}
    for old, new in names.items():
        commands = commands.replace(old, new)
    ask, read = commands.splitlines()
    with served_steps(kafka, topics):
        subprocess.run(["bash", "-c", ask], check=True, timeout=PATIENCE_S)
        end = time.monotonic() + PATIENCE_S
        lines: list[Any] = []
        while not lines or lines[-1][0] == "chunk":
            assert time.monotonic() < end, lines
            done = subprocess.run(
                ["bash", "-c", read.replace("-C -q", "-C -e -q")], capture_output=True, timeout=PATIENCE_S
            )
            lines = [json.loads(line) for line in done.stdout.splitlines()]
    shown: list[str] = []
    for kind, start, output in lines[:-1]:
        assert kind == "chunk"
        shown += join(shown, {"from": start, "output": output})
    assert shown
    kind, start, output = lines[-1]
    assert (kind, start, output["text"]) == ("result", None, text.strip())
    assert text.startswith("".join(shown))
