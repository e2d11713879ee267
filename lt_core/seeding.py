"""One call that seeds every random generator a run uses."""

from __future__ import annotations

import random


def derived_seed(*keys: int) -> int:
    """A seed of 64 bits that is a function of whole numbers alone: of a run's seed and an epoch, say."""
    import numpy as np

    state = np.random.SeedSequence(keys).generate_state(2)
    return int(state[0]) << 32 | int(state[1])


def set_seed(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's generators (all devices).

    Args:
        seed: a whole number in [0, 2**32).

    Raises:
        ValueError: ``seed`` is outside that range.
    """
    import numpy as np
    import torch

    if isinstance(seed, np.integer):
        seed = int(seed)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed!r}; allowed is a whole number in [0, 2**32)")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  the canonical subset is defined by this generator
    torch.manual_seed(seed)
