"""Arguments that a client refuses, with the error and its sentence."""

from typing import Any

from msgspec import field

from inferstream import (
    EmbedOptions,
    InferstreamError,
    MissingText,
    Request,
    TriageOptions,
    UsageError,
    WrongType,
)

NAN = float("nan")


class OwnRequest(Request, frozen=True):
    texts: list[str] = field(default_factory=list)


WRONG_OF_ANY_METHOD: list[tuple[dict[str, Any], type[InferstreamError], str]] = [
    ({"task": None}, UsageError, "`task` must be the name of a task, as in 'triage', not None."),
    ({"task": 7}, UsageError, "`task` must be the name of a task, as in 'triage', not 7."),
    ({"task": "a b"}, UsageError, "`task` must be the name of a task"),
    ({"task": ""}, UsageError, "`task` must be the name of a task"),
    ({"options": ["threshold"]}, WrongType, "`options` must be a dict by names of options, or .*, not list."),
    ({"options": "threshold"}, WrongType, "`options` must be a dict"),
    ({"options": {1: 2}}, WrongType, "`options` must be a dict by names"),
    (
        {"options": EmbedOptions()},
        WrongType,
        "`options` of 'triage' must be .* TriageOptions, not EmbedOptions.",
    ),
    ({"options": Request("a")}, WrongType, "`options` must be a dict .*, not Request."),
    (
        {"timeout_s": "5"},
        UsageError,
        "`timeout_s` must be a number of seconds greater than 0 .*, or None .*, not '5'.",
    ),
    ({"timeout_s": -1}, UsageError, "`timeout_s` must be .*, not -1."),
    ({"timeout_s": 0}, UsageError, "`timeout_s` must be .*, not 0."),
    ({"timeout_s": NAN}, UsageError, "`timeout_s` must be .*, not nan."),
    ({"timeout_s": float("inf")}, UsageError, "`timeout_s` must be .*, or None for no limit, not inf."),
    ({"timeout_s": 1e308}, UsageError, "`timeout_s` must be .*, not 1e\\+308."),
    ({"timeout_s": 10**400}, UsageError, "`timeout_s` must be .*, not int."),
    ({"timeout_s": 10**5000}, UsageError, "`timeout_s` must be .*, not int."),
    ({"options": {"threshold": NAN}}, WrongType, "The option 'threshold' must be a finite number, not nan."),
    (
        {"options": TriageOptions(threshold=-float("inf"))},
        WrongType,
        "'threshold' must be a finite number, not -inf.",
    ),
    ({"timeout_s": True}, UsageError, "`timeout_s` must be .*, not True."),
    ({"model": 3}, UsageError, "`model` must be the name of a model or None, not 3."),
    ({"tenant": 3}, UsageError, "`tenant` must be a string or None, not 3."),
    (
        {"priority": "urgent"},
        UsageError,
        "`priority` must be one of high, normal, low, or None, not 'urgent'.",
    ),
    ({"priority": ["high"]}, UsageError, "`priority` must be one of .*, not list."),
    (
        {"output": TriageOptions()},
        UsageError,
        "`output` must be the type of the task's output, .*, not TriageOptions.",
    ),
    ({"output": 5}, UsageError, "`output` must be the type"),
]
WRONG_OF_REQUEST: list[tuple[dict[str, Any], type[InferstreamError], str]] = [
    ({"text": None}, WrongType, "`text` must be a string or a Request, not None."),
    (
        {"text": b"a"},
        WrongType,
        r"`text` must be a string or a Request, not bytes: decode it, as in text.decode\(\).",
    ),
    ({"text": 7}, WrongType, "`text` must be a string or a Request, not 7."),
    ({"text": NAN}, WrongType, "`text` must be a string or a Request, not nan."),
    ({"text": Request()}, MissingText, "no `text`"),
    (
        {"text": Request("a", id=5)},
        WrongType,
        "The field `id` of the Request must be a string or None, not 5.",
    ),  # type: ignore[arg-type]
    ({"text": OwnRequest(texts=[5])}, WrongType, "OwnRequest has a field of the wrong type"),  # type: ignore[list-item]
    ({"id": 7}, UsageError, "`id` must be a string or None, not 7."),
    (
        {"key": "stream-7"},
        UsageError,
        r"`key` must be bytes or None, not 'stream-7': encode it, as in key.encode\(\).",
    ),
    ({"traceparent": b"00"}, UsageError, "`traceparent` must be a string or None, not bytes."),
]
WRONG_OF_MAP: list[tuple[dict[str, Any], type[InferstreamError], str]] = [
    ({"texts": "one text"}, UsageError, r"`texts` must be a list .*each character .*: write \[text\]."),
    ({"texts": None}, UsageError, "`texts` must be a list or another iterable of texts, not None."),
    ({"texts": 7}, UsageError, "`texts` must be a list"),
    ({"texts": Request("a")}, UsageError, "`texts` must be a list"),
    ({"max_in_flight": 0}, UsageError, "`max_in_flight` must be a whole number of 1 or more, not 0."),
    ({"max_in_flight": 1.5}, UsageError, "`max_in_flight` must be a whole number"),
    ({"ordered": "no"}, UsageError, "`ordered` must be True or False, not 'no'."),
]
WRONG_ITEMS: list[Any] = [
    Request("a", options={"threshold": NAN}),
    *(None, NAN, 7, b"a", ["a"], {"text": "a"}, Request(), Request(None), Request(b"a"), Request(5)),  # type: ignore[arg-type]
    *(Request("a", id=5), Request("a", task=5), Request("a", options=[1])),  # type: ignore[arg-type]
    *(Request("a", options={1: 2}), Request("a", options={"x": ...}), Request("\ud800")),  # type: ignore[dict-item]
    *(Request("a", id="\ud800"), OwnRequest(texts=5)),  # type: ignore[arg-type]
]
