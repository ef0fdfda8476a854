"""Downloads through pip, which has the settings of this machine: index, mirrors, passwords, certificates."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .catalogue import Package
from .http import Unreachable

FOUND_LINK = re.compile(r"Found link ([^\s#]+)")
SETTINGS = {"PIP_RETRIES": "1", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def find_wheel(package: Package, folder: Path) -> str | None:
    """The address of the package's wheel; None if pip printed no address and downloaded the wheel
    to ``folder``.

    pip has no command that only finds a wheel: it writes its report after the download. So pip
    starts the download, prints the links that it found, and is stopped at the right link. Raises
    Unreachable.
    """
    process = _start(package, folder)
    for line in _lines(process, package):
        if (found := FOUND_LINK.search(line)) and found[1].endswith("/" + package.wheel.name):
            process.send_signal(signal.SIGINT)  # the signal of Ctrl-C: pip then removes the partial download
            process.communicate()
            return found[1]
    return None


def download_wheel(package: Package, folder: Path) -> None:
    """Download the wheel to ``folder`` with pip. Raises Unreachable."""
    for _ in _lines(_start(package, folder), package):
        pass


def _start(package: Package, folder: Path) -> "subprocess.Popen[str]":
    wanted = f"{package.name}=={package.version}"
    platform = ["--platform", package.platform] if package.platform else []
    options = ["--no-deps", "--only-binary=:all:", "--progress-bar=off", "-vv", "--dest", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-m", "pip", "download", *options, *platform, wanted],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**SETTINGS, **os.environ},
    )


def _lines(process: "subprocess.Popen[str]", package: Package) -> Iterator[str]:
    """The output of pip, line by line. Raises Unreachable if pip fails."""
    assert process.stdout is not None
    reason = "it gave no reason"
    for line in process.stdout:
        if "ERROR: " in line or "No module named" in line:
            reason = line.strip().removeprefix("ERROR: ")
        yield line
    process.communicate()
    if process.returncode:
        raise Unreachable(f"pip cannot get {package.name}=={package.version} ({reason.rstrip('.')}).")
