"""Which model of a task answers: the one that the header names, or the one that the options choose."""

from typing import Any, cast

import pytest
from support.echo import Echo, a_job

from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.engine.questions import JobReader
from inferstream.pipeline.errors import ModelElsewhere

DEVICE = cast(Device, None)  # not reached


class Choosing(Echo):
    """A model of a task whose options choose one."""

    def __init__(self, model: str, **chosen_by: str) -> None:
        super().__init__(model)
        self.chosen_by = chosen_by

    def options(self, given: Any) -> Any:
        return super().options({})


def reader(*tasks: Echo) -> JobReader:
    entries = {task.model: ModelEntry(task, DEVICE) for task in tasks}
    return JobReader({"echo": {**entries, "another name": entries[tasks[0].model]}})


TWO = reader(
    Choosing("there", source="en", target="pt"), Choosing("back", source="pt", target="en"), Choosing("plain")
)


def chosen(jobs: JobReader, model: str | None = None, **options: Any) -> str:
    return jobs.read(a_job("text", options=options, model=model))[0].task.model


def test_the_options_choose_among_the_models_of_a_task() -> None:
    assert chosen(TWO) == "there"
    assert chosen(TWO, source="en", target="pt") == "there"
    assert chosen(TWO, source="pt", target="en") == chosen(TWO, source="pt") == "back"
    assert chosen(TWO, target="en", shout=True) == "back"
    assert chosen(TWO, shout=True) == chosen(TWO, source=None, target=None) == "there"


def test_the_model_of_the_header_comes_before_the_options() -> None:
    assert chosen(TWO, "there", source="pt", target="en") == "there"
    assert chosen(TWO, "plain", source="pt") == "plain"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": "de", "target": "pt"}, "no model for source 'de' and target 'pt' here"),
        ({"source": "en", "target": "en"}, "no model for source 'en' and target 'en' here"),
        ({"target": "x" * 1_000}, f"no model for target '{'x' * 20}' here"),
    ],
)
def test_a_choice_that_is_not_there_names_those_that_are(options: dict[str, str], words: str) -> None:
    with pytest.raises(ModelElsewhere) as caught:
        chosen(TWO, **options)
    assert words in str(caught.value)
    assert "this worker has: source 'en' and target 'pt' (there); source 'pt' and target 'en' (back)." in str(
        caught.value
    )


def test_a_value_of_another_type_is_for_the_task_to_refuse() -> None:
    assert chosen(TWO, source=["pt"]) == "there"


def test_a_task_whose_models_differ_in_no_option_reads_them_all_by_its_first_one() -> None:
    jobs = reader(Echo("one"), Echo("two"))
    assert chosen(jobs, shout=True) == "one"
