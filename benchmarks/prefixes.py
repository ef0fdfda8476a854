"""What it brings to keep what was read of prompts, and what it costs: the generator alone, one core.

    python benchmarks/prefixes.py [--rounds 3] [--core 1]

Eight prompts with one system message arrive at once, 64 tokens each, greedy, and no stream ends before. In each round
three take turns: a generator that keeps nothing, one that has kept nothing yet (cold: it computes the system message
once in its turn), and one that has it (warm). A figure is the median of the rounds; the ratios are within a round.

Then the worst case: a stream of prompts that have nothing in common, when the memory is full.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, Final, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from inferstream.pipeline.lab.generation.bench_prompt import QUESTIONS
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.runtime.chat_template import ChatTemplate, read_chat
from inferstream.pipeline.runtime.generated_row import DECODE, PREFILL, GeneratedRow
from inferstream.pipeline.runtime.generator import Generator, GeneratorSize
from inferstream.pipeline.runtime.key_values import KeyValueMaker
from inferstream.pipeline.runtime.model import More
from inferstream.pipeline.runtime.prefixes import Keeping, PrefixMemory, RowPlace
from inferstream.pipeline.runtime.sessions import Session

GENERATED = 64
CONTEXT = 1024
KEPT = 4096
UNIQUE = 500
SYSTEM: Final = (
    "You are the assistant of a company that sells software for invoices. Answer in plain words and in at most three "
    "sentences. If a customer asks about a charge, name the page where charges are listed, and say that a refund takes "
    "five working days. If a customer cannot log in, ask which browser is used, and name the page that resets a "
    "password. If something does not work, ask for the version of the app and for the exact words of the message. "
    "Never promise a date, never name other customers, and never ask for a password or for the number of a card. If "
    "you do not know the answer, say so, and offer to pass it on to a person. End with the name of the team: billing, "
    "access or product."
)
LONGER: Final = (
    " I wrote about this last week and have had no answer. It concerns our whole team, and we need it for "
    "the audit."
)


class Turn(NamedTuple):
    """One turn: tokens per second until the last token, and the seconds until each first one."""

    per_second: float
    first_s: list[float]


class Watched(PrefixMemory):
    """Counts the seconds that finding, copying and keeping take."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seconds = 0.0

    def copy_to(self, *arguments: Any) -> int:
        began = time.perf_counter()
        read = super().copy_to(*arguments)
        self.seconds += time.perf_counter() - began
        return read

    def keep(self, *arguments: Any) -> None:
        began = time.perf_counter()
        super().keep(*arguments)
        self.seconds += time.perf_counter() - began


class Bench:
    """Two generators of one model: one keeps what it has read."""

    def __init__(self, name: str) -> None:
        manifest = ModelRegistry().load(name)
        session = Session(manifest.graph_path, provider="cpu")
        size = GeneratorSize(rows=len(QUESTIONS), context=CONTEXT)
        self.plain = Generator(session, size)
        self.keeping = Generator(session, size, Keeping(KEPT))
        self.memory = Watched(Keeping(KEPT), KeyValueMaker(session))
        self.keeping._prefixes = self.memory
        for generator in (self.plain, self.keeping):
            generator.warm_up()
        self._tokenizer = Tokenizer.from_file(manifest.tokenizer_path)
        self._template = ChatTemplate(read_chat(manifest.chat_path))

    def prompts(self, longer: bool) -> list[list[int]]:
        """Of a short question each, or of longer ones, up to four times the same words behind it."""
        texts = [
            question + LONGER * (number % 5 if longer else 0) for number, question in enumerate(QUESTIONS)
        ]
        return [self._prompt(text) for text in texts]

    def _prompt(self, question: str) -> list[int]:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
        return list(self._tokenizer.encode(self._template.text(messages)).ids)

    def forget(self) -> None:
        self.memory._index.clear()

    def unique(self, count: int) -> list[list[int]]:
        draws = np.random.default_rng(7)
        return [draws.integers(100, 40_000, UNIQUE).tolist() for _ in range(count)]


def turn(generator: Generator, prompts: Sequence[Sequence[int]], count: int = GENERATED) -> Turn:
    """All prompts at once: a chunk of the oldest one that is not read, then a step of all others, and so on."""
    rows = [GeneratedRow(prompt, count) for prompt in prompts]
    first: dict[int, float] = {}
    live = list(rows)
    began = time.perf_counter()
    while live:
        for batch in (
            [row for row in live if row.phase == PREFILL][:1],
            [row for row in live if row.phase == DECODE],
        ):
            for row, result in zip(batch, generator.step(batch) if batch else (), strict=True):
                if row.generated:
                    first.setdefault(id(row), time.perf_counter() - began)
                if not isinstance(result, More):
                    live.remove(row)
    seconds = time.perf_counter() - began
    return Turn(sum(len(row.generated) for row in rows) / seconds, [first[id(row)] for row in rows])


def shared(bench: Bench, rounds: int, longer: bool) -> None:
    prompts = bench.prompts(longer)
    common = [one for one, *others in takewhile(lambda at: len(set(at)) == 1, zip(*prompts, strict=False))]
    print(f"{len(prompts)} prompts of {sorted(map(len, prompts))} tokens, of which {len(common)} are shared")

    def cold() -> Turn:
        bench.forget()
        return turn(bench.keeping, prompts)

    def warm() -> Turn:
        bench.forget()
        turn(bench.keeping, [[*common, *prompts[0][len(common) :][:1]]], 1)
        return turn(bench.keeping, prompts)

    systems: dict[str, Callable[[], Turn]] = {
        "nothing kept": lambda: turn(bench.plain, prompts),
        "cold": cold,
        "warm": warm,
    }
    found: dict[str, list[Turn]] = {name: [] for name in systems}
    for number in range(rounds + 1):
        order = list(systems)[number % 3 :] + list(systems)[: number % 3]
        for name in order:
            one = systems[name]()
            if number:  # the first round binds, and is not counted
                found[name].append(one)
    for name, turns in found.items():
        ratios = [
            one.per_second / base.per_second for one, base in zip(turns, found["nothing kept"], strict=True)
        ]
        firsts = [second for one in turns for second in one.first_s]
        print(
            f"  {name:<13} {statistics.median(one.per_second for one in turns):6.1f} tokens/s   "
            f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})   first token: mean "
            f"{statistics.mean(firsts):.2f} s, last {statistics.median(max(one.first_s) for one in turns):.2f} s"
        )


def attached(bench: Bench) -> None:
    """The time to copy a prefix that is kept, and to compute it."""
    prompt = bench.prompts(longer=False)[0]
    bench.forget()
    times = [turn(bench.plain, [prompt[:161]], 1).first_s[0] for _ in range(5)]
    turn(bench.keeping, [prompt], 1)
    place = RowPlace(bench.keeping._lanes[0].memory.key_values, 0)
    copies = []
    copied = 0
    for _ in range(50):
        began = time.perf_counter()
        copied = bench.memory.copy_to(place, "", prompt[:161], 0)
        copies.append(time.perf_counter() - began)
    computing, copying = statistics.median(times) * 1e3, statistics.median(copies) * 1e3
    print(
        f"{copied} tokens: copied in {copying:.2f} ms, computed in {computing:.0f} ms: {copying / computing:.2%}"
    )


def worst(bench: Bench, count: int) -> None:
    """Prompts that have nothing in common, when the memory is full."""
    for prompt in bench.unique(count + KEPT // UNIQUE + 1):
        if bench.memory._index and len(bench.memory._index) == KEPT // 8:
            bench.memory.seconds, began = 0.0, time.perf_counter()
            turn(bench.keeping, [prompt], 1)
            share = bench.memory.seconds / (time.perf_counter() - began)
            print(
                f"a new prompt of {UNIQUE} tokens: {bench.memory.seconds * 1e3:.1f} ms, {share:.2%} of reading it"
            )
        else:
            turn(bench.keeping, [prompt], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="smollm2-135m-int4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, default=1)
    given = parser.parse_args()
    os.sched_setaffinity(0, {given.core})
    bench = Bench(given.model)
    attached(bench)
    for longer in (False, True):
        shared(bench, given.rounds, longer)
    worst(bench, 3)


if __name__ == "__main__":
    main()
