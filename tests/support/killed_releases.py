"""Ends processes by SIGKILL at each step that a change of a registry makes on disk, then looks and repeats it.

`python -m support.killed_releases SCENARIO FOLDER` prints at how many steps; an AssertionError tells the rest.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inferstream.pipeline.models.releases.alias import AliasState
from inferstream.pipeline.models.releases.checking import check_folder
from inferstream.pipeline.models.releases.faults import AliasChanged, RegistryError, UnknownRelease
from inferstream.pipeline.models.releases.local.local import LocalReleases, no_progress
from inferstream.pipeline.models.releases.names import ReleaseName
from inferstream.pipeline.models.releases.registry.collecting import Collector
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.models.releases.registry.promoting import Promoter, change_now
from inferstream.pipeline.models.releases.registry.publishing import check_complete, publish_release
from inferstream.pipeline.models.releases.registry.store import ReleaseStore
from inferstream.pipeline.models.releases.release import Release
from support.releases import FILES, a_release

PROD = ReleaseName("triage", alias="prod")
CHANGES = frozenset({"os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"})
LATER = 10 * 24 * 3600.0


def killed_at(step: int, action: Callable[[], None], root: Path) -> bool:
    """Whether a process that does it was killed before the step, and did not end by itself."""
    process = os.fork()
    if process == 0:
        left = step

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if _changes(event, arguments) and any(str(one).startswith(str(root)) for one in arguments[:2]):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            action()
        except BaseException as error:
            print("the action failed:", repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    status = os.waitpid(process, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _changes(event: str, arguments: tuple[Any, ...]) -> bool:
    """Killed before it reads is as killed before its next change."""
    return event in CHANGES or (
        event == "open" and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    )


def files_of(folder: Path, number: int) -> dict[str, Path]:
    """Files on this machine: one is the same for all numbers."""
    contents = {
        "models/tiny/tokenizer.json": FILES["models/tiny/tokenizer.json"],
        "heads/shop/current": str(number).encode(),
        "models/tiny/int8.onnx": b"%d" % number * 4_000,
    }
    files = {}
    for path, content in contents.items():
        files[path] = folder / f"files-{number}" / path
        files[path].parent.mkdir(parents=True, exist_ok=True)
        files[path].write_bytes(content)
    return files


def release_of(files: dict[str, Path]) -> Release:
    return a_release({path: place.read_bytes() for path, place in files.items()})


def promote(store: ReleaseStore, files: dict[str, Path]) -> AliasState:
    """Publish and promote, as the command does."""
    release = publish_release(store, release_of(files), files, no_progress)
    return Promoter(store).promote(PROD, release.version, change_now())


def publishing(folder: Path) -> int:
    """The alias names the old or the new version, which is whole; a repeated attempt ends well."""
    root = folder / "registry"
    store = open_registry(str(root))
    old, new = files_of(folder, 1), files_of(folder, 2)
    promote(store, old)
    shutil.copytree(root, folder / "before")
    step = 0
    while killed_at(step, lambda: promote(store, new), root) and step < 2_000:
        state = store.alias("triage", "prod")
        assert state.stable in (release_of(old).version, release_of(new).version)
        for version in store.versions("triage"):
            check_complete(store, store.release("triage", version))
        promote(store, new)
        assert store.alias("triage", "prod").stable == release_of(new).version
        assert [one.number for one in store.history("triage", "prod")] == [1, 2]
        shutil.rmtree(root)
        shutil.copytree(folder / "before", root)
        step += 1
    return step


def laying_out(folder: Path) -> int:
    """The folder is whole or absent; a repeated attempt leaves nothing else."""
    store = open_registry(str(folder / "registry"))
    release = release_of(files_of(folder, 1))
    promote(store, files_of(folder, 1))
    home = folder / "home"
    here = LocalReleases(store, home)
    step = 0
    while killed_at(step, lambda: here.lay_out(release) and None, home) and step < 2_000:
        place = home / "releases" / release.version
        if place.exists():
            check_folder(place, release)
            assert list(here.laid_out()) == [release]
        assert here.lay_out(release) == place
        check_folder(place, release)
        assert not list((home / "releases").glob("*.part")), "what was begun is gone"
        shutil.rmtree(home)
        step += 1
    return step


def collecting(folder: Path) -> int:
    """What an alias names stays whole, also while a part of the garbage is gone."""
    root = folder / "registry"
    store = open_registry(str(root))
    for number in range(4):
        promote(store, files_of(folder, number))
    names = [release_of(files_of(folder, number)) for number in range(4)]
    shutil.copytree(root, folder / "before")

    def collect() -> None:
        Collector(store, keep=1, clock=lambda: time.time() + LATER).collect()

    step = 0
    while killed_at(step, collect, root) and step < 2_000:
        for release in names[2:]:  # the stable one and the one before
            LocalReleases(store, folder / "home").lay_out(release)
            shutil.rmtree(folder / "home")
        collect()
        assert store.versions("triage") == sorted(release.version for release in names[2:])
        for release in names[2:]:
            check_complete(store, release)
        shutil.rmtree(root)
        shutil.copytree(folder / "before", root)
        step += 1
    return step


def racing(folder: Path) -> int:
    """Publishers, promoters and collectors at once: a change that ended well names a whole release."""
    root = folder / "registry"
    files = [files_of(folder, number) for number in range(4)]
    processes = [_forked(lambda number=number: _promote_often(root, files[number])) for number in range(4)]
    processes += [_forked(lambda: _collect_often(root)) for _ in range(2)]
    for process in processes:
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    store = open_registry(str(root))
    history = store.history("triage", "prod")
    assert [state.number for state in history] == list(range(1, len(history) + 1)), (
        "no number is missing or twice"
    )
    check_complete(store, store.release("triage", history[-1].stable))
    return len(history)


def laying_out_at_once(folder: Path) -> int:
    """Several processes, of which some are killed."""
    store = open_registry(str(folder / "registry"))
    release = release_of(files_of(folder, 1))
    promote(store, files_of(folder, 1))
    here = LocalReleases(store, folder / "home")

    def lay_out() -> None:
        check_folder(here.lay_out(release), release)

    rounds = 0
    for step in range(0, 48, 6):
        processes = [_forked(lay_out) for _ in range(3)]
        killed_at(step, lay_out, folder / "home")
        for process in processes:
            assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
        assert list(here.laid_out()) == [release]
        shutil.rmtree(folder / "home")
        rounds += 1
    return rounds


def _forked(action: Callable[[], None]) -> int:
    process = os.fork()
    if process:
        return process
    try:
        action()
    except BaseException as error:
        print("a process failed:", repr(error), flush=True)
        os._exit(1)
    os._exit(0)


def _promote_often(root: Path, files: dict[str, Path]) -> None:
    store = open_registry(str(root))
    done = 0
    while done < 6:
        try:
            promote(store, files)
        except (RegistryError, UnknownRelease, AliasChanged) as error:
            # Without a grace time a release may be removed before an alias names it.
            if not any(words in str(error) for words in ("lacks", "has no release", "was faster")):
                raise
            continue
        done += 1


def _collect_often(root: Path) -> None:
    store = open_registry(str(root))
    for _ in range(30):
        Collector(store, keep=1, grace_s=0).collect()


SCENARIOS = {
    "publishing": publishing,
    "laying_out": laying_out,
    "collecting": collecting,
    "racing": racing,
    "laying_out_at_once": laying_out_at_once,
}

if __name__ == "__main__":
    os.fsync = lambda _: None  # processes are killed here, not machines
    print(SCENARIOS[sys.argv[1]](Path(sys.argv[2])))
