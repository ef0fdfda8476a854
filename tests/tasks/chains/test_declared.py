"""Chains as settings declare them: found and checked, and each mistake told in one sentence."""

from pathlib import Path

import msgspec
import pytest
from support import ROOT
from support.chain_worker import CHAIN, chain_config, know_both

from inferstream.pipeline.config import ChainConfig, Config, StepConfig
from inferstream.pipeline.errors import UnknownOption, UsageError, WrongType
from inferstream.pipeline.tasks.chains.chain import steps_of
from inferstream.pipeline.tasks.chains.declared import chains_of, task_models
from inferstream.pipeline.tasks.chains.step_text import Known
from inferstream.pipeline.tasks.settings import load_config
from inferstream.schemas.messages import TriageOutput


@pytest.fixture(autouse=True)
def _tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    know_both(monkeypatch)


def declared(path: Path, text: str) -> str:
    """The sentence with which settings are refused."""
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        load_config(path, environment={})
    sentence = str(refused.value)
    assert sentence.endswith((".", "?"))
    assert "\n" not in sentence
    assert str(path) in sentence
    return sentence


def test_a_chain_of_names_and_tables_is_read(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("""
[chains.triage-echo]
steps = [
    {task = "steps", options = {repeat = 2}},
    {task = "triage", name = "sort", model = "shop", options = {runners_up = 0}},
    {task = "echo", text = "{output.category}: {text}"},
]

[chains.two]
steps = ["steps", "echo"]
""")
    chains = chains_of(load_config(path, environment={}))
    assert list(chains) == ["triage-echo", "two"]
    chain = chains["triage-echo"]
    assert [(one.name, one.task, one.model) for one in chain.steps] == [
        ("steps", "steps", None),
        ("sort", "triage", "shop"),
        ("echo", "echo", None),
    ]
    assert chain.steps[1].options == {"runners_up": 0}
    steps = steps_of(chain, "p")
    assert [step.topics.requests for step in steps] == [
        "p.triage-echo.requests",
        "p.triage-echo.step-2.requests",
        "p.triage-echo.step-3.requests",
    ]
    assert [step.topics.retry("1s") for step in steps][1:] == [
        "p.triage-echo.step-2.retry.1s",
        "p.triage-echo.step-3.retry.1s",
    ]
    assert {step.topics.replies for step in steps} == {"p.triage-echo.replies"}
    assert {step.topics.cancels for step in steps} == {"p.triage-echo.cancels"}
    assert {step.topics.dead_letters for step in steps} == {"p.triage-echo.dead-letters"}
    assert [step.follower.topics.step if step.follower else None for step in steps] == [2, 3, None]


TO_GENERATE = """
[[chains.c.steps]]
task = "triage"
[[chains.c.steps]]
task = "generate"
[[chains.c.steps.request.messages]]
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[chains.c]", "chains.c in {path} is wrong (object missing required field `steps`): write it as in"),
        ('[chains.c]\nsteps = "echo"', "is wrong at steps (expected `array`, got `str`)"),
        ('[chains.c]\nsteps = ["echo", 3]', "is wrong at steps[1]"),
        (
            '[chains.c]\nsteps = [{task = "echo", modle = "x"}, "steps"]',
            "object contains unknown field `modle`",
        ),
        ('[chains.c]\nsteps = ["echo", ""]', "is wrong at steps[1]"),
        ("[chains]\nsteps = 3", "chains.steps in {path} is wrong"),
        ('chains = "x"', "chains in {path} is no table"),
        ('[chain.c]\nsteps = ["steps", "echo"]', "no table of settings 'chain': did you mean 'chains'?"),
        ("[chains.c]\nsteps = []", "The chain 'c' has fewer than two steps"),
        ('[chains.c]\nsteps = ["echo"]', "fewer than two steps: ask a single task by its own name."),
        (
            '[chains.c]\nsteps = ["steps", "triagee"]',
            "Step 2 of the chain 'c' cannot be: There is no task 'triagee'; did you mean 'triage'?",
        ),
        (
            '[chains.c]\nsteps = ["steps", "d"]\n[chains.d]\nsteps = ["steps", "echo"]',
            "Step 2 of the chain 'c' is a chain, 'd': write the steps of that one instead.",
        ),
        ('[chains.c]\nsteps = ["steps", "c"]', "Step 2 of the chain 'c' is a chain, 'c'"),
        (
            '[chains.c]\nsteps = ["triage", "echo"]',
            "Step 2 of the chain 'c' is asked '{{output.text}}', but the answer of the step before has no field 'text'",
        ),
        (
            '[chains.c]\nsteps = [{task = "steps", text = "{text}"}, "echo"]',
            "the first step is asked the text",
        ),
        ('[chains.c]\nsteps = ["steps", "steps"]', "has the name of an earlier one, 'steps'"),
        ('[chains.c]\nsteps = ["steps", {task = "echo", name = "A"}]', "has the name 'A': use small letters"),
        (
            '[chains.c]\nsteps = ["steps", {task = "echo", text = "a", request = {text = "b"}}]',
            "Step 2 of the chain 'c' has a `text` and a `request`: leave one of them out.",
        ),
        (
            '[chains.c]\nsteps = [{task = "steps", request = {text = "b"}}, "echo"]',
            "Step 1 of the chain 'c' has a `request`, but the first step is asked the text of the request",
        ),
        (
            f"{TO_GENERATE}role = 'user'\ncontent = '{{output.label}}'",
            "The settings file {path} is wrong. Step 2 of the chain 'c' is asked '{{output.label}}', but the answer of",
        ),
        (
            f"{TO_GENERATE}role = 'user'\ncontent = 'a {{ b'",
            "Step 2 of the chain 'c' has the text 'a {{ b', which is no such text (",
        ),
        (
            f"{TO_GENERATE}role = 'user'",
            "Step 2 of the chain 'c' has a wrong request at messages[0] (object missing required field `content`).",
        ),
        (
            f"{TO_GENERATE}role = 'user'\ncontent = '{{text}}'\n[[chains.c.steps]]\ntask = 'echo'\ntext = '{{text}}'",
            "is asked '{{text}}', but the step before is asked no text: write {{request.text}}.",
        ),
        (
            '[chains.c]\nsteps = ["steps", {task = "triage", options = {runner = 1}}]',
            "Step 2 of the chain 'c' has wrong options: Triage has no option 'runner'",
        ),
        (
            '[chains.c]\nsteps = ["steps", {task = "triage", options = {runners_up = "x"}}]',
            "has wrong options: The option 'runners_up' has the wrong type",
        ),
        ('[chains.echo]\nsteps = ["steps", "triage"]', "The chain 'echo' has the name of a task"),
        ('[chains.kafka]\nsteps = ["steps", "triage"]', "There cannot be a chain 'kafka'"),
        ('[chains.audit]\nsteps = ["steps", "triage"]', "There cannot be a chain 'audit'"),
        ('[chains."a.b"]\nsteps = ["steps", "triage"]', "There cannot be a chain 'a.b'"),
        ('[chains.A]\nsteps = ["steps", "triage"]', "There cannot be a chain 'A'"),
        ('[chains."a/b"]\nsteps = ["steps", "triage"]', "There cannot be a chain 'a/b'"),
        (f'[chains.{"x" * 51}]\nsteps = ["steps", "triage"]', "its name is at most 50 small letters"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "settings.toml"
    assert words.format(path=path) in declared(path, text)


def test_the_example_of_drafts_is_read() -> None:
    chain = chains_of(load_config(ROOT / "examples" / "drafts.toml", environment={}))["draft"]
    assert [step.task for step in chain.steps] == ["triage", "generate"]
    request = chain.steps[1].request
    assert request is not None
    output = TriageOutput("refund", 0.9, "high", "billing", False, text_blocks=["We pay back.", "Bye."])
    made = request.of(Known("t", "Give me {it} back", msgspec.json.encode(output)))
    assert made["messages"][1]["content"] == (
        "The customer writes:\nGive me {it} back\n\nThis is a refund of priority high for the team billing.\n\n"
        "Answer with this text:\nWe pay back.\nBye."
    )


@pytest.mark.parametrize("asked", [(), (3,), (2, 3), (4,)])
def test_what_the_chain_was_asked_goes_as_far_as_it_is_needed(asked: tuple[int, ...]) -> None:
    steps = [
        StepConfig("steps", f"s{number}", text="{request.text}" if number in asked else None)
        for number in (1, 2, 3, 4)
    ]
    chain = chains_of(Config(chains={"c": ChainConfig([*steps])}))["c"]
    last = max(asked, default=0)
    assert [one.keeps_request for one in steps_of(chain, "p")] == [number < last for number in (1, 2, 3, 4)]


def test_a_task_twice_is_two_steps_with_names(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[chains.c]\nsteps = ["steps", {task = "steps", name = "again"}]')
    chain = chains_of(load_config(path, environment={}))["c"]
    assert [step.name for step in chain.steps] == ["steps", "again"]


def test_options_are_given_by_step() -> None:
    chain = chains_of(chain_config("p"))[CHAIN]
    chain.check({"echo": {"shout": True}, "steps": {}})
    with pytest.raises(UnknownOption, match="has no step 'shout'; its steps are: echo, steps"):
        chain.check({"shout": True})
    with pytest.raises(WrongType, match="options of the step 'echo' must be an object"):
        chain.check({"echo": True})
    with pytest.raises(UnknownOption, match="Steps has no option 'x'"):
        chain.check({"steps": {"x": 1}})
    with pytest.raises(WrongType, match="'repeat' has the wrong type"):
        chain.check({"steps": {"repeat": "x"}})


def test_a_chain_stands_for_the_tasks_of_its_steps() -> None:
    config = chain_config("p")
    assert task_models({CHAIN: []}, config) == {"echo": [], "steps": []}
    assert task_models({"steps": ["m"], CHAIN: []}, config) == {"steps": ["m"], "echo": []}
    assert task_models({"triage": []}, config) == {"triage": []}
    with pytest.raises(
        UsageError, match=r"is a chain: say which of its tasks a model is for \(echo, steps\)"
    ):
        task_models({CHAIN: ["m"]}, config)


def test_a_model_that_a_step_names_is_served_beside_the_default(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[chains.c]\nsteps = ["steps", {task = "echo", model = "other"}]')
    config = load_config(path, environment={})
    assert task_models({"echo": []}, config) == {"echo": ["echo-small", "other"]}
    assert task_models({"echo": ["own"]}, config) == {"echo": ["own"]}
