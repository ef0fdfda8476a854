"""Parts that several tests share. Programs among them run as `python -m support.NAME`."""

import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
"""The checkout."""

INFERSTREAM: Final = Path(sys.executable).with_name("inferstream")
"""The command, as installed with this Python."""
