"""Texts of a grammar match it; grammars that are of no use end as one sentence, in bounded time and memory."""

import gc
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from support.byte_tokens import END, write_byte_tokens
from tokenizers import Tokenizer

from inferstream.pipeline.errors import BadRequest, Overloaded, TooLarge
from inferstream.pipeline.tasks.generate import grammar as grammar_module
from inferstream.pipeline.tasks.generate.choosers import Choosers
from inferstream.pipeline.tasks.generate.grammar import Grammars, GrammarState, grammars_of
from inferstream.pipeline.tasks.generate.grammar_trials import PROGRAM
from inferstream.pipeline.tasks.generate.options import generate_options
from inferstream.pipeline.tasks.generate.slow_work import SlowWork
from inferstream.schemas.generation import GenerateOptions

Schema = dict[str, Any]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_byte_tokens(tmp_path_factory.mktemp("tokens") / "tokenizer.json")


@pytest.fixture(scope="module")
def grammars(path: Path) -> Iterator[Grammars]:
    grammars = Grammars(path, [END])
    grammars._slow = SlowWork(lambda: 1e3 * time.monotonic())  # the slow ones here follow each other closely
    yield grammars
    grammars.close()


def state_of(grammars: Grammars, *, regex: str | None = None, schema: Schema | None = None) -> GrammarState:
    grammar = grammars.of(GenerateOptions(regex=regex, json_schema=schema))
    assert grammar is not None
    return GrammarState(grammar)


def walk(state: GrammarState, seed: int, most: int = 400) -> list[int] | None:
    """Tokens that are chosen at random; None if the text has not ended after ``most``."""
    random = np.random.default_rng(seed)
    tokens: list[int] = []
    while len(tokens) < most:
        allowed = state.allowed(tokens)
        # An end where one may come, else texts are long.
        token = END if END in allowed else int(random.choice(allowed))
        if token == END:
            return tokens
        tokens.append(token)
    return None


SCHEMAS: list[Schema] = [
    {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False},
    {"enum": ["red", "green", 3, None, {"a": [1]}]},
    {"type": "string", "maxLength": 5, "minLength": 2},
    {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"},
    {"type": "string", "format": "date"},
    {"type": "array", "items": {"type": "number", "minimum": -2, "maximum": 7.5}, "minItems": 1, "maxItems": 4},
    {
        "$defs": {"tree": {"type": "object", "properties": {"of": {"items": {"$ref": "#/$defs/tree"}}}}},
        "$ref": "#/$defs/tree",
    },
    {
        "type": "object",
        "properties": {
            "urgency": {"enum": ["low", "high"]},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 8}, "maxItems": 3},
            "refund": {"anyOf": [{"type": "null"}, {"type": "number", "multipleOf": 0.25}]},
        },
        "required": ["urgency", "tags", "refund"],
        "additionalProperties": False,
    },
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(SCHEMAS)))
def test_a_text_is_json_of_its_schema(grammars: Grammars, path: Path, number: int) -> None:
    schema = SCHEMAS[number]
    tokenizer = Tokenizer.from_file(str(path))
    ended = 0
    for seed in range(20):
        tokens = walk(state_of(grammars, schema=schema), seed)
        if tokens is not None:
            ended += 1
            jsonschema.validate(json.loads(tokenizer.decode(tokens)), schema)
    assert ended, "no text has ended"


@pytest.mark.parametrize(
    "regex",
    ["[a-c]{3,5}", "(yes|no|maybe)", "ä+😀?", r"\d{4}-\d\d-\d\d", "a*", r'\{"x": [0-9]\}', "a/b\n\"c'\\\\"],
)
def test_a_text_matches_its_expression(grammars: Grammars, path: Path, regex: str) -> None:
    tokenizer = Tokenizer.from_file(str(path))
    for seed in range(10):
        tokens = walk(state_of(grammars, regex=regex), seed)
        assert tokens is not None
        assert re.fullmatch(regex, tokenizer.decode(tokens))


def test_a_resumed_text_has_the_tokens_that_it_would_have_had(grammars: Grammars) -> None:
    state = state_of(grammars, schema=SCHEMAS[-1])
    tokens = walk(state, 3)
    assert tokens
    step_by_step = state_of(grammars, schema=SCHEMAS[-1])
    for place in range(len(tokens) + 1):
        expected = step_by_step.allowed(tokens[:place]).tolist()
        assert expected == step_by_step.allowed(tokens[:place]).tolist()  # again, after a step that failed
        assert expected == state_of(grammars, schema=SCHEMAS[-1]).allowed(tokens[:place]).tolist()


def test_choices_of_one_request_do_not_change_each_other(grammars: Grammars) -> None:
    grammar = grammars.of(GenerateOptions(regex="ab|cd"))
    assert grammar is not None
    first, second = GrammarState(grammar), GrammarState(grammar)
    at_first = second.allowed(()).tolist()
    first.allowed([at_first[0]])
    assert second.allowed(()).tolist() == at_first


def words(count: int) -> list[str]:
    random = np.random.default_rng(0)
    return ["".join(map(chr, random.integers(97, 107, 8))) for _ in range(count)]


def chain(length: int) -> Schema:
    links = {f"d{i}": {"properties": {"x": {"$ref": f"#/$defs/d{i + 1}"}}} for i in range(length)}
    return {"$defs": {**links, f"d{length}": {}}, "$ref": "#/$defs/d0"}


def nested(depth: int) -> Schema:
    return {"items": nested(depth - 1)} if depth else {}


HOSTILE_SCHEMAS = {
    "impossible": ({"type": "integer", "minimum": 5, "maximum": 3}, "Unsatisfiable schema"),
    "nothing": ({"enum": []}, "Unsatisfiable schema"),
    "false": ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "Unsatisfiable schema"),
    "itself": ({"$ref": "#"}, "no text matches it"),
    "circle": ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "no text"),
    "elsewhere": ({"$ref": "http://127.0.0.1:1/schema"}, "does not fetch"),
    "a file": ({"$ref": "file:///etc/passwd"}, "does not fetch"),
    "no type": ({"type": "objekt"}, "Invalid type: objekt"),
    "not supported": ({"type": "array", "uniqueItems": True}, "Unimplemented keys"),
    "overlapping": ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf constraints are not supported"),
    "many states": ({"type": "integer", "multipleOf": 999_999_937}, "complex|takes more than"),
    "disjoint": ({"patternProperties": {f"^{word}.*": {"type": "string"} for word in words(700)}}, "takes more than"),
    "long chain": (chain(600), "too deep"),
    "deep": (nested(200), "recursion limit"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_SCHEMAS)
def test_a_schema_that_is_of_no_use_has_its_sentence(grammars: Grammars, name: str) -> None:
    schema, reason = HOSTILE_SCHEMAS[name]
    with pytest.raises(BadRequest, match=reason) as caught:
        grammars.of(GenerateOptions(json_schema=schema))
    assert_sentence(str(caught.value), "json_schema")


HOSTILE_EXPRESSIONS = {
    "nothing": (r"[^\s\S]", "no text matches it"),
    "look-ahead": ("a(?!a)", "look-around"),
    "not closed": ("(a", "unclosed group"),
    "nested": ("(" * 2000 + "a" + ")" * 2000, "nested parentheses"),
    "any of many": (".?" * 1500 + "a" * 1000, "complex|takes more than"),
    "unicode": (r"(\p{L}?\p{Lu}*)" * 250, "complex|takes more than"),
    "surrogate": ("\ud800", "surrogates"),
}


@pytest.mark.parametrize("name", HOSTILE_EXPRESSIONS)
def test_an_expression_that_is_of_no_use_has_its_sentence(grammars: Grammars, name: str) -> None:
    regex, reason = HOSTILE_EXPRESSIONS[name]
    with pytest.raises(BadRequest, match=reason) as caught:
        grammars.of(GenerateOptions(regex=regex))
    assert_sentence(str(caught.value), "regex")


def assert_sentence(text: str, option: str) -> None:
    assert option in text
    assert text.endswith(".")
    assert text.isprintable()
    assert len(text) < 250


def test_what_is_too_long_is_not_read_further() -> None:
    with pytest.raises(TooLarge, match="32768 are allowed"):
        generate_options("generate", {"json_schema": {"enum": words(4000)}})
    with pytest.raises(TooLarge, match="4096 are allowed"):
        generate_options("generate", {"regex": "a" * 100_000})


def test_what_is_deeper_than_python_goes_is_refused() -> None:
    deep: Schema = {}
    for _ in range(100_000):
        deep = {"items": deep}
    with pytest.raises(BadRequest, match="too deep"):
        generate_options("generate", {"json_schema": deep})
    while deep:  # an end that is no recursion
        deep = deep["items"]


def test_a_place_where_nothing_may_follow_is_no_end(grammars: Grammars) -> None:
    """The member can never be ended, and the library finds out when it comes."""
    again = {"$ref": "#/$defs/again"}
    endless = {"type": "object", "properties": {"a": again}, "$defs": {"again": {"allOf": [again]}}}
    state = state_of(grammars, schema={**endless, "required": ["a"], "additionalProperties": False})
    with pytest.raises(BadRequest, match="no text can go on behind 6 tokens"):
        walk(state, 0)


def test_what_is_known_is_not_tried_again(path: Path) -> None:
    grammars = Grammars(path, [END])
    assert grammars.of(GenerateOptions(regex="ab")) is not None
    with pytest.raises(BadRequest):
        grammars.of(GenerateOptions(regex="("))
    grammars.close()
    assert grammars.of(GenerateOptions(regex="ab")) is not None
    with pytest.raises(BadRequest):
        grammars.of(GenerateOptions(regex="("))
    assert grammars._trials._process is None


def test_the_process_is_started_again_when_it_has_ended(path: Path) -> None:
    grammars = Grammars(path, [END])
    grammars.of(GenerateOptions(regex="ab"))
    first = grammars._trials._process
    assert first is not None
    first.kill()
    first.wait()
    assert grammars.of(GenerateOptions(regex="abc")) is not None
    second = grammars._trials._process
    assert second is not None
    assert second is not first
    del grammars
    gc.collect()
    assert second.poll() is not None


def test_a_process_that_does_not_answer_is_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferstream.pipeline.tasks.generate.grammar_trials.PATIENCE_S", 0.001)
    grammars = Grammars(path, [END])
    with pytest.raises(Overloaded, match="later"):
        grammars.of(GenerateOptions(regex="ab"))
    monkeypatch.undo()
    assert grammars.of(GenerateOptions(regex="ab")) is not None
    grammars.close()


def test_the_process_ends_with_the_worker(path: Path) -> None:
    """A worker that is killed closes the pipe."""
    start = json.dumps({"tokenizer": str(path), "ends": [END], "limits": {}})
    found = subprocess.run(
        [sys.executable, str(PROGRAM)], input=start + "\n", capture_output=True, text=True, timeout=60
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_the_memory_of_grammars_that_wait_is_bounded(
    grammars: Grammars, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.collect()
    monkeypatch.setattr(grammar_module, "MAX_LIVE_KB", 3 * grammar_module.LEAST_KB)
    held = [grammars.of(GenerateOptions(regex="ab{1,3}")) for _ in range(3)]
    with pytest.raises(Overloaded, match="grammars"):
        grammars.of(GenerateOptions(regex="ab{1,3}"))
    held.clear()
    gc.collect()
    assert grammars.of(GenerateOptions(regex="ab{1,3}")) is not None


def test_other_threads_run_while_a_grammar_is_tried(grammars: Grammars) -> None:
    """The preparing thread waits for it, and the event loop does not."""
    thread = threading.Thread(target=lambda: state_of(grammars, regex="[a-z]{1,1000}(x|y){5}"))
    thread.start()
    counted = 0
    while thread.is_alive():
        counted += 1
    thread.join()
    assert counted > 100


def test_a_model_whose_tokens_the_library_does_not_know_has_no_grammars(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "tokenizer.json"
    other.write_text(json.dumps({**json.loads(path.read_text()), "decoder": None}))
    assert grammars_of(other, [END]) is None
    assert grammars_of(path, []) is None
    choosers = Choosers(None)
    with pytest.raises(BadRequest, match="can follow no `json_schema`"):
        choosers.of(GenerateOptions(regex="a"), "id", [1], [[]])
    assert choosers.of(GenerateOptions(n=2, top_k=3), "id", [1], [[], []]) == [None, None]
    assert choosers.of(GenerateOptions(temperature=1.0), "id", [1], [[]]) != [None]
