"""The folder for models, caches and measurements on this machine."""

import os
from pathlib import Path

import platformdirs


def home_folder() -> Path:
    """INFERSTREAM_HOME if it is set, else the user's cache folder for inferstream."""
    home = os.environ.get("INFERSTREAM_HOME")
    return Path(home).expanduser() if home else platformdirs.user_cache_path("inferstream", appauthor=False)
