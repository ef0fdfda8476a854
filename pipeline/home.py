"""Where this machine keeps what was fetched, built or learned."""

import os
from pathlib import Path

import platformdirs


def home_folder() -> Path:
    """INFERSTREAM_HOME where it is set, else the user's cache folder."""
    home = os.environ.get("INFERSTREAM_HOME")
    return Path(home).expanduser() if home else platformdirs.user_cache_path("inferstream", appauthor=False)
