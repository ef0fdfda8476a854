"""Drafts a taxonomy from labeled tickets, for the user to edit."""

import random
import re
from collections import defaultdict

import msgspec

from .labeled import Labeled

MAX_EXAMPLE_CHARS = 300
SEED = 0


def draft_taxonomy(data: Labeled, examples: int) -> str:
    """TOML with a category for each label: its name as the description, and ``examples`` of its
    tickets.

    The examples are drawn with a fixed seed; tickets of at most 300 characters come first.
    """
    tickets: dict[str, list[str]] = defaultdict(list)
    for text, label in zip(data.texts, data.labels, strict=True):
        tickets[label].append(text)
    draw = random.Random(SEED)
    tables = [_table(data, label, _chosen(draw, tickets[label], examples)) for label in sorted(tickets)]
    return "\n".join(["threshold = 0.5\ntemperature = 0.04\n", *tables])


def _chosen(draw: random.Random, tickets: list[str], count: int) -> list[str]:
    distinct = sorted(set(tickets))
    draw.shuffle(distinct)
    distinct.sort(key=lambda text: len(text) > MAX_EXAMPLE_CHARS)
    return distinct[:count]


def _table(data: Labeled, label: str, examples: list[str]) -> str:
    words = re.sub(r"[_\W]+", " ", label).strip()
    lines = [f"[categories.{_string(label)}]", f"description = {_string(words or label)}"]
    lines += [f"route = {_string(data.routes[label])}"] if label in data.routes else []
    lines += ["examples = [", *(f"    {_string(text)}," for text in examples), "]"] if examples else []
    return "\n".join(lines) + "\n"


def _string(text: str) -> str:
    """A TOML basic string. TOML has all escapes of JSON; DEL must be escaped too."""
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")
