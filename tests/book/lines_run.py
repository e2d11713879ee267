"""A plugin of pytest that writes which lines of `lt_core/losses` each test runs, into the file that LINES_RUN names."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOSSES = str(ROOT / "lt_core" / "losses")
RUN: dict[str, set[str]] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    lines = RUN.setdefault(item.nodeid.split("[")[0], set())

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        path = frame.f_code.co_filename
        if not path.startswith(LOSSES):
            return None
        lines.add(f"{Path(path).relative_to(ROOT).as_posix()}:{frame.f_lineno}")
        return trace

    sys.settrace(trace)
    try:
        return (yield)
    finally:
        sys.settrace(None)


def pytest_sessionfinish() -> None:
    Path(os.environ["LINES_RUN"]).write_text(json.dumps({test: sorted(lines) for test, lines in RUN.items()}))
