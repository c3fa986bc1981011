"""Overfitting, read off a validation curve: whether it has risen since it was lowest, beyond its noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

OVERFITTED_NATS = 0.5
"""A rise of validation -ELBO (nats an image) that is no noise of a curve averaged over a twentieth of its epochs."""
ERRORS = 3.0
"""Standard errors below which a rise may be chance: the lowest of about twenty means is two below their mean itself."""


def rise_since_lowest(curve: Sequence[float | None], errors: Sequence[float | None] | None = None) -> float | None:
    """Nats from the lowest to the last validation -ELBO; None where the model does not overfit.

    Both are means over a twentieth of the epochs: a constant learning rate, and Jacobians of a part of the images,
    make points jump that say nothing of overfitting. `errors` are the points' standard errors, if they have any: a
    rise is one only if it is more than `ERRORS` times that of the lowest mean. Points that are not finite are passed
    over.

    >>> rise_since_lowest([9.0, 5.0, 4.0, 6.0]), rise_since_lowest([9.0, 5.0, 4.0, 4.3]), rise_since_lowest([])
    (2.0, None, None)
    >>> rise_since_lowest([9.0, 5.0, 4.0, 6.0], errors=[0.9, 0.8, 0.7, 0.0])
    >>> rise_since_lowest([None, 5.0, 4.0, 6.0])
    2.0
    """
    known = [(value, place) for place, value in enumerate(curve) if value is not None and math.isfinite(value)]
    if not known:
        return None
    values = [value for value, _ in known]
    errors = [errors[place] for _, place in known] if errors else None
    width = max(1, len(values) // 20)
    means = [math.fsum(values[end - width : end]) / width for end in range(width, len(values) + 1)]
    lowest = min(range(len(means)), key=means.__getitem__)
    spread = [math.inf if error is None else error for error in errors[lowest : lowest + width]] if errors else [0.0]
    rise = means[-1] - means[lowest]
    return rise if rise > max(OVERFITTED_NATS, ERRORS * math.hypot(*spread) / width) else None
