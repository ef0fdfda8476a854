"""Mutants of a Python file: copies with one small fault each, made from the syntax tree.

Left out, since no test should hold them: annotations, docstrings, texts, log lines, `__repr__`, and the
numbers of constants at the top of a module, which tests use by their names.
"""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

PAIRS: list[tuple[type[ast.cmpop], type[ast.cmpop]]] = [
    (ast.Lt, ast.LtE),
    (ast.Gt, ast.GtE),
    (ast.Eq, ast.NotEq),
    (ast.Is, ast.IsNot),
    (ast.In, ast.NotIn),
]
COMPARISONS = dict(PAIRS) | {second: first for first, second in PAIRS}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "popleft": "pop"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Site(NamedTuple):
    """One place where a fault can be put in, the lines of its statement, and what puts it in, in the tree."""

    lines: tuple[int, int]
    fault: str
    before: str
    change: Callable[[], None]


class Mutant(NamedTuple):
    """One copy with a fault: the ``number``-th site of the file, in the order of its tree."""

    path: str
    number: int
    lines: tuple[int, int]
    fault: str
    before: str
    after: str

    @property
    def name(self) -> str:
        return f"{self.path}:{self.lines[0]} {self.fault}: {self.before!r} -> {self.after!r}"


def count(root: Path, path: str) -> int:
    """How many mutants the file has."""
    return len(list(sites(ast.parse((root / path).read_text()))))


def mutant(root: Path, path: str, number: int) -> Mutant:
    """One of them, with the first line in which it differs."""
    source = (root / path).read_text()
    tree = ast.parse(source)
    plain = ast.unparse(tree).splitlines()
    site = list(sites(tree))[number]
    changed = ast.unparse(_changed(source, number)).splitlines()
    after = next((new for old, new in zip(plain, changed, strict=False) if old != new), "")
    return Mutant(path, number, site.lines, site.fault, site.before, after.strip())


def code_of(root: Path, mutant: Mutant) -> CodeType:
    """The mutant, compiled."""
    path = root / mutant.path
    return compile(_changed(path.read_text(), mutant.number), str(path), "exec")


def _changed(source: str, number: int) -> ast.Module:
    tree = ast.parse(source)
    list(sites(tree))[number].change()
    return ast.fix_missing_locations(tree)


class Place(NamedTuple):
    """A node, the statement that holds it, and the name of the function, None outside of one."""

    node: ast.AST
    statement: ast.stmt | None
    function: str | None


Faults = Iterator[tuple[str, Callable[[], None]]]


def sites(tree: ast.Module) -> Iterator[Site]:
    """The places for a fault, in a fixed order."""
    for node, statement, function in _walk(Place(tree, None, None)):
        for fault, change in (*_in_expression(node), *_in_call(node), *_in_condition(node)):
            yield _site(fault, node, statement, change)
        for block in ("body", "orelse", "finalbody"):
            statements = getattr(node, block, None)
            if isinstance(statements, list) and function is not None:
                for n, one in enumerate(statements):
                    for fault, change in _in_block(statements, n, function):
                        yield _site(fault, one, one, change)


def _site(fault: str, node: ast.AST, statement: ast.stmt | None, change: Callable[[], None]) -> Site:
    first = statement.lineno if statement else 0
    last = getattr(node, "end_lineno", first)
    if isinstance(node, ast.If | ast.While | ast.For | ast.ExceptHandler):
        last = node.body[0].lineno - 1
        first = node.lineno
    return Site((first, max(first, last)), fault, ast.unparse(node).partition("\n")[0][:90], change)


def _walk(place: Place) -> Iterator[Place]:
    """The places in which a fault may be."""
    yield place
    for name, value in ast.iter_fields(place.node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_left_out(child, place.function):
                statement = child if isinstance(child, ast.stmt) else place.statement
                function = child.name if isinstance(child, FUNCTIONS) else place.function
                yield from _walk(Place(child, statement, function))


def _is_left_out(node: ast.AST, function: str | None) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.FunctionDef(name="__repr__"):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="log")))):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Assign() | ast.AnnAssign() if function is None:
            return isinstance(node.value, ast.Constant | ast.Tuple | None)
    return False


def _in_expression(node: ast.AST) -> Faults:
    match node:
        case ast.Compare():
            for n in range(len(node.ops)):
                yield "comparison", lambda n=n: _put(node.ops, n, COMPARISONS[type(node.ops[n])]())
        case ast.BinOp() | ast.AugAssign() if type(node.op) in ARITHMETIC and not _is_text(node):
            yield "arithmetic", lambda: setattr(node, "op", ARITHMETIC[type(node.op)]())
        case ast.UnaryOp(op=ast.USub()):
            yield "sign", lambda: setattr(node, "op", ast.UAdd())
        case ast.Constant(value=bool()):
            yield "constant", lambda: setattr(node, "value", not node.value)
        case ast.Constant(value=int() | float()):
            yield "constant", lambda: setattr(node, "value", node.value + 1)
        case ast.Return(value=ast.expr()) if not _is_none(node.value):
            yield "returns None", lambda: setattr(node, "value", ast.Constant(None))


def _in_call(node: ast.AST) -> Faults:
    match node:
        case ast.Call():
            field = "id" if isinstance(node.func, ast.Name) else "attr"
            if (other := NAMES.get(getattr(node.func, field, ""))) is not None:
                yield "other function", lambda: setattr(node.func, field, other)
            for n, keyword in enumerate(node.keywords):
                if keyword.arg is not None:
                    yield "argument left out", lambda n=n: _drop(node.keywords, n)


def _in_condition(node: ast.AST) -> Faults:
    match node:
        case ast.BoolOp():
            other, neutral = (ast.Or, True) if isinstance(node.op, ast.And) else (ast.And, False)
            yield "and/or", lambda: setattr(node, "op", other())
            for n in range(len(node.values)):
                yield "condition left out", lambda n=n: _put(node.values, n, ast.Constant(neutral))
        case ast.UnaryOp(op=ast.Not()):
            yield "condition", lambda: setattr(node, "operand", _negated(node.operand))
        case ast.If() | ast.While() | ast.IfExp() if not _is_negated_elsewhere(node.test):
            yield "condition", lambda: setattr(node, "test", _negated(node.test))
        case ast.comprehension():
            for n in range(len(node.ifs)):
                yield "condition left out", lambda n=n: _drop(node.ifs, n)
        case ast.For() | ast.AsyncFor():
            yield "loop left out", lambda: setattr(node, "iter", ast.List([], ast.Load()))
        case ast.ExceptHandler():
            yield "not caught", lambda: setattr(node, "body", [ast.Raise()])


def _in_block(statements: list[ast.stmt], n: int, function: str) -> Faults:
    statement = statements[n]
    match statement:
        case ast.Raise() | ast.Delete() | ast.Return(value=None):
            yield "left out", lambda: _put(statements, n, ast.Pass())
        case ast.Break():
            yield "continue", lambda: _put(statements, n, ast.Continue())
        case ast.Continue():
            yield "break", lambda: _put(statements, n, ast.Break())
    if function != "__init__" and _has_effect(statement):
        yield "left out", lambda: _put(statements, n, ast.Pass())
        if n and _has_effect(statements[n - 1]):
            yield "order", lambda: _swap(statements, n)


def _has_effect(statement: ast.stmt) -> bool:
    """A call, or an assignment to something that outlives the function."""
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="log")))):
            return False
        case ast.Expr(value=ast.Call() | ast.Await()):
            return True
        case ast.Assign(targets=[target]) | ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            return isinstance(target, ast.Attribute | ast.Subscript)
    return False


def _negated(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def _is_negated_elsewhere(test: ast.expr) -> bool:
    """Whether the test has a fault of its own that is the same as its negation."""
    match test:
        case ast.UnaryOp(op=ast.Not()):
            return True
        case ast.Compare(ops=[ast.Eq() | ast.NotEq() | ast.Is() | ast.IsNot() | ast.In() | ast.NotIn()]):
            return True
    return False


def _is_text(node: ast.BinOp | ast.AugAssign) -> bool:
    """Formatting with %, or a sum of texts."""
    parts = [getattr(node, "left", None), getattr(node, "right", getattr(node, "value", None))]
    return any(
        isinstance(p, ast.JoinedStr) or isinstance(getattr(p, "value", None), str | bytes) for p in parts
    )


def _is_none(node: Any) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _put(items: list[Any], n: int, item: Any) -> None:
    items[n] = item


def _drop(items: list[Any], n: int) -> None:
    del items[n]


def _swap(statements: list[ast.stmt], n: int) -> None:
    statements[n - 1], statements[n] = statements[n], statements[n - 1]
