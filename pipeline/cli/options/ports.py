"""The type of options for a port to listen on."""

import click

from ...settings.addresses import MAX_PORT

PORT = click.IntRange(0, MAX_PORT)
"""0 takes a free one."""
