"""What keeps a network's weights whole: a training step is written all or not at all, and no reader sees half of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class StepLock:
    """Any number of readers (`predict`), or one writer (the end of a training step). A waiting writer goes first."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers: dict[object, None] = {}
        self._writers: dict[object, None] = {}  # in the order they came; the first one writes

    @contextmanager
    def reading(self) -> Iterator[None]:
        token = object()
        try:
            with self._condition:
                while self._writers:
                    self._condition.wait()
                self._readers[token] = None
            yield
        finally:
            self._leave(self._readers, token)

    @contextmanager
    def writing(self) -> Iterator[None]:
        token = object()
        try:
            with self._condition:
                self._writers[token] = None
                while self._readers or next(iter(self._writers)) is not token:
                    self._condition.wait()
            yield
        finally:
            self._leave(self._writers, token)

    def _leave(self, tokens: dict[object, None], token: object) -> None:
        try:
            with self._condition:
                tokens.pop(token, None)
                self._condition.notify_all()
        except KeyboardInterrupt:  # nobody may be left inside
            with self._condition:
                tokens.pop(token, None)
                self._condition.notify_all()
            raise


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block has ended."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    held: list[tuple[Any, ...]] = []
    signal.signal(signal.SIGINT, lambda *arguments: held.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if held:
            handler(*held[0])
