"""A linear classifier of vectors, and the routing of its labels: route, priority, urgency."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from ...errors import UsageError
from .confidence import Floats
from .taxonomy import Taxonomy


@dataclass(frozen=True, eq=False)
class Classifier:
    """``(vectors @ weights + bias) / temperature`` are the logits of the labels."""

    labels: tuple[str, ...]
    weights: Floats  # (dimensions, labels)
    bias: Floats  # (labels,)
    temperature: float
    digest: bytes  # of its source, not of its floats, whose last bits differ between machines

    def scores(self, vectors: Floats) -> Floats:
        """Logits of shape (rows, labels) before the temperature."""
        scores: Floats = vectors @ self.weights + self.bias
        return scores


class Linear(NamedTuple):
    """A classifier with the axis of urgency as one more column: ``vectors @ weights + bias`` are both."""

    weights: Floats  # (dimensions, labels + 1)
    bias: Floats  # (labels + 1,)

    @classmethod
    def of(cls, classifier: Classifier, axis: Floats) -> Self:
        """The temperature is in the weights. ``axis`` of urgency, zeros if there is none."""
        scale = np.float32(1 / classifier.temperature)
        weights = np.column_stack([classifier.weights * scale, axis]).astype(np.float32)
        bias = np.append(classifier.bias * scale, np.float32(0)).astype(np.float32)
        return cls(weights, bias)

    @property
    def nbytes(self) -> int:
        """Of its arrays."""
        return self.weights.nbytes + self.bias.nbytes


class Destinations(NamedTuple):
    """The routes and priorities of labels in a fitted model."""

    routes: Mapping[str, str] = {}
    priorities: Mapping[str, str] = {}


@dataclass(frozen=True, eq=False)
class Routing:
    """The route and the priority of each label, in the order of the classifier's labels."""

    routes: tuple[str, ...]
    levels: tuple[int, ...]  # indices of ``priorities``
    priorities: tuple[str, ...]  # in rising order
    threshold: float
    urgency: Floats  # (dimensions,): mean of the urgent phrases - mean of the calm ones, or zeros
    margin: float
    digest: bytes
    text_blocks: tuple[tuple[str, ...], ...] = ()  # of each label; () if the taxonomy has none


def routing_of(
    labels: Sequence[str],
    taxonomy: Taxonomy,
    fallback: Destinations,
    dimensions: int,
    vectors_of: Callable[[Sequence[str]], Floats],
) -> Routing:
    """The routing of each label: by the taxonomy, else by ``fallback``, else the taxonomy's
    default.

    ``vectors_of`` makes vectors of ``dimensions`` numbers from phrases. Raises UsageError for a priority that the
    taxonomy does not list.
    """
    order = {priority: level for level, priority in enumerate(taxonomy.priorities)}
    levels = []
    for label in labels:
        priority = taxonomy.priority(label, fallback.priorities.get(label))
        if priority not in order:
            raise UsageError(
                f"The model gives {label!r} the priority {priority!r}, which the taxonomy does not list; "
                "add it to `priorities`."
            )
        levels.append(order[priority])
    return Routing(
        routes=tuple(taxonomy.route(label, fallback.routes.get(label)) for label in labels),
        levels=tuple(levels),
        priorities=tuple(taxonomy.priorities),
        threshold=taxonomy.threshold,
        urgency=urgency_axis(taxonomy, dimensions, vectors_of),
        margin=taxonomy.urgency.margin if taxonomy.urgency else np.inf,
        digest=taxonomy.digest,
        text_blocks=tuple(taxonomy.text_blocks(label) for label in labels),
    )


def urgency_axis(
    taxonomy: Taxonomy, dimensions: int, vectors_of: Callable[[Sequence[str]], Floats]
) -> Floats:
    if taxonomy.urgency is None:
        return np.zeros(dimensions, np.float32)
    urgent, calm = (
        vectors_of(phrases).mean(axis=0) for phrases in (taxonomy.urgency.urgent, taxonomy.urgency.calm)
    )
    axis: Floats = urgent - calm
    return axis
