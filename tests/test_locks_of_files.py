"""A lock keeps other processes out, and a file system without locks keeps nobody out and nobody waiting."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

from inferstream.pipeline import locks
from inferstream.pipeline.client.reply_file import ReplyFile
from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.locks import lock_file
from inferstream.pipeline.models.registry import ModelRegistry

NO_LOCKS = [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK]


class NoFlock:
    """`fcntl` on a file system that refuses locks with ``code``."""

    LOCK_EX, LOCK_NB = 2, 4

    def __init__(self, code: int) -> None:
        self._code = code

    def flock(self, file: object, how: int) -> None:
        raise OSError(self._code, "refused")


@pytest.fixture(params=[*NO_LOCKS, None], ids=lambda code: errno.errorcode.get(code, "no fcntl"))
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None if request.param is None else NoFlock(request.param))


def test_a_lock_keeps_others_out_until_the_file_is_closed(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("ab") as first, (tmp_path / "lock").open("ab") as second:
        assert lock_file(first)
        with pytest.raises(BlockingIOError):
            lock_file(second)
        first.close()
        assert lock_file(second)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_it_says_so_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (tmp_path / "lock").open("ab") as file:
        assert not lock_file(file)
    assert f"no file locks at {tmp_path}" in caplog.text


@pytest.mark.usefixtures("no_locks")
def test_without_locks_replies_are_written(tmp_path: Path) -> None:
    with ReplyFile(tmp_path / "out.jsonl") as file:
        assert file.lines == 0


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_pull_does_not_wait(tmp_path: Path) -> None:
    said: list[str] = []
    with ModelRegistry(tmp_path).lock("mine", lambda what, done, total: said.append(what)):
        pass
    assert said == []


def test_another_error_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", NoFlock(errno.EIO))
    with (tmp_path / "lock").open("ab") as file, pytest.raises(OSError, match="refused"):
        lock_file(file)


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    with ReplyFile(tmp_path / "out"), pytest.raises(UsageError, match="Another run is writing"):
        ReplyFile(tmp_path / "out")


def test_the_client_is_imported_without_fcntl() -> None:
    """As on Windows. The command line, the embedded broker and the client need no lock of the system."""
    code = """
import sys
for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None
import asyncio, tempfile
import inferstream
from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.cli.main import run

async def main():
    async with EmbeddedBroker() as broker:
        await broker.ensure_topics([TopicSpec("t", 1)])
        member = await broker.consume(["t"], group="g")
        await broker.publish(Message("t", b"v"))
        assert [record.value for record in await member.poll(1, 1000)] == [b"v"]
    try:
        async with inferstream.Client("127.0.0.1:1") as client:
            await client.request("triage", "text")
    except inferstream.InferstreamError as error:
        print(error)

asyncio.run(main())
for command in ("request", "topics", "audit", "dead-letters"):
    assert run([command, "--help"]) == 0
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "127.0.0.1:1" in done.stdout
