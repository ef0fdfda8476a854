"""Decorators for a method that takes the arguments of another: they are documented once."""

import inspect
import re
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def like(source: Callable[..., Any]) -> Callable[[F], F]:
    """The method gets the docstring of ``source`` and, for `help`, its parameters.

    Examples in the docstring lose ``async`` and ``await``.
    """

    def decorate(method: F) -> F:
        method.__doc__ = re.sub(r"\b(async|await) ", "", source.__doc__ or "")
        returned = inspect.signature(method).return_annotation
        method.__signature__ = inspect.signature(source).replace(return_annotation=returned)  # type: ignore[attr-defined]
        return method

    return decorate


def made_like(
    source: Callable[Concatenate[Any, P], None],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """The constructor takes the arguments of the constructor ``source``, also for a type checker."""

    def decorate(method: Callable[..., None]) -> Callable[Concatenate[Any, P], None]:
        return like(source)(method)

    return decorate


def typed_like(
    source: Callable[Concatenate[Any, P], Any],
) -> Callable[[Callable[..., T]], Callable[Concatenate[Any, P], T]]:
    """The method takes the arguments of the method ``source``, also for a type checker; its result is its own."""

    def decorate(method: Callable[..., T]) -> Callable[Concatenate[Any, P], T]:
        return like(source)(method)

    return decorate


def waiting_like(
    source: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[[Callable[..., T]], Callable[Concatenate[Any, P], T]]:
    """The method takes the arguments of the coroutine function ``source``, also for a type checker."""

    def decorate(method: Callable[..., T]) -> Callable[Concatenate[Any, P], T]:
        return like(source)(method)

    return decorate
