"""How much memory is left: of the machine, and of each control group above this process."""

from pathlib import Path

import pytest
from support.decoders import session_of
from support.tiny_llama import tiny_tensors, write_tiny_gguf

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.graphs.llama.gguf_model import read_gguf_model
from inferstream.pipeline.runtime import memory_left as module
from inferstream.pipeline.runtime.generator import Generator, GeneratorSize
from inferstream.pipeline.runtime.memory_left import memory_left
from inferstream.pipeline.runtime.prefixes import Keeping
from inferstream.pipeline.runtime.sessions import Session


@pytest.fixture(scope="module")
def tiny_decoder(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_gguf(folder / "m.gguf", tiny_tensors(2), kind="Q4_1")
    return session_of(read_gguf_model(folder / "m.gguf"), "fp32", folder)


MACHINE = "MemTotal:       16000000 kB\nMemFree:  100 kB\nMemAvailable:   8000000 kB\n"


def left(folder: Path, files: dict[str, str], membership: str = "0::/pod/container\n") -> int | None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "membership").write_text(membership)
    return memory_left(folder / "meminfo", folder / "membership", folder / "groups")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"meminfo": "nonsense"}, None),
        ({"meminfo": MACHINE}, 8_192_000_000),
        ({"meminfo": MACHINE, "groups/memory.max": "max\n", "groups/memory.current": "5\n"}, 8_192_000_000),
        ({"meminfo": MACHINE, "groups/memory.max": "1000\n", "groups/memory.current": "400\n"}, 600),
        (
            {
                "groups/pod/memory.max": "1000",
                "groups/pod/memory.current": "900",
                "groups/pod/memory.stat": "anon 100\ninactive_file 300\n",
                "groups/pod/container/memory.max": "5000",
                "groups/pod/container/memory.current": "10",
            },
            400,
        ),
        ({"groups/memory.max": "1000", "groups/memory.current": "2000"}, 0),
    ],
)
def test_the_narrowest_limit_counts(tmp_path: Path, files: dict[str, str], expected: int | None) -> None:
    assert left(tmp_path, files) == expected


def test_groups_of_version_1_count(tmp_path: Path) -> None:
    files = {
        "groups/memory/pod/memory.limit_in_bytes": "1000",
        "groups/memory/pod/memory.usage_in_bytes": "100",
    }
    assert left(tmp_path, files, "5:memory:/pod\n3:cpu,cpuacct:/other\n") == 900


def test_more_than_there_is_is_refused_before_it_is_taken(
    tiny_decoder: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "memory_left", lambda: 0)
    with pytest.raises(UsageError) as refused:
        Generator(tiny_decoder, GeneratorSize(lanes=3, rows=250, context=1_000_000), Keeping(4_096))
    assert " lanes with 250 texts of " in str(refused.value)
    assert "and of 4096 tokens of kept prompts, need " in str(refused.value)
    assert "0.0 GB are left: lower `rows`, `context` or `prefix_tokens` in [generate]" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_lanes_that_come_later_are_counted_too(
    tiny_decoder: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = Generator(tiny_decoder, GeneratorSize(rows=2, context=64))
    monkeypatch.setattr(module, "memory_left", lambda: 0)
    generator.reserve(1)
    with pytest.raises(UsageError, match="of 2 lanes with 2 texts"):
        generator.reserve(3)
    assert len(generator._lanes) == 1
