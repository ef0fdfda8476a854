"""A group of commands that suggests a command for a misspelled one."""

from difflib import get_close_matches

import click


class SuggestingGroup(click.Group):
    """Adds "did you mean" to the error for an unknown command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        wanted = args[0]
        near = get_close_matches(wanted.lower().replace("_", "-"), known, n=1)
        if wanted not in known and near and not wanted.startswith("-"):
            ctx.fail(f"No such command {wanted!r}: did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)
