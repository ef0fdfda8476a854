"""The compose file: what `docker compose up` shows, with two workers for each task."""

from collections.abc import Callable
from urllib.request import urlopen

import pytest
from docker.models.containers import Container
from requests.exceptions import RequestException

pytestmark = pytest.mark.containers

DEMO_LIMIT_S = 180

Compose = Callable[..., str]
Service = Callable[[str], list[Container]]


def test_the_file_is_taken_without_a_warning(compose: Compose) -> None:
    said = compose("config").lower()
    assert "obsolete" not in said
    assert "warn" not in said


def test_the_demo_loses_nothing(service: Service) -> None:
    (demo,) = service("demo")
    status = ended(demo)
    said = demo.logs().decode()
    assert status == 0, said
    assert "0 lost" in said
    assert "0 duplicated" in said


def test_both_workers_of_tickets_are_healthy_and_have_worked(service: Service) -> None:
    (demo,) = service("demo")
    ended(demo)
    workers = service("triage")
    assert len(workers) == 2
    for worker in workers:
        said = worker.logs().decode()
        assert worker.attrs["State"]["Health"]["Status"] == "healthy", said
        assert answers(worker) > 0, said


def test_ports_are_open_to_this_machine_alone(service: Service) -> None:
    published = [
        address["HostIp"]
        for name in ("kafka", "triage", "translate")
        for container in service(name)
        for addresses in container.ports.values()
        for address in addresses or []
    ]
    assert published == ["127.0.0.1"] * 5


def ended(demo: Container) -> int:
    """The demo's exit status, once it has one."""
    try:
        return int(demo.wait(timeout=DEMO_LIMIT_S)["StatusCode"])
    except RequestException:
        pytest.fail(f"the demo has not ended within {DEMO_LIMIT_S} s:\n{demo.logs().decode()}")


def answers(worker: Container) -> float:
    """How many requests a worker has answered, as its metrics say at the published port."""
    port = worker.ports["6066/tcp"][0]["HostPort"]
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("inferstream_answers_total{"))
