"""Parts that several tests share. Programs among them run as `python -m support.NAME`."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
"""The checkout."""
