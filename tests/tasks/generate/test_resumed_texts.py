"""A text goes on behind tokens that were told before, with all options, as if it had not been interrupted."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from inferstream.pipeline.models.manifest import Manifest
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.runtime.generated_row import DECODE, PREFILL
from inferstream.pipeline.runtime.model import Last, Model
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.tasks.base import Ask, Finished, Task
from inferstream.pipeline.tasks.generate.loading import load_generate
from inferstream.pipeline.tasks.generate.reading import Prompt
from inferstream.pipeline.tasks.generate.settings import GenerateSettings
from inferstream.schemas.generation import GenerateOptions, GenerateOutput, Token, tokens_of

Told = list[Token]
Run = Callable[[GenerateOptions, Told], tuple[GenerateOutput, Told]]


@pytest.fixture(scope="module")
def run(tiny: Manifest) -> Run:
    """Generates the answer behind what was told; returns it with the tokens that the steps brought."""
    loaded = load_generate(ModelRegistry(), tiny.name, GenerateSettings())
    session = Session(tiny.graph_path, provider="cpu")
    task = loaded.make(session)
    assert loaded.model is not None
    model = loaded.model(session)
    return lambda options, told: answered(task, model, Ask(Prompt("An old cat"), options, told, "an id"))


def answered(task: Task, model: Model, ask: Ask) -> tuple[GenerateOutput, Told]:
    (rows,) = task.prepare([ask])
    assert not isinstance(rows, bytes)
    pieces: dict[int, list[Any]] = {id(row): [] for row in rows}
    outputs: dict[int, Any] = {}
    while len(outputs) < len(rows):
        for phase in (PREFILL, DECODE):
            batch = [row for row in rows if row.phase == phase and id(row) not in outputs]
            for row, result in zip(batch, model.step(batch) if batch else (), strict=True):
                pieces[id(row)] += result.pieces
                if isinstance(result, Last):
                    outputs[id(row)] = result.output
    brought = [piece for row in rows for piece in pieces[id(row)]]
    finished = Finished([outputs[id(row)] for row in rows], rows, ask.options, [*ask.told, *brought])
    (answer,) = task.finish([finished])
    return msgspec.json.decode(answer, type=GenerateOutput), brought


OPTIONS = {
    "greedy": {},
    "drawn": {"temperature": 1.0, "seed": 4},
    "by the id": {"temperature": 1.3, "top_p": 0.9},
    "penalty": {"repetition_penalty": 3.0},
    "logprobs": {"logprobs": 2, "temperature": 0.8, "top_k": 9},
    "choices": {"temperature": 1.0, "n": 3, "logprobs": 0},
    "expression": {"regex": "(ab|cd|ä😀){4,9}!", "temperature": 1.0},
    "schema": {
        "json_schema": {"type": "array", "items": {"enum": ["x", "yy"]}, "minItems": 2, "maxItems": 3},
        "temperature": 1.0,
        "n": 2,
        "logprobs": 1,
    },
    "stop": {"temperature": 1.0, "stop": ["e", "\n"], "n": 4, "seed": 1},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_resumed_answer_is_that_of_one_run(run: Run, name: str) -> None:
    options = msgspec.convert({"max_tokens": 20, **OPTIONS[name]}, GenerateOptions)
    whole, told = run(options, [])
    assert told == tokens_of(whole)
    assert len(whole.choices) == options.n
    for cut in {0, 1, 2, len(told) // 2, len(told) - 1, len(told)}:
        resumed, brought = run(options, told[:cut])
        assert resumed.choices == whole.choices
        assert told[:cut] + brought == told
