"""Trains the network of a static tier on labels and on what the encoder's classifier says of the same texts."""

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from ....tasks.triage.confidence import Floats, Indices, softmax
from .adam import Adam
from .network import Array, Network, loss_and_gradients
from .token_vectors import FirstTable


class TrainingSettings(NamedTuple):
    """How a network is trained. Chosen on a fifth of Banking77's train rows, see docs/decisions/0039."""

    hidden: int = 384
    epochs: int = 30
    min_steps: int = 300  # a small file is read more often
    max_steps: int = 16_000  # two minutes on a core
    batch: int = 64
    teacher_share: float = 0.7  # of the target; the rest is the label
    teacher_softness: float = 3.0  # of the teacher's temperature
    row_rate: float = 2e-3
    weight_rate: float = 1e-2
    rate: float = 3e-3  # of the layers
    decay: float = 1e-4  # of the layers
    dropped_rows: float = 0.15
    dropped_hidden: float = 0.2
    seed: int = 0


TRAINING: Final = TrainingSettings()
WARM_UP: Final = 50  # steps until the full rate


def targets_of(
    truth: Indices, teacher: Floats, temperature: float, settings: TrainingSettings = TRAINING
) -> Floats:
    """What the network is to say: the label, mixed with the softened confidences of the teacher.

    ``teacher``: logits of a classifier that was not fitted on the row, (texts, labels).
    """
    soft = softmax(teacher / np.float32(temperature * settings.teacher_softness))
    targets = np.float32(settings.teacher_share) * soft
    targets[np.arange(len(truth)), truth] += np.float32(1 - settings.teacher_share)
    return targets


def trained(
    first: FirstTable,
    bags: Any,
    targets: Floats,
    advance: Callable[[int, int], None],
    settings: TrainingSettings = TRAINING,
) -> Network:
    """A network after all steps. The same arguments give the same network on one machine.

    ``bags`` as `rows.bags_of` makes them. ``advance`` is called with (steps done, all steps).
    """
    draw = np.random.default_rng(settings.seed)
    network = _beginning(first, targets.shape[1], settings, draw)
    movers = _movers(network, settings)
    batch = min(settings.batch, bags.shape[0])
    in_an_epoch = bags.shape[0] // batch
    wanted = min(max(settings.epochs * in_an_epoch, settings.min_steps), settings.max_steps)
    order = np.empty(0, np.intp)
    with threadpool_limits(1):  # the arrays are small: a second thread costs more than it gives
        for step in range(wanted):
            if len(order) < batch:
                order = draw.permutation(bags.shape[0])
                advance(step, wanted)
            chosen, order = order[:batch], order[batch:]
            kept = _kept((batch, settings.hidden), settings.dropped_hidden, draw) / (
                1 - settings.dropped_hidden
            )
            some = bags[chosen]
            some.data = some.data * _kept(some.data.shape, settings.dropped_rows, draw)
            _, gradients = loss_and_gradients(network, some, targets[chosen], kept.astype(np.float32))
            share = _share(step, wanted)
            for name, mover in movers.items():
                of_rows = name in ("rows", "log_weights")
                mover.step(getattr(gradients, name), share, gradients.used if of_rows else slice(None))
    advance(wanted, wanted)
    return network


def _beginning(
    first: FirstTable, labels: int, settings: TrainingSettings, draw: np.random.Generator
) -> Network:
    width = first.rows.shape[1]
    return Network(
        rows=first.rows.copy(),
        log_weights=first.log_weights.copy(),
        hidden=draw.normal(0, width**-0.5, (width, settings.hidden)).astype(np.float32),
        hidden_bias=np.zeros(settings.hidden, np.float32),
        output=draw.normal(0, 0.02, (settings.hidden, labels)).astype(np.float32),
        output_bias=np.zeros(labels, np.float32),
    )


def _movers(network: Network, settings: TrainingSettings) -> dict[str, Adam]:
    return {
        "rows": Adam(network.rows, settings.row_rate),
        "log_weights": Adam(network.log_weights, settings.weight_rate),
        "hidden": Adam(network.hidden, settings.rate, settings.decay),
        "hidden_bias": Adam(network.hidden_bias, settings.rate),
        "output": Adam(network.output, settings.rate, settings.decay),
        "output_bias": Adam(network.output_bias, settings.rate),
    }


def _share(step: int, steps: int) -> float:
    """Of the rate: it rises, then falls as a cosine."""
    falling = 0.5 * (1 + math.cos(math.pi * step / steps))
    return falling * min(1.0, (step + 1) / min(WARM_UP, steps))


def _kept(shape: tuple[int, ...], dropped: float, draw: np.random.Generator) -> Array:
    return (draw.random(shape, dtype=np.float32) >= dropped).astype(np.float32)
