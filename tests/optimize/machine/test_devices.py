"""What figures hold for, by name."""

from pathlib import Path

import pytest

from inferstream.pipeline.optimize.machine.cpu import cpu_name
from inferstream.pipeline.optimize.machine.devices import gpu_name, served_by, usable
from inferstream.pipeline.optimize.machine.machine import this_machine


def test_names_of_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: A CPU 9000\nflags\t\t: sse avx2 avx512_vnni amx_int8\n\nprocessor: 1\n")
    assert cpu_name(info) == "A CPU 9000 AMX AVX2 VNNI"
    assert cpu_name(tmp_path / "missing")
    assert usable("cpu")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_name() == "an unknown GPU"


def test_a_cpu_has_one_name_in_a_report() -> None:
    assert served_by("cpu").device == this_machine().cpu
