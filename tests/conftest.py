"""Fixtures shared by every test folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("no_deadline", deadline=None)  # a busy machine is not a failed property
settings.load_profile("no_deadline")


@pytest.fixture(scope="session")
def cifar_root() -> Path:
    """The folder of the official CIFAR-100 files. Without LT_DATA_ROOT the test is skipped; a broken one fails it."""
    root = os.environ.get("LT_DATA_ROOT")
    if not root:
        pytest.skip("not run: no CIFAR-100; set LT_DATA_ROOT to the folder that has cifar-100-python")
    from lt_core.data import check_files

    check_files(root, "cifar100_lt")
    folder = Path(root).expanduser()
    assert (folder / "cifar-100-python").is_dir(), "these tests compare with the official files (--source toronto)"
    return folder
