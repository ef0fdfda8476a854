"""A worker with a given batching policy, as a process: `python -m … POLICY MODEL CONFIG`, CONFIG as JSON."""

import asyncio
import signal
import sys

import msgspec

from ...broker.kafka.broker import KafkaBroker
from ...config import Config
from ...serving.build import build_worker
from ...serving.tuning import tune_process
from ...tasks.triage.definition import TRIAGE
from .policies import POLICIES
from .processes import module_command


def command(config: Config, policy: str, model: str) -> list[str]:
    """The command line that starts this worker."""
    return module_command("policy_worker", policy, model, msgspec.json.encode(config).decode())


async def serve(config: Config, policy: str, model: str) -> None:
    """Serve triage until SIGTERM."""
    async with KafkaBroker(config.kafka) as broker:
        serving = build_worker(config, broker, {TRIAGE: [model]}, batcher=POLICIES[policy])
        tune_process()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.drain)
        await serving.run()


if __name__ == "__main__":
    asyncio.run(serve(msgspec.json.decode(sys.argv[3], type=Config), sys.argv[1], sys.argv[2]))
