"""Bounds what a chat template may cost: it is a program of a stranger, and runs in a thread where others wait."""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from typing import Any, Final

from jinja2 import nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..errors import BadRequest

MAX_STEPS: Final = 1_000_000
"""Turns of loops and calls of macros: of 10 000 messages each may take a hundred."""

MAX_CPU_S: Final = 2.0
"""Of the thread, looked at every `STEPS_A_LOOK`. One step may copy a text of `MAX_SIZE`, which takes 1 ms."""

STEPS_A_LOOK: Final = 16

MAX_SIZE: Final = 4_000_000
"""Characters of a text, or items of a list, that a template makes. A request has 1 MB."""

MAX_WIDTH: Final = 10_000
"""The highest number that a function may be given that makes texts or lists: a width, an indent, a count."""

WIDE: Final = re.compile(r"[0-9]{5,}|\*")
"""A width in a format that is too large, or one that is given with the values."""


class TooMuchWork(BadRequest):
    """A template has reached one of these limits."""


class Work:
    """What one rendering has cost so far."""

    def __init__(self) -> None:
        self._steps = 0
        self._began = time.thread_time()

    def step(self) -> None:
        self._steps += 1
        if self._steps % STEPS_A_LOOK == 0 and time.thread_time() - self._began > MAX_CPU_S:
            raise TooMuchWork(f"it takes more than {MAX_CPU_S:g} s")
        if self._steps > MAX_STEPS:
            raise TooMuchWork(f"it takes more than {MAX_STEPS} steps")


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox whose templates have bounded loops, texts and lists. Enter `work` around each rendering."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._of_thread = threading.local()
        self.filters = {name: _bounded(name, one) for name, one in self.filters.items()}

    def add_filter(self, name: str, function: Callable[..., Any]) -> None:
        """A filter beside those of the library, or in the place of one."""
        self.filters[name] = _bounded(name, function)

    def begin(self) -> None:
        """A rendering begins in this thread."""
        self._of_thread.work = Work()

    def work_step(self) -> str:
        """One turn of a loop, or a call of a macro."""
        work: Work = self._of_thread.work
        work.step()
        return ""

    def counted(self, items: Iterable[Any]) -> Iterator[Any]:
        """The items of a loop: one that a condition leaves out has no turn."""
        step = self._of_thread.work.step
        for item in items:
            step()
            yield item

    def joined(self, *parts: Any) -> str:
        """The texts of `a ~ b`."""
        texts = [str(part) for part in parts]
        check_size(sum(map(len, texts)))
        return "".join(texts)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = super()._parse(source, name, filename)
        blocks: list[Any] = [*tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock))]
        for block in blocks:
            if isinstance(block, nodes.For):
                block.iter = _call("counted", [block.iter])
            if not isinstance(block, nodes.For) or block.recursive:  # a turn of it may be a call of itself
                block.body.insert(0, nodes.ExprStmt(_call("work_step", [])))
        _replace_joins(tree)
        return tree

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            _check_power(left, right)
        elif operator == "*":
            _check_product(left, right)
        elif operator == "%":
            if isinstance(left, str):
                _check_format(left, right if isinstance(right, tuple) else (right,))
        elif hasattr(left, "__len__") and hasattr(right, "__len__"):
            check_size(len(left) + len(right))
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        found = super().wrap_str_format(value)
        if found is None:
            return None

        @wraps(found)
        def bounded(*args: Any, **named: Any) -> str:
            given = args[0].values() if value.__name__ == "format_map" and args else (*args, *named.values())
            _check_format(value.__self__, given)
            return found(*args, **named)

        return bounded

    def call(self, context: Context, obj: Any, *args: Any, **named: Any) -> Any:
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str):
            args = _checked(obj.__name__, (owner, *args), named)[1:]
        return super().call(context, obj, *args, **named)


def check_size(size: int) -> None:
    """Raise TooMuchWork for a text or a list that is too large."""
    if size > MAX_SIZE:
        raise TooMuchWork(f"it makes a text or a list of more than {MAX_SIZE}")


def _call(name: str, args: list[Any]) -> nodes.Call:
    """A call of a method of the environment, which no name of the template hides."""
    return nodes.Call(nodes.EnvironmentAttribute(name), args, [], None, None)


def _replace_joins(node: nodes.Node) -> None:
    """Let `joined` make what `~` makes."""
    for field, value in node.iter_fields():
        values = value if isinstance(value, list) else [value]
        for index, one in enumerate(values):
            if not isinstance(one, nodes.Node):
                continue
            _replace_joins(one)
            if isinstance(one, nodes.Concat):
                made = _call("joined", list(one.nodes)).set_lineno(one.lineno)
                if isinstance(value, list):
                    value[index] = made
                else:
                    setattr(node, field, made)


def _check_power(left: Any, right: Any) -> None:
    if isinstance(right, int) and abs(right) > 64:
        raise TooMuchWork("it raises a number to more than the power of 64")
    if isinstance(left, int) and abs(left) > 10**9:
        raise TooMuchWork("it raises a number above 10^9 to a power")


def _check_product(left: Any, right: Any) -> None:
    for one, other in ((left, right), (right, left)):
        if hasattr(one, "__len__") and isinstance(other, int):
            check_size(len(one) * max(0, other))
        if isinstance(one, int) and abs(one) > 10**300:
            raise TooMuchWork("it makes a number of more than 300 digits")


def _check_format(form: str, values: Iterable[Any]) -> None:
    if WIDE.search(form):
        raise TooMuchWork(f"it formats with a width of more than {MAX_WIDTH}")
    lengths = [len(one) for one in values if isinstance(one, str)]
    check_size(len(form) + max(lengths, default=0) * (form.count("%") + form.count("{")))


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose arguments are checked before, and whose result behind it."""

    @wraps(function)  # also what it is given beside the value: the context, the environment
    def bounded(*args: Any, **named: Any) -> Any:
        skipped = 1 if getattr(function, "jinja_pass_arg", None) is not None else 0
        checked = _checked(name, args[skipped:], named)
        result = function(*args[:skipped], *checked, **named)
        if isinstance(result, str | list | tuple | Mapping):
            check_size(len(result))
        return result

    return bounded


def _checked(name: str, args: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Any, ...]:
    """The value and the arguments of a filter, or of a method of a text. Raises TooMuchWork before it costs much."""
    for one in (*args[1:], *named.values()):
        if isinstance(one, int) and abs(one) > MAX_WIDTH:
            raise TooMuchWork(f"it gives `{name}` a number of more than {MAX_WIDTH}")
    if name in ("format", "format_map") and args:
        _check_format(str(args[0]), (*args[1:], *named.values()))
    elif name == "replace" and len(args) > 2:
        text, old, new = str(args[0]), str(args[1]), str(args[2])
        check_size(len(text) + text.count(old) * len(new))
    elif name == "join" and args:
        is_method = isinstance(args[0], str) and len(args) > 1
        glue, items = (
            (args[0], args[1]) if is_method else (named.get("d", args[1] if len(args) > 1 else ""), args[0])
        )
        listed = list(items)
        check_size(len(listed) * len(str(glue)) + sum(len(one) for one in listed if isinstance(one, str)))
        return (args[0], listed) if is_method else (listed, *args[1:])
    elif name == "expandtabs":
        check_size(args[0].count("\t") * int(next(iter([*args[1:], *named.values()]), 8)) + len(args[0]))
    elif name == "indent":
        text = str(args[0])
        width = named.get("width", args[1] if len(args) > 1 else 4)
        check_size(
            len(text) + (text.count("\n") + 1) * (width if isinstance(width, int) else len(str(width)))
        )
    return args
