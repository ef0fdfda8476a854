"""The second task of the compose file: translations beside tickets, and a worker of them that is killed."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from contextlib import aclosing

import pytest
from docker.models.containers import Container

import inferstream

pytestmark = pytest.mark.containers

Service = Callable[[str], list[Container]]

TIMEOUT_S = 90
REQUESTS = 3_000
"""More than two workers translate before the first hundred answers are back."""


async def test_answers_both_directions_beside_tickets(service: Service, compose_kafka: str) -> None:
    assert len(service("translate")) == 2
    async with inferstream.Client(compose_kafka) as client:
        there, back, ticket = await asyncio.gather(
            client.request("translate", "The meeting starts at nine.", timeout_s=TIMEOUT_S),
            client.request(
                "translate", "Onde está o meu livro?", options={"source": "pt"}, timeout_s=TIMEOUT_S
            ),
            client.request("triage", "I was charged twice this month", timeout_s=TIMEOUT_S),
        )
    assert (there.output.text, there.output.target) == ("A reunião começa às nove.", "pt")
    assert (back.output.text, back.output.target) == ("Where is my book?", "en")
    assert ticket.output.category


async def test_a_killed_worker_loses_nothing(service: Service, compose_kafka: str) -> None:
    texts = [f"Order {number} arrives tomorrow." for number in range(REQUESTS)]
    wrong, answers = [], set()
    async with inferstream.Client(compose_kafka) as client:
        asked = client.map("translate", texts, ordered=False, timeout_s=TIMEOUT_S, max_in_flight=1_000)
        async with aclosing(asked) as results:
            async for answer in results:
                if isinstance(answer, inferstream.Failure):
                    wrong.append(answer)
                    continue
                answers.add(answer.reply.id)
                if len(answers) == 100:
                    await asyncio.to_thread(service("translate")[0].kill)
    assert not wrong
    assert len(answers) == REQUESTS
    audited(compose_kafka)


def audited(kafka: str) -> None:
    """Fails unless each translation that was asked for has its end."""
    command = [sys.executable, "-m", "inferstream.pipeline.cli.main"]
    done = subprocess.run([*command, "audit", "translate", "--kafka", kafka], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
