"""Two answers to one request, and the label of a request."""

from support.echo import Echo

from inferstream.pipeline.tasks.base import agree, is_right


def test_answers_of_a_task_that_says_nothing_of_it_agree_if_they_are_equal() -> None:
    task = Echo()
    assert agree(task, b'{"a": 1, "b": [2]}', b'{"b":[2],"a":1.0}')
    assert not agree(task, b'{"a": 1}', b'{"a": 2}')


def test_an_answer_is_right_that_has_all_values_of_the_label() -> None:
    answer = b'{"category": "billing", "confidence": 0.5, "route": "desk"}'
    assert is_right(answer, {"category": "billing"})
    assert is_right(answer, {"category": "billing", "route": "desk"})
    assert not is_right(answer, {"category": "billing", "route": "shop"})
    assert not is_right(answer, {"unknown": None})
    assert not is_right(b"[1]", {"category": "billing"})
