"""The number of lanes follows the CPU quota, at whatever level and in whatever version of control groups it is."""

import os
from pathlib import Path

import pytest

from inferstream.pipeline.runtime.cores import usable_cores

V2 = "0::/system.slice/worker.service"
POD = "/kubepods.slice/kubepods-pod1.slice/cri-1.scope"
HYBRID = f"4:memory:/x\n3:cpu,cpuacct:{POD}\n1:name=systemd:/\n0::/"


def cores(folder: Path, membership: str | None, files: dict[str, str]) -> int:
    proc = folder / "proc"
    if membership is not None:
        proc.write_text(membership)
    for name, content in files.items():
        (folder / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup" / name).write_text(content)
    return usable_cores(proc, folder / "cgroup")


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8))


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        (V2, {}, 8),
        (V2, {"cpu.max": "max 100000"}, 8),
        (V2, {"cpu.max": "300000 100000"}, 3),
        (None, {"cpu.max": "300000 100000"}, 3),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "250000 100000\n"}, 2),
        ("0::/", {"cpu.max": "9900000 100000"}, 8),
        (V2, {"system.slice/worker.service/cpu.max": "200000 100000"}, 2),
        (
            V2,
            {"system.slice/cpu.max": "200000 100000", "system.slice/worker.service/cpu.max": "max 100000"},
            2,
        ),
        (
            V2,
            {"system.slice/cpu.max": "600000 100000", "system.slice/worker.service/cpu.max": "500000 100000"},
            5,
        ),
        ("0::/../../other", {"cpu.max": "200000 100000"}, 2),
        (
            HYBRID,
            {f"cpu,cpuacct{POD}/cpu.cfs_quota_us": "200000", f"cpu,cpuacct{POD}/cpu.cfs_period_us": "100000"},
            2,
        ),
        (HYBRID, {"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4),
        (HYBRID, {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 8),
        (
            HYBRID,
            {
                "cpu/kubepods.slice/cpu.cfs_quota_us": "100000",
                "cpu/kubepods.slice/cpu.cfs_period_us": "50000",
            },
            2,
        ),
        (HYBRID, {"unified/cpu.max": "300000 100000"}, 3),
        ("nonsense\n::::\n\n", {"cpu.max": "x"}, 8),
        (V2, {"cpu.max": "0 0"}, 8),
    ],
)
def test_the_smallest_quota_limits_the_cores(
    tmp_path: Path, membership: str | None, files: dict[str, str], expected: int
) -> None:
    assert cores(tmp_path, membership, files) == expected
