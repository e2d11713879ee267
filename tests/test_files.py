"""What the system says of a file, in words."""

from __future__ import annotations

import errno

import pytest

from lt_core.files import explain


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "record.json"), "the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk is full: your quota of it is used up"),
        (OSError(errno.EACCES, "Permission denied", "record.json"), "Permission denied"),
        (OSError("odd"), "odd"),
        (OSError(), "OSError"),
    ],
)
def test_the_reason_in_words(error: OSError, words: str) -> None:
    assert explain(error) == words
