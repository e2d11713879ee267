"""Fixtures of the tests that train."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from lt_core.training import engine


@pytest.fixture
def interrupted() -> Callable[[], AbstractContextManager[None]]:
    """A block that has to end by an interruption in the second epoch of a training."""
    original = engine.Trainer.run_epoch

    def run_epoch(self: engine.Trainer, bar: Any = None) -> dict[str, Any]:
        if self.epoch == 1:
            raise KeyboardInterrupt
        return original(self, bar)

    @contextmanager
    def block() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine.Trainer, "run_epoch", run_epoch)
            with pytest.raises(KeyboardInterrupt):
                yield

    return block
