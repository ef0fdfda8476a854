"""A program that runs a recipe and kills itself, again and again: `python -m support.recipe_runs RECIPE ROWS HOME`.

The first run is killed at its first renaming of a finished file, the next one at its second, until a run ends. A line
for each: how many renamings it was let do, and the variants that are listed and whole after it.
"""

import os
import signal
import sys
from pathlib import Path

from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.machine.machine import this_machine
from inferstream.pipeline.optimize.recipes import runner
from inferstream.pipeline.optimize.recipes.making import Making
from inferstream.pipeline.optimize.recipes.model_facts import facts_of
from inferstream.pipeline.optimize.recipes.plan import plan_of
from inferstream.pipeline.optimize.recipes.reading import read_recipe
from inferstream.pipeline.optimize.recipes.rows import RecipeRows


class Quiet:
    """Shows nothing."""

    def begin(self, making: Making) -> "Quiet":
        return self

    def __call__(self, step: str, done: int, total: int | None) -> None:
        pass

    def end(self, carried: runner.DoneStep) -> None:
        pass


def run(recipe: Path, home: Path) -> list[runner.DoneStep]:
    """Run the recipe as the command does."""
    wanted = read_recipe(recipe)
    registry = ModelRegistry(home, judged=False)
    facts = facts_of(wanted.model, registry, Quiet())
    plan, rows = plan_of(wanted, facts), RecipeRows(wanted.data, facts)
    return runner.RecipeRun(registry, plan, rows, this_machine()).run(Quiet())


def kill_at(limit: int) -> None:
    """Let this process be killed when it wants to rename a file once more than ``limit`` times."""
    rename = Path.replace
    done = 0

    def counted(self: Path, target: Path) -> Path:
        nonlocal done
        if done == limit:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        return rename(self, target)

    Path.replace = counted  # type: ignore[method-assign,assignment]


def main() -> None:
    recipe, home = Path(sys.argv[1]), Path(sys.argv[2])
    limit = 0
    while True:
        if (child := os.fork()) == 0:
            kill_at(limit)
            run(recipe, home)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        registry = ModelRegistry(home)
        listed = registry.list()
        for manifest in listed:
            registry.verify(manifest)
        print(limit, *(manifest.name for manifest in listed), flush=True)
        if not os.WIFSIGNALED(status):
            sys.exit(os.waitstatus_to_exitcode(status))
        limit += 1


if __name__ == "__main__":
    main()
