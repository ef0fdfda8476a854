"""The paths of a release's files. They come from a manifest, so each is checked before a file is made of it."""

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

PART: Final = re.compile(r"[A-Za-z0-9_+=@,()-][A-Za-z0-9._+=@,() -]*")
RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
MAX_PATH: Final = 400
MAX_PART: Final = 120
"""Characters; Windows allows 260 for a path with its folder, file systems 255 bytes for a part."""
OWN_FILE: Final = "release.json"
"""The manifest of a release in its folder."""


def faults_of_paths(paths: Iterable[str]) -> Iterator[str]:
    """What is wrong with them, each a sentence without its full stop."""
    seen: dict[str, str] = {OWN_FILE: OWN_FILE}
    folders: dict[str, str] = {}
    for path in paths:
        if fault := _fault(path):
            yield f"the path {path[:MAX_PATH]!r} {fault}"
            continue
        small = path.lower()
        if small in seen or small in folders:
            yield f"the path {path!r} is also that of another file or folder"
        seen[small] = path
        parents = [str(parent).lower() for parent in PurePosixPath(path).parents][:-1]
        if taken := next((parent for parent in parents if parent in seen), None):
            yield f"the path {path!r} is below the file {seen[taken]!r}"
        folders.update(dict.fromkeys(parents, path))


def _fault(path: str) -> str | None:
    """Nothing may leave the folder: no `..`, no drive, no stream of a file, no device of Windows."""
    if not path or len(path) > MAX_PATH:
        return f"must have from 1 to {MAX_PATH} characters"
    if path.startswith("/"):
        return "is absolute"
    for part in path.split("/"):
        if part in {"", ".", ".."}:
            return f"has the part {part!r}"
        if not PART.fullmatch(part) or part.endswith((".", " ")):
            return "has characters that a path of a release cannot have, or a part that begins or ends with a dot"
        if RESERVED.fullmatch(part) or len(part) > MAX_PART:
            return f"has the part {part[:MAX_PART]!r}, which not every system allows"
    return None
