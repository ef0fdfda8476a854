"""The sentences of FLORES (CC BY-SA 4.0), which are no part of this project."""

import sys
from pathlib import Path


def read_lines(folder: Path) -> dict[str, list[str]]:
    """The lines by language. Ends the program with a sentence if a file is missing."""
    try:
        return {
            language: (folder / f"flores-dev.{language}").read_text("utf-8").splitlines()
            for language in ("en", "pt")
        }
    except OSError as error:
        sys.exit(f"Cannot read {error.filename}: give the folder with flores-dev.en and flores-dev.pt.")
