"""How long work tells how far it is."""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Told (step, done, total): bytes of a file that is fetched; a step that counts nothing has no total."""
