"""Code that several tests share. Programs run as `python -m support.NAME`."""

import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
"""The root of the checkout."""

INFERSTREAM: Final = Path(sys.executable).with_name("inferstream")
"""The command, as installed with this Python."""
