"""Milliseconds that the choice of a token takes on the thread of a lane, by options, and what grammars cost.

    python benchmarks/choosers.py

The scores are those of smollm2-135m-int4 (`inferstream models pull smollm2-135m`): 49 152 for each of 64 tokens behind
a prompt. Each option chooses them ten times, on one core, in turns with the others; the times are CPU time. "flat"
scores are the same divided by 1000: nothing can be left out before the sort.
"""

import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from inferstream.pipeline.errors import InferstreamError
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.runtime.chat_template import ChatTemplate, read_chat
from inferstream.pipeline.runtime.generated_row import DECODE, PREFILL, GeneratedRow
from inferstream.pipeline.runtime.generator import Generator, GeneratorSize
from inferstream.pipeline.runtime.model import More
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.runtime.text_tokens import TextTokens
from inferstream.pipeline.tasks.generate.draws import Draws
from inferstream.pipeline.tasks.generate.grammar import Grammars, GrammarState
from inferstream.pipeline.tasks.generate.options import generate_options
from inferstream.pipeline.tasks.generate.text_chooser import TextChooser
from inferstream.schemas.generation import GenerateOptions

MODEL = "smollm2-135m-int4"
TOKENS = 64
ROUNDS = 10
QUESTION = (
    "The app crashes whenever I open the settings page. Answer as JSON with the fields urgency and summary."
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "urgency": {"enum": ["low", "medium", "high"]},
        "summary": {"type": "string", "maxLength": 200},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 3},
    },
    "required": ["urgency", "summary", "tags"],
    "additionalProperties": False,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "best token, logprobs 0": {"logprobs": 0},
    "best token, logprobs 5": {"logprobs": 5},
    "repetition penalty": {"repetition_penalty": 1.1},
    "temperature": {"temperature": 0.7},
    "temperature, top-k 50": {"temperature": 0.7, "top_k": 50},
    "temperature, top-p 0.9": {"temperature": 0.7, "top_p": 0.9},
    "temperature, top-p 0.9, flat": {"temperature": 0.7, "top_p": 0.9},
    "all of them, top-k 50, logprobs 5": {
        "temperature": 0.7, "top_k": 50, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.1, "logprobs": 5,
    },
    "JSON Schema": {"json_schema": SCHEMA},
    "JSON Schema, temperature, top-p": {"json_schema": SCHEMA, "temperature": 0.7, "top_p": 0.9},
    "regular expression": {"regex": "[A-Za-z ,.]{1,400}"},
}  # fmt: skip
LETTERS = np.random.default_rng(0).integers(97, 107, (9000, 8))
WORDS = ["".join(map(chr, letters)) for letters in LETTERS]
GRAMMARS: dict[str, dict[str, Any]] = {
    "schema with three fields": {"json_schema": SCHEMA},
    "schema of 16 KB, 500 fields": {
        "json_schema": {"type": "object", "properties": {word: {"type": "string"} for word in WORDS[:500]}}
    },
    "schema of 27 KB, 2 400 values": {"json_schema": {"enum": WORDS[:2400]}},
    "schema of 100 KB": {"json_schema": {"enum": WORDS}},
    "schema of 26 KB, 700 patterns": {
        "json_schema": {"patternProperties": {f"^{word}.*": {"type": "string"} for word in WORDS[:700]}}
    },
    "schema of 30 KB, a chain of 600": {
        "json_schema": {
            "$defs": {
                **{f"d{i}": {"properties": {"x": {"$ref": f"#/$defs/d{i + 1}"}}} for i in range(600)}, "d600": {},
            },
            "$ref": "#/$defs/d0",
        }
    },
    "multipleOf 999 999 937": {"json_schema": {"type": "integer", "multipleOf": 999_999_937}},
    "expression of 4 KB, a literal": {"regex": "".join(WORDS[:500])},
    "expression of 4 KB, optional signs": {"regex": ".?" * 1300 + "a" * 1300},
    "expression of 100 KB": {"regex": "".join(WORDS) + "a" * 28_000},
}  # fmt: skip


def main() -> None:
    """Measure, and print two tables."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    manifest = ModelRegistry().load(MODEL)
    tokens = TextTokens(manifest.tokenizer_path, 1024)
    prompt = tokens.encode(
        ChatTemplate(read_chat(manifest.chat_path)).text([{"role": "user", "content": QUESTION}])
    )
    session = Session(manifest.graph_path, provider="cpu")
    began = time.perf_counter()
    grammars = Grammars(manifest.tokenizer_path, manifest.end_ids)
    print(f"vocabulary of grammars: {time.perf_counter() - began:.2f} s at the start")
    scores = _scores(session, prompt)
    choices(grammars, prompt, scores)
    steps(session, grammars, prompt, manifest.end_ids)
    compiled(grammars)
    grammars.close()


def choices(grammars: Grammars, prompt: Sequence[int], scores: Sequence[NDArray[np.float32]]) -> None:
    times: dict[str, list[float]] = {name: [] for name in OPTIONS}
    for turn in range(ROUNDS):
        for name, given in OPTIONS.items():
            times[name] += _choose_all(
                grammars, prompt, scores, msgspec.convert(given, GenerateOptions), turn, name
            )
    print(f"\n{'choice of one token, ms':40} median    99 %")
    for name, found in times.items():
        found.sort()
        print(f"{name:40} {statistics.median(found):6.3f}  {found[len(found) * 99 // 100]:6.3f}")


def _choose_all(
    grammars: Grammars,
    prompt: Sequence[int],
    scores: Sequence[NDArray[np.float32]],
    options: GenerateOptions,
    turn: int,
    name: str,
) -> list[float]:
    grammar = grammars.of(options)
    chooser = TextChooser(options, prompt, Draws(turn, 0), GrammarState(grammar) if grammar else None)
    generated: list[int] = []
    times = []
    for given in scores:
        given = given / np.float32(1000) if name.endswith("flat") else given
        began = time.thread_time()
        token = chooser.choose(given, generated)
        times.append(1e3 * (time.thread_time() - began))
        if token == 2:  # the end: what a row does not go on with
            break
        generated.append(token)
    return times


def steps(session: Session, grammars: Grammars, prompt: Sequence[int], ends: Sequence[int]) -> None:
    """Whole steps of eight rows, in turns."""
    generator = Generator(session, GeneratorSize(rows=8, context=1024))
    generator.warm_up()
    names = ["temperature, top-p 0.9", "all of them, top-k 50, logprobs 5", "regular expression"]
    times: dict[str, list[float]] = {name: [] for name in ["greedy", *names]}
    for turn in range(3):
        for name, found in times.items():
            options = msgspec.convert(OPTIONS.get(name, {}), GenerateOptions)
            grammar = grammars.of(options)
            rows = [
                GeneratedRow(
                    prompt,
                    TOKENS,
                    ends,
                    chooser=None
                    if name == "greedy"
                    else TextChooser(
                        options, prompt, Draws(turn, row), GrammarState(grammar) if grammar else None
                    ),
                )
                for row in range(8)
            ]
            live = list(rows)
            while live:
                phase = live[0].phase
                began = time.perf_counter()
                results = generator.step(live)
                if phase == DECODE and len(live) == 8:
                    found.append(1e3 * (time.perf_counter() - began))
                live = [row for row, result in zip(live, results, strict=True) if isinstance(result, More)]
    print(f"\n{'step of eight rows, ms':40} median    99 %")
    for name, found in times.items():
        found.sort()
        print(f"{name:40} {statistics.median(found):6.2f}  {found[len(found) * 99 // 100]:6.2f}")


def compiled(grammars: Grammars) -> None:
    print(f"\n{'grammar':40}     ms       KB   tokens, ms: median, worst")
    for name, given in GRAMMARS.items():
        began = time.perf_counter()
        try:
            grammar = grammars.of(generate_options("generate", given))
        except InferstreamError as error:
            print(f"{name:40} {1e3 * (time.perf_counter() - began):6.0f}           {error}")
            continue
        ms = 1e3 * (time.perf_counter() - began)
        assert grammar is not None
        state = GrammarState(grammar)
        random = np.random.default_rng(0)
        generated: list[int] = []
        times = []
        while len(generated) < 100:
            watch = time.thread_time()
            try:
                allowed = state.allowed(generated)
            except InferstreamError as error:
                print(f"  behind {len(generated)} tokens: {error}")
                break
            times.append(1e3 * (time.thread_time() - watch))
            token = int(random.choice(allowed))
            if token == 2:
                break
            generated.append(token)
        print(f"{name:40} {ms:6.0f}   {grammar.kb:6}   {statistics.median(times):.2f}, {max(times):.1f}")


class _Recorded(GeneratedRow):
    """Takes the best token and keeps the scores."""

    __slots__ = ("scores",)

    def __init__(self, prompt: Sequence[int]) -> None:
        self.scores: list[NDArray[np.float32]] = []
        super().__init__(prompt, TOKENS, chooser=self)

    def choose(self, scores: NDArray[np.float32], generated: Sequence[int]) -> int:
        self.scores.append(scores.copy())
        return int(scores.argmax())


def _scores(session: Session, prompt: Sequence[int]) -> list[NDArray[np.float32]]:
    generator = Generator(session, GeneratorSize(rows=2, context=1024))
    row = _Recorded(prompt)
    more = True
    while more:
        (result,) = generator.step([row])
        more = isinstance(result, More)
    assert row.phase in (PREFILL, DECODE)
    return row.scores


if __name__ == "__main__":
    main()
