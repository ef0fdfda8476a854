"""`models gc`: remove releases that nothing names any more."""

import click
import msgspec

from ....config import Config
from ...options.registry import REGISTRY
from ...options.settings import with_settings
from .shared import as_json


@click.command()
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Keep what each alias has named in this many of its last changes.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@with_settings(REGISTRY, kafka=False)
@as_json
def gc(keep: int, dry_run: bool, config: Config, as_json: bool) -> None:
    """Remove the releases that no alias has named for long.

    Nothing that is younger than a day is removed, since a publisher may not be ready yet. What is removed stays in
    the registry's folder `trash` until a gc a day later.

    \b
      inferstream models gc --keep 3 --dry-run
    """
    from ....models.releases.local.collecting import LocalCollector
    from ....models.releases.registry.collecting import Collector
    from ....models.releases.registry.opening import open_registry

    store = open_registry(config.registry.url, limit_s=config.registry.timeout_s)
    collector = Collector(store, keep)
    collected = collector.collect(dry_run=dry_run)
    local = LocalCollector(collector.kept()).collect(dry_run=dry_run)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"registry": collected, "here": local}), indent=2))
        return
    verb = "Would remove" if dry_run else "Removed"
    click.echo(
        f"{verb} {len(collected.releases)} releases and {collected.objects} files "
        f"({collected.size_bytes / 1e6:.1f} MB) from the registry {store.shown}; {collected.kept_releases} stay."
    )
    for release in collected.releases:
        click.echo(f"  {release}")
    click.echo(
        f"{verb} {len(local.versions)} releases and {local.size_bytes / 1e6:.1f} MB from this machine."
    )
