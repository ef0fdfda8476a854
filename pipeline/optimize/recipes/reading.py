"""Reads a recipe from TOML, and writes it. What is wrong is said in one sentence with its place."""

import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec import structs

from ...errors import UsageError
from ...rows.decoding import read_text
from .recipe import STEPS, DataPart, ModelPart, Recipe, Step, TriagePart

Part = TypeVar("Part", bound=msgspec.Struct)

PROFILES: Final = ("edge", "cpu", "gpu")
"""The recipes that ship with inferstream, in `profiles`."""

TABLES: Final[Mapping[str, type[msgspec.Struct]]] = {
    "model": ModelPart,
    "data": DataPart,
    "triage": TriagePart,
}
PLAIN: Final = ("about", "provider")
"""What stands above the tables."""

NAMING: Final = ("of", "name", "model")
"""The fields of steps that name variants."""

MAX_STEPS: Final = 100


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file, with absolute paths; those in the file are relative to its folder. Raises UsageError."""
    recipe = parse_recipe(read_text(path, f"the recipe {path}"), f"The recipe {path}")
    return structs.replace(
        recipe,
        model=_beside(recipe.model, path),
        data=_with_paths(recipe.data, path, "file", "test", "references"),
        triage=_with_paths(recipe.triage, path, "taxonomy"),
    )


def read_profile(name: str) -> Recipe:
    """A recipe that ships with inferstream."""
    text = resources.files(__package__).joinpath(f"profiles/{name}.toml").read_text("utf-8")
    return parse_recipe(text, f"The profile {name}")


def parse_recipe(text: str, source: str) -> Recipe:
    """The recipe in ``text``, which errors call ``source``. Raises UsageError with the place of what is wrong."""
    try:
        given = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{source} is not TOML: {error}.") from error
    names = [one.encode_name for one in structs.fields(Recipe)]
    for name in given:
        if name not in names:
            raise UsageError(f"{source} has {name!r}, which is no part of a recipe: {_choice(name, names)}")
    whole = _part({name: given[name] for name in PLAIN if name in given}, Recipe, source)
    parts: dict[str, Any] = {
        name: _part(given.get(name, {}), kind, f"{source}, [{name}]") for name, kind in TABLES.items()
    }
    return structs.replace(whole, step=tuple(_steps(given.get("step", ()), source)), **parts)


def write_recipe(recipe: Recipe) -> str:
    """The recipe as TOML; reading it gives the same recipe."""
    found = msgspec.to_builtins(recipe)
    plain = list(_lines({name: found[name] for name in PLAIN if name in found}))
    lines = [*plain, ""] if plain else []
    for table in TABLES:
        if values := found.get(table):
            lines += [f"[{table}]", *_lines(values), ""]
    for step in found.get("step", ()):
        lines += ["[[step]]", *_lines(step), ""]
    return "\n".join(lines)


def with_model(recipe: Recipe, name: str) -> Recipe:
    """The recipe for another model; names of variants that begin with the model's name follow it."""
    old = recipe.model.name

    def renamed(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(renamed, value))
        ours = isinstance(value, str) and (value == old or value.startswith(f"{old}-"))
        return f"{name}{value.removeprefix(old)}" if ours else value

    steps = (
        structs.replace(
            step, **{field: renamed(getattr(step, field)) for field in NAMING if hasattr(step, field)}
        )
        for step in recipe.step
    )
    return structs.replace(recipe, model=ModelPart(name), step=tuple(steps))


def _steps(given: Any, source: str) -> Iterator[Step]:
    if not isinstance(given, list | tuple):
        raise UsageError(f"{source} has a `step` that is no list of tables: write each step below [[step]].")
    if len(given) > MAX_STEPS:
        raise UsageError(f"{source} has {len(given)} steps; {MAX_STEPS} are the most.")
    for number, one in enumerate(given, 1):
        place = f"{source}, step {number}"
        if not isinstance(one, dict):
            raise UsageError(f"{place} is no table: write it below [[step]].")
        kind = one.get("kind")
        if kind is None:
            raise UsageError(
                f"{place} does not say its kind: add kind = {_value(next(iter(STEPS)))}, for example."
            )
        if not isinstance(kind, str) or kind not in STEPS:
            raise UsageError(
                f"{place} is of the kind {kind!r}, which is unknown: {_choice(str(kind), list(STEPS))}"
            )
        yield _part(one, STEPS[kind], f"{place} ({kind})")


def _part(given: Any, kind: type[Part], place: str) -> Part:
    """``given`` as a part of the recipe. Raises UsageError that names ``place`` and the field."""
    if not isinstance(given, dict):
        raise UsageError(f"{place} is no table.")
    names = [one.encode_name for one in structs.fields(kind)]
    for name in given:
        if name not in names and name != kind.__struct_config__.tag_field:
            raise UsageError(f"{place} has {name!r}, which it does not know: {_choice(name, names)}")
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$.")
        field = where.rstrip("`")
        raise UsageError(
            f"{place}: {field} = {_value(given.get(field))} is wrong ({_small(reason)})."
        ) from None


def _beside(model: ModelPart, recipe: Path) -> ModelPart:
    """With the path of a folder that lies beside the recipe; the id of a model on the hub stays as it is."""
    if model.source is None or not (recipe.parent / model.source).is_dir():
        return model
    return structs.replace(model, source=str((recipe.parent / model.source).absolute()))


def _with_paths(part: Part, recipe: Path, *names: str) -> Part:
    """With absolute paths in these fields, where they are relative to the folder of the recipe."""
    given = {name: path for name in names if (path := getattr(part, name))}
    files = {name: str((recipe.parent / path).absolute()) for name, path in given.items()}
    return structs.replace(part, **files)


def _choice(given: str, known: list[str]) -> str:
    near = get_close_matches(given, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(known)}."


def _lines(table: Mapping[str, Any]) -> Iterator[str]:
    for name, value in table.items():
        yield f"{name} = {_value(value)}"


def _value(value: Any) -> str:
    """A value of TOML, which has all escapes of JSON; DEL must be escaped too."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_value(name)} = {_value(one)}' for name, one in value.items())} }}"
    return msgspec.json.encode(value, enc_hook=str).decode().replace("\x7f", "\\u007f")


def _small(sentence: str) -> str:
    return f"{sentence[:1].lower()}{sentence[1:]}"
