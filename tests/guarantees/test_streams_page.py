"""What docs/streams.md says about the wire: its commands are run with kcat against a real Kafka."""

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from support import ROOT
from support.captions_worker import SLOW, captions_served, release

from inferstream.schemas.topics import Topics

PAGE = (ROOT / "docs" / "streams.md").read_text()
PATIENCE_S = 60.0


def commands() -> list[str]:
    """The lines of the block without a language."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (block,) = (block for language, block in blocks if not language)
    return block.splitlines()


def run(command: str) -> str:
    done = subprocess.run(
        ["bash", "-c", command], check=True, capture_output=True, text=True, timeout=PATIENCE_S
    )
    return done.stdout


def test_the_commands_supersede_and_read(kafka: str, unique: str, kcat: Path, tmp_path: Path) -> None:
    topics = Topics("translate", unique)
    ours = [
        line.replace("broker:9092", kafka).replace("inferstream.translate", f"{unique}.translate")
        for line in commands()
    ]
    *asking, reading = ours
    block = ours[0].replace("call-7/0/0", "block").replace("call-7", "block").replace("I was", SLOW)
    notes = tmp_path / "notes"
    with captions_served(kafka, topics, notes, tmp_path / "log"):
        run(block)
        end = time.monotonic() + PATIENCE_S
        while not notes.read_text():
            assert time.monotonic() < end
            time.sleep(0.05)
        for command in asking:
            run(command)
        lines: list[Any] = []
        while len(lines) < len(asking):
            assert time.monotonic() < end, lines
            lines = [json.loads(line) for line in run(reading.replace("-C -q", "-C -e -q")).splitlines()]
            if len(lines) == len(asking) - 1:  # what was superseded has ended
                release(notes)
    assert lines == [
        ["call-7/0/0", "failure", "superseded"],
        ["call-7/0/1", "failure", "superseded"],
        ["call-7/0/2", "result", None],
    ]
    assert notes.read_text().splitlines() == [SLOW, "I was charged twice."]
