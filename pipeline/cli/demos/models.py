"""The models of a demo, fetched if they are missing."""

import time
from pathlib import Path

from ...errors import ModelError
from ..output.demo_screen import Screen


def have_model(name: str, screen: Screen) -> None:
    """Fetch the model if it is missing. Raises ModelError."""
    from ...models.registry import ModelRegistry, split_name

    registry, began = ModelRegistry(), time.monotonic()
    try:
        manifest = registry.load(name)
    except ModelError:
        from ...optimize.pull.pulling import pull
        from ..output.pull_progress import pull_progress

        with pull_progress() as progress:
            pull(registry, split_name(name)[0], progress)
        manifest = registry.load(name)
        screen.ready(f"Model {name} fetched and built in {time.monotonic() - began:.0f} s.")
    files = [path for path in (manifest.graph_path, manifest.data_path) if path]
    size_mb = sum(Path(path).stat().st_size for path in files) / 1e6
    agreement, fidelity = manifest.agreement, manifest.fidelity
    same = f", with the label of full precision on {agreement.label:.1%} of texts" if agreement else ""
    same = f", with the next token of full precision at {fidelity.top1:.1%} of places" if fidelity else same
    screen.ready(f"Model {name}: {size_mb:.0f} MB{same}.")
