"""The tree of kept beginnings: what it finds is what was added, and what was used longest ago goes first."""

from hypothesis import given, settings
from hypothesis import strategies as st

from inferstream.pipeline.runtime.prefix_index import BLOCK, PrefixIndex

SLOTS = 12
blocks = st.integers(0, 2).map(lambda token: [token] * BLOCK)
prompts = st.lists(blocks, max_size=SLOTS + 3).map(lambda parts: [token for part in parts for token in part])
scopes = st.sampled_from(["", "acme", "other"])


def text(*parts: int, rest: int = 0) -> list[int]:
    return [token for part in parts for token in [part] * BLOCK] + [9] * rest


@settings(max_examples=200)
@given(
    steps=st.lists(st.tuples(st.booleans(), scopes, prompts, st.integers(0, 2 * BLOCK)), max_size=40),
    slots=st.integers(1, SLOTS),
)
def test_a_slot_that_is_found_holds_the_block_and_all_before_it(
    steps: list[tuple[bool, str, list[int], int]], slots: int
) -> None:
    index = PrefixIndex(slots)
    written: dict[int, tuple[str, list[int]]] = {}
    for adding, scope, prompt, rest in steps:
        whole = [*prompt, *range(rest)]
        if adding:
            added = index.add(scope, whole, len(whole))
            for number, slot in enumerate(added.slots, added.first):
                written[slot] = (scope, whole[: (number + 1) * BLOCK])
        found = index.find(scope, whole, len(whole))
        assert len(found) == len(set(found)) <= len(index) <= slots
        for number, slot in enumerate(found):
            assert written[slot] == (scope, whole[: (number + 1) * BLOCK])
        if adding:
            assert len(found) == min(slots, len(whole) // BLOCK)


def test_what_was_used_longest_ago_goes_first() -> None:
    index = PrefixIndex(4)
    index.add("", text(0, 1), 2 * BLOCK)
    index.add("", text(2, 3), 2 * BLOCK)
    assert len(index.find("", text(0, 1), 2 * BLOCK)) == 2
    index.add("", text(0, 4, 5), 3 * BLOCK)
    assert len(index.find("", text(0, 1), 2 * BLOCK)) == 2, "what both share is there once"
    assert index.find("", text(2, 3), 2 * BLOCK) == []
    index.add("", text(6, 7, 8), 3 * BLOCK)
    assert len(index.find("", text(0, 1), 2 * BLOCK)) == 1, "the end goes before what leads to it"
    assert len(index.find("", text(0, 4), 2 * BLOCK)) == 1


def test_a_prompt_without_room_keeps_its_beginning() -> None:
    index = PrefixIndex(3)
    prompt = text(0, 1, 2, 3, 4)
    assert len(index.add("", prompt, len(prompt)).slots) == 3
    assert index.add("", prompt, len(prompt)).slots == []
    assert len(index.find("", prompt, len(prompt))) == 3
    assert PrefixIndex(0).add("", prompt, len(prompt)).slots == []


def test_only_whole_blocks_within_the_count() -> None:
    index = PrefixIndex(4)
    prompt = text(0, 1, rest=BLOCK - 1)
    assert len(index.add("", prompt, len(prompt)).slots) == 2
    assert len(index.find("", prompt, 2 * BLOCK - 1)) == 1
    assert index.find("", [], 0) == []


def test_equal_hashes_are_no_equal_tokens() -> None:
    """-1 and -2 have one hash in CPython."""
    assert hash((-1,) * BLOCK) == hash((-2,) * BLOCK)
    index = PrefixIndex(2)
    index.add("", [-1] * BLOCK, BLOCK)
    assert index.find("", [-2] * BLOCK, BLOCK) == []


def test_a_forgotten_index_is_empty() -> None:
    index = PrefixIndex(3)
    index.add("", text(0, 1), 2 * BLOCK)
    index.clear()
    assert len(index) == 0
    assert index.find("", text(0, 1), 2 * BLOCK) == []
    assert len(index.add("", text(2, 3, 4), 3 * BLOCK).slots) == 3


def test_nothing_remains_of_tenants_that_went() -> None:
    index = PrefixIndex(2)
    for number in range(100):
        index.add(f"tenant-{number}", text(number % 3), BLOCK)
    assert len(index) == len(index._root.children) == 2
