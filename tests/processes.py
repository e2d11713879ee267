"""Processes that find PyTorch imported: a server imports it once, and each process is a fork of that server.

For tests of several processes, or of one that is interrupted or killed. A process from scratch, which imports for five
seconds, is what `python -m lt_core` is; tests/test_cli.py has that.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

METHOD = "forkserver"
CONTEXT = get_context(METHOD)
CONTEXT.set_forkserver_preload(["lt_core.cli", "lt_core.report.comparison", "pandas", "torch._dynamo", "torchmetrics"])


def start(*arguments: str, output: str | Path = os.devnull, errors: str | Path = os.devnull) -> BaseProcess:
    """``python -m lt_core`` with these arguments; what it says on stdout and stderr goes to these files."""
    process = CONTEXT.Process(target=_main, args=(arguments, str(output), str(errors)), daemon=True)
    process.start()
    return process


def _main(arguments: tuple[str, ...], output: str, errors: str) -> None:
    from lt_core.cli import main

    for number, path in ((1, output), (2, errors)):
        with open(path, "w", encoding="utf-8") as file:
            os.dup2(file.fileno(), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    sys.argv = ["lt_core", *arguments]
    main()


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def wait_for(condition: Callable[[], bool], process: BaseProcess, seconds: float = 120.0) -> None:
    """Until the condition holds, the process has ended or the time is up."""
    deadline = time.monotonic() + seconds
    while process.is_alive() and time.monotonic() < deadline and not condition():
        time.sleep(0.01)
