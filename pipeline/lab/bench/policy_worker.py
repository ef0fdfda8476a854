"""A worker with a given batching policy, as a process: `python -m … POLICY TASK MODEL CONFIG`, CONFIG as JSON."""

import asyncio
import signal
import sys

import msgspec

from ...broker.kafka.broker import KafkaBroker
from ...config import Config
from ...serving.build import build_worker
from ...serving.tuning import tune_process
from .policies import POLICIES
from .processes import module_command


def command(config: Config, policy: str, task: str, model: str) -> list[str]:
    """The command line that starts this worker."""
    return module_command("policy_worker", policy, task, model, msgspec.json.encode(config).decode())


async def serve(config: Config, policy: str, task: str, model: str) -> None:
    """Serve the task until SIGTERM."""
    async with KafkaBroker(config.kafka) as broker:
        serving = build_worker(config, broker, {task: [model]}, batcher=POLICIES[policy])
        tune_process()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.drain)
        await serving.run()


if __name__ == "__main__":
    asyncio.run(serve(msgspec.json.decode(sys.argv[4], type=Config), *sys.argv[1:4]))
