"""The real model for the tests of tasks."""

from minilm_model import minilm

__all__ = ["minilm"]
