"""The network of a static tier: its gradient is that of its loss, by differences here and by torch where it is."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from inferstream.pipeline.optimize.triage.static.network import (
    Network,
    layers,
    loss_and_gradients,
    scores,
)

NAMES = [field.name for field in fields(Network)]


def a_network(seed: int = 0, *, rows: int = 12, width: int = 5, hidden: int = 7, labels: int = 3) -> Network:
    draw = np.random.default_rng(seed)
    return Network(
        rows=draw.normal(0, 1, (rows, width)),
        log_weights=draw.normal(0, 0.5, (rows, 1)),
        hidden=draw.normal(0, 1, (width, hidden)),
        hidden_bias=draw.normal(0, 0.3, hidden),
        output=draw.normal(0, 1, (hidden, labels)),
        output_bias=draw.normal(0, 1, labels),
    )


def a_batch(
    seed: int = 0, *, texts: int = 6, rows: int = 12, hidden: int = 7, labels: int = 3
) -> tuple[Any, ...]:
    """Texts with some rows several times, one of them empty, and some hidden units dropped."""
    draw = np.random.default_rng(100 + seed)
    counts = draw.poisson(0.4, (texts, rows)).astype(np.float64)
    counts[:, rows - 1] = 0  # a row that no text has
    counts[0] = 0
    targets = draw.dirichlet(np.ones(labels), texts)
    kept = (draw.random((texts, hidden)) > 0.3) / 0.7
    return csr_matrix(counts), targets, kept


@pytest.mark.parametrize("seed", range(4))
def test_the_gradient_is_that_of_the_loss(seed: int) -> None:
    network = a_network(seed)
    batch = a_batch(seed)
    _, found = loss_and_gradients(network, *batch)
    for name in NAMES:
        array = getattr(network, name)
        gradient = np.zeros_like(array)
        if name in ("rows", "log_weights"):
            gradient[found.used] = getattr(found, name)
        else:
            gradient = getattr(found, name)
        expected = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            ends = []
            for step in (1e-6, -1e-6):
                array[place] += step
                ends.append(loss_and_gradients(network, *batch)[0])
                array[place] -= step
            expected[place] = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(gradient, expected, atol=2e-7, err_msg=name)


@pytest.mark.optimize
@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_torch(seed: int) -> None:
    import torch

    network = a_network(seed, rows=40, width=16, hidden=24, labels=9)
    bags, targets, kept = a_batch(seed, texts=20, rows=40, hidden=24, labels=9)
    loss, found = loss_and_gradients(network, bags, targets, kept)
    given = {name: torch.tensor(getattr(network, name), requires_grad=True) for name in NAMES}
    sums = torch.tensor(bags.toarray()) @ (torch.exp(given["log_weights"]) * given["rows"])
    vectors = torch.nn.functional.rms_norm(sums, sums.shape[1:], eps=1e-12)
    active = torch.relu(vectors @ given["hidden"] + given["hidden_bias"]) * torch.tensor(kept)
    logits = active @ given["output"] + given["output_bias"]
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(targets))
    expected.backward()
    assert loss == pytest.approx(expected.item(), abs=1e-12)
    for name in NAMES:
        gradient = given[name].grad
        assert gradient is not None
        used = found.used if name in ("rows", "log_weights") else slice(None)
        np.testing.assert_allclose(getattr(found, name), gradient.numpy()[used], atol=1e-10, err_msg=name)


def test_an_empty_text_has_the_scores_of_the_biases() -> None:
    network = a_network()
    bags, *_ = a_batch()
    assert (layers(network, bags).vectors[0] == 0).all()
    expected = np.maximum(network.hidden_bias, 0) @ network.output + network.output_bias
    np.testing.assert_allclose(scores(network, bags)[0], expected)


def test_the_length_of_a_text_does_not_count() -> None:
    network = a_network()
    bags, *_ = a_batch()
    np.testing.assert_allclose(scores(network, bags), scores(network, bags * 7.0), rtol=1e-9)
