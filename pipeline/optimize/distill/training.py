"""The training of a student towards the states and vectors of the original, in passes over the texts.

A checkpoint is written now and then; a training that was killed goes on from it.
"""

import pickle
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...graphs.bert.float32 import Weights
from ...models.files import publish
from ...models.progress import Progress
from .network import EncoderNetwork, fast_numbers, pooled
from .targets import Targets, batches, ids_of

RATE: Final = 5e-4
LEAST_RATE: Final = 0.03  # of RATE, at the end
WARM_UP: Final = 0.06  # of all texts
DECAY: Final = 0.01  # of weights, not of biases
LONGEST_STEP: Final = 1.0  # of the gradient
OF_VECTORS: Final = 10.0  # 1 - cosine, beside the distance of the states
CHECKPOINT_S = 60.0
SEED: Final = 0


class TrainingEffort(NamedTuple):
    """How a student is trained."""

    passes: int
    pooling: str
    layers: Sequence[int]  # of the student, whose states are compared with those of the targets


class Training:
    """Trains the network in place. ``key``: of all that decides the result; a checkpoint of another is passed over."""

    def __init__(
        self, network: EncoderNetwork, targets: Targets, effort: TrainingEffort, checkpoint: Path, key: str
    ) -> None:
        import torch

        self._network = network
        self._targets = targets
        self._effort = effort
        self._checkpoint = checkpoint
        self._key = key
        self._seen = 0  # texts
        self._total = effort.passes * len(targets.windows)
        weights = network.trained.values()
        groups = [
            {"params": [one for one in weights if one.dim() > 1], "weight_decay": DECAY},
            {"params": [one for one in weights if one.dim() == 1], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98))

    def run(self, progress: Progress) -> Weights:
        """The trained weights. Raises ModelError if they are not finite numbers."""
        at_pass, at_batch = self._resumed()
        saved = time.monotonic()
        for number in range(at_pass, self._effort.passes):
            order = batches(self._targets.windows, np.random.default_rng((SEED, number)))
            for place in range(at_batch, len(order)):
                progress(f"training, pass {number + 1} of {self._effort.passes}", self._seen, self._total)
                if not np.isfinite(self._step(order[place])):
                    raise ModelError(
                        "With these weights the training does not give finite numbers; use another model."
                    )
                self._seen += len(order[place])
                if time.monotonic() - saved >= CHECKPOINT_S:
                    self._save(number, place + 1)
                    saved = time.monotonic()
            at_batch = 0
        return self._network.weights()

    def _step(self, texts: NDArray[np.int64]) -> float:
        """Learn from texts of one length; the loss before."""
        import torch

        for group in self._optimizer.param_groups:
            group["lr"] = RATE * _share_of_rate(self._seen / self._total)
        wanted = torch.tensor(self._targets.states_of(texts))
        with fast_numbers():
            states = self._network.states(ids_of(self._targets.windows, texts))
        vectors = pooled(states[-1], self._effort.pooling)
        loss = OF_VECTORS * (1 - (vectors * torch.tensor(self._targets.vectors[texts])).sum(dim=1)).mean()
        for place, layer in enumerate(self._effort.layers):
            one = wanted[:, :, place]
            apart = (states[layer] - one).square().sum(dim=-1) / one.square().sum(dim=-1)
            loss = loss + apart.mean() / len(self._effort.layers)
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._network.trained.values(), LONGEST_STEP)
        self._optimizer.step()
        return float(loss.detach())

    def _save(self, number: int, place: int) -> None:
        import torch

        content = {
            "key": self._key,
            "at": [number, place, self._seen],
            "weights": {name: weight.detach() for name, weight in self._network.trained.items()},
            "optimizer": self._optimizer.state_dict(),
        }
        part = self._checkpoint.with_name(self._checkpoint.name + ".part")
        try:
            torch.save(content, str(part))
            publish(part, self._checkpoint)
        except (OSError, RuntimeError) as error:  # the second one is what torch says of a full disk
            raise ModelError(f"Cannot write the checkpoint {self._checkpoint}: {error}.") from error

    def _resumed(self) -> tuple[int, int]:
        """The pass and the batch to go on with."""
        import torch

        found: dict[str, Any] = {}
        with suppress(OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            found = torch.load(str(self._checkpoint), weights_only=True)
        if found.get("key") != self._key:
            return 0, 0
        with torch.no_grad():
            for name, weight in self._network.trained.items():
                weight.copy_(found["weights"][name])
        self._optimizer.load_state_dict(found["optimizer"])
        number, place, self._seen = found["at"]
        return number, place


def _share_of_rate(done: float) -> float:
    """A rise, then the half of a cosine."""
    fall = LEAST_RATE + (1 - LEAST_RATE) * 0.5 * (1 + np.cos(np.pi * done))
    return float(min(1.0, done / WARM_UP) * fall)
