"""The commands that install what carried a recipe out: inferstream with its version and commit, and the packages."""

import shlex
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

import msgspec

OWN: Final = "inferstream"
EXTRAS: Final = {"onnxruntime-gpu": "gpu", "onnxruntime": "cpu", "scikit-learn": "fit", "torch": "optimize"}
"""The extras of inferstream that bring these packages."""
GIT_S: Final = 10.0


def install_commands(found: Mapping[str, str]) -> Iterator[str]:
    """``found``: the versions of inferstream and of the packages, by name."""
    own = found.get(OWN, "")
    extras = ",".join(extra for package, extra in EXTRAS.items() if package in found)
    named = f"{OWN}[{extras}]" if extras else OWN
    others = " ".join(f"{name}=={version}" for name, version in found.items() if name != OWN)
    source = _source()
    if "dir_info" in source:
        commit = _commit() if source["dir_info"].get("editable") else None
        yield f"# ./{OWN}: a checkout of {OWN} {own}, {commit or 'whose commit is not known'}"
        if commit:
            yield f"git -C {OWN} checkout {commit.partition(' ')[0]}"
        wanted = f"./{named}"
    elif version_control := source.get("vcs_info"):
        wanted = f"{named} @ {version_control['vcs']}+{source['url']}@{version_control['commit_id']}"
    else:
        wanted = f"{named}=={own}"
    yield f"python -m pip install {shlex.quote(wanted)} {others}".rstrip()


def _source() -> dict[str, Any]:
    """Where inferstream was installed from, as the installer has recorded it (PEP 610); empty for a release."""
    try:
        recorded = distribution(OWN).read_text("direct_url.json")
        return msgspec.json.decode(recorded or "{}", type=dict[str, Any])
    except (PackageNotFoundError, msgspec.DecodeError):
        return {}


def _commit() -> str | None:
    """Of the checkout that this file is in; None without git or a repository."""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return f"{commit} with changes that were not committed" if commit and changes else commit or None


def _git(*words: str) -> str:
    """What git says; empty if it fails."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
