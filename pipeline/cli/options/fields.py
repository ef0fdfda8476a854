"""Options of a command from the fields of a struct: their names, types, and the help from its docstring."""

from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import click
import msgspec
from msgspec import Meta, Struct, structs

from ....schemas.docstrings import described

PLAIN = {int: click.INT, float: click.FLOAT, str: click.STRING}


class JsonValue(click.ParamType):
    """A value of a type that a command line has no words for, as JSON."""

    name = "json"

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return msgspec.to_builtins(msgspec.json.decode(value, type=self._kind))
        except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as error:
            self.fail(f"{value[:40]!r} is not the JSON of such a value: {error}.", param, ctx)


def field_options(
    kind: type[Struct], start: str, *, prefix: str, taken: Collection[str] = (), but: Collection[str] = ()
) -> Iterator[click.Option]:
    """An option for each field of ``kind``. The name of its parameter begins with ``start``.

    Args:
        prefix: what the option's name gets in front if the name is ``taken``.
        but: fields that get none.
    """
    _, texts = described(kind.__doc__ or "")
    hints = get_type_hints(kind, include_extras=True)
    for field in structs.fields(kind):
        if field.name in but:
            continue
        name = f"--{field.encode_name.replace('_', '-')}"
        if name in taken:
            name = f"--{prefix}-{name.removeprefix('--')}"
        option = _option(name, hints[field.name], texts.get(field.name, ""), field.default)
        option.name = f"{start}{field.encode_name}"
        yield option


def _option(name: str, hint: Any, text: str, default: Any) -> click.Option:
    kind, metas = _bare(hint)
    shown = "" if default in (None, "", msgspec.NODEFAULT) else f"  [default: {_shown(default)}]"
    sentence = f"{text[:1].upper()}{text[1:].rstrip('.')}.{shown}" if text else shown.strip()
    if kind is bool:
        return click.Option([f"{name}/--no-{name.removeprefix('--')}"], default=None, help=sentence)
    return click.Option([name], type=_click_type(kind, metas), default=None, help=sentence)


def _bare(hint: Any) -> tuple[Any, list[Meta]]:
    """The type without what is annotated, and without None."""
    metas: list[Meta] = []
    while True:
        if get_origin(hint) is Annotated:
            parts = get_args(hint)
            hint = parts[0]
            metas += [part for part in parts[1:] if isinstance(part, Meta)]
            continue
        others = [part for part in get_args(hint) if part is not type(None)]
        if type(None) in get_args(hint) and len(others) == 1:
            hint = others[0]
            continue
        return hint, metas


def _click_type(kind: Any, metas: list[Meta]) -> click.ParamType:
    if get_origin(kind) is Literal and all(isinstance(one, str) for one in get_args(kind)):
        return click.Choice(get_args(kind))
    if kind in (int, float):
        bounds = {
            "min": next((meta.ge for meta in metas if meta.ge is not None), None),
            "max": next((meta.le for meta in metas if meta.le is not None), None),
        }
        if bounds["min"] is not None or bounds["max"] is not None:
            return click.IntRange(**bounds) if kind is int else click.FloatRange(**bounds)  # type: ignore[arg-type]
    return PLAIN.get(kind) or JsonValue(kind)


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return default if isinstance(default, str) else msgspec.json.encode(default, enc_hook=str).decode()
