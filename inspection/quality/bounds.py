"""Exact one-sided bounds of a proportion, and how many parts a bound needs. Pure.

All are Clopper & Pearson, Biometrika 26, 1934: ``events`` in ``trials`` independent parts show with ``confidence`` that the
proportion is at most the ``confidence`` quantile of Beta(events + 1, trials - events). For the largest of n values this is
Wilks, Annals of Mathematical Statistics 12, 1941.
"""

from __future__ import annotations

from scipy.special import betainc, betaincinv


def upper_bound(events: int, trials: int, confidence: float) -> float:
    """The proportion that is not exceeded with ``confidence``; 1.0 where the parts show nothing."""
    return 1.0 if events >= trials else float(betaincinv(events + 1, trials - events, confidence))


def shows(events: int, trials: int, rate: float, confidence: float) -> bool:
    """Whether ``events`` in ``trials`` show with ``confidence`` that the proportion is at most ``rate``."""
    return events < trials and bool(betainc(events + 1, trials - events, rate) >= confidence)


def trials_needed(events: int, rate: float, confidence: float) -> int:
    """The fewest trials that, with so many events, show a proportion of at most ``rate``: 598 for none at 0.5 % and 95 %."""
    many = events + 1
    while not shows(events, many, rate, confidence):
        many *= 2
    few = many // 2
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if shows(events, middle, rate, confidence) else (middle, many)
    return many


def events_allowed(trials: int, rate: float, confidence: float) -> int | None:
    """The most events in ``trials`` that still show a proportion of at most ``rate``; None if not even none would."""
    if not shows(0, trials, rate, confidence):
        return None
    allowed, too_many = 0, trials
    while too_many - allowed > 1:
        middle = (allowed + too_many) // 2
        allowed, too_many = (middle, too_many) if shows(middle, trials, rate, confidence) else (allowed, middle)
    return allowed


def after_looking(events: int, confidence: float) -> float:
    """The confidence to ask of a bound from the same parts that the threshold was chosen on.

    A threshold that was chosen after a look at the scores may be any, so the bounds for no, one, two … events have to hold
    together: the risk is shared out as 1/((events + 1)(events + 2)), which sums to one (Bonferroni).
    """
    return 1.0 - (1.0 - confidence) / ((events + 1) * (events + 2))
