"""What the system says of a file, in words."""

from __future__ import annotations

import errno


def explain(error: OSError) -> str:
    """The reason why a file cannot be read or written, without the file's name.

    Example:
        >>> explain(OSError(errno.ENOSPC, "No space left on device"))
        'the disk is full'
    """
    if error.errno == errno.ENOSPC:
        return "the disk is full"
    if error.errno == errno.EDQUOT:
        return "the disk is full: your quota of it is used up"
    return error.strerror or str(error) or type(error).__name__
