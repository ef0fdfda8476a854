"""Where a demo runs, as its options say."""

from contextlib import AbstractAsyncContextManager

from msgspec import structs

from ...config import Config
from ...errors import UsageError
from ...lab.demo.sites import DemoSite, DemoTask, in_this_process, on_local_kafka, with_your_workers
from ..output.demo_screen import Screen
from .models import have_model


def check_options(kafka: str | None, kafka_local: bool) -> None:
    """Raise UsageError for options that do not go together."""
    if kafka and kafka_local:
        raise UsageError("Give either --kafka or --kafka-local, not both.")


def chosen_site(
    config: Config, screen: Screen, shown: DemoTask, kafka: str | None, local_workers: int
) -> AbstractAsyncContextManager[DemoSite]:
    """Your workers on ``kafka``, or ``local_workers`` on a Kafka of this demo, or a worker in this process if 0.

    Fetches the models that are missing, unless the workers are yours. Raises ModelError.
    """
    if kafka:
        elsewhere = structs.replace(config, kafka=structs.replace(config.kafka, bootstrap=kafka))
        return with_your_workers(elsewhere, screen, shown.task)
    for model in shown.models:
        have_model(model, screen)
    if local_workers:
        return on_local_kafka(config, screen, shown, local_workers)
    return in_this_process(config, screen, shown)
