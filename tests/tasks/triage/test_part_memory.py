"""The weights of many fitted models: those used last are in memory, and the answers do not show it."""

import gc
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.static_tiers import save_static_head

from inferstream.pipeline.errors import ModelError, UnknownModel
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.runtime.graph import NoGraph
from inferstream.pipeline.tasks.base import Ask, Task
from inferstream.pipeline.tasks.triage.head import HeadStore
from inferstream.pipeline.tasks.triage.loading import load_triage
from inferstream.pipeline.tasks.triage.part_memory import PartMemory
from inferstream.pipeline.tasks.triage.settings import TriageSettings
from inferstream.pipeline.tasks.triage.shared import Shared

LABELS = ("refund", "login", "parcel")
TEXTS = ("my parcel is late", "i want my money", "the login is broken")
TENANTS = 40


class Owner:
    """What a part belongs to."""


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 30), st.lists(st.integers(0, 11)))
def test_what_is_kept_is_within_the_bound_and_every_part_is_found(
    sizes: list[int], bound: int, uses: list[int]
) -> None:
    memory = PartMemory(bound)
    owners = [Owner() for _ in sizes]
    parts = [
        memory.keep(owner, number, size, lambda number=number: number)  # type: ignore[misc]
        for number, (owner, size) in enumerate(zip(owners, sizes, strict=True))
    ]
    for use in uses:
        number = use % len(parts)
        assert parts[number]() == number
        assert memory.bytes <= max(bound, *sizes)


def test_the_part_that_was_used_longest_ago_leaves_first() -> None:
    memory = PartMemory(2)
    read: list[str] = []
    owner = Owner()

    def part(name: str) -> Any:
        return memory.keep(owner, name, 1, lambda: read.append(name) or name)  # type: ignore[func-returns-value]

    first, second, third = part("first"), part("second"), part("third")
    assert [second(), third()] == ["second", "third"]
    assert read == []
    assert first() == "first"
    assert read == ["first"]
    assert third() == "third"
    assert second() == "second"
    assert read == ["first", "second"]


def test_a_part_leaves_with_its_owner() -> None:
    memory = PartMemory(100)
    owner = Owner()
    memory.keep(owner, "part", 7, lambda: "part")
    assert memory.bytes == 7
    del owner
    gc.collect()
    assert memory.bytes == 0


def test_several_threads_use_it_at_once() -> None:
    memory = PartMemory(3)
    owner = Owner()
    parts = [memory.keep(owner, number, 1, lambda number=number: number) for number in range(9)]  # type: ignore[misc]
    wrong: list[int] = []

    def use() -> None:
        wrong.extend(turn for turn in range(3_000) if parts[turn % 9]() != turn % 9)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert memory.bytes == 3


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A fitted model for each of many tenants."""
    for number in range(TENANTS):
        save_static_head(tmp_path, f"shop-{number}", LABELS, seed=number)
    return tmp_path


def loaded(home: Path, shared: Shared, **settings: Any) -> dict[str, Task]:
    return {
        name: load_triage(ModelRegistry(home), name, TriageSettings(**settings), shared).make(NoGraph())
        for name in HeadStore(home).names()
    }


def answer(task: Task, text: str) -> dict[str, Any]:
    (prepared,) = task.prepare([Ask(text, task.options({}))])
    found: dict[str, Any] = json.loads(prepared)  # type: ignore[arg-type]
    return found


def test_models_beyond_the_bound_answer_as_if_all_were_in_memory(home: Path) -> None:
    roomy, narrow = Shared(), Shared()
    all_in_memory = loaded(home, roomy)
    some_in_memory = loaded(home, narrow, fitted_bytes=roomy.memory.bytes // 10)
    assert narrow.memory.bytes <= roomy.memory.bytes // 10
    turns = np.random.default_rng(0).integers(0, TENANTS, 200)
    for number, text in zip(turns, np.resize(TEXTS, len(turns)), strict=True):
        name = f"shop-{number}"
        assert answer(some_in_memory[name], text) == answer(all_in_memory[name], text)
    assert narrow.memory.bytes <= roomy.memory.bytes // 10
    different = {json.dumps(answer(task, TEXTS[0])) for task in all_in_memory.values()}
    assert len(different) > TENANTS // 2, "each tenant is answered by its own model"


@pytest.mark.parametrize("damage", ["absent", "truncated", "flipped"])
def test_damaged_files_fail_the_requests_of_their_model_alone(home: Path, damage: str) -> None:
    tasks = loaded(home, Shared(), fitted_bytes=1)
    for path in (home / "heads" / "shop-3").glob("*/static.safetensors"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.unlink()
        if damage != "absent":
            path.write_bytes(content if damage == "flipped" else content[:-9])
    with pytest.raises((ModelError, UnknownModel), match=r"absent or damaged"):
        answer(tasks["shop-3"], TEXTS[0])
    assert answer(tasks["shop-4"], TEXTS[0])["tier"] == "static"


def test_models_of_one_encoder_share_its_tokenizer(home: Path) -> None:
    tasks = loaded(home, Shared())
    assert len({id(task._tokenizer) for task in tasks.values()}) == 1  # type: ignore[attr-defined]
