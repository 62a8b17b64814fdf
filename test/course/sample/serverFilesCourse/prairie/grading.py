"""Scores and comparisons."""

import math


def close(value, wanted, rtol=1e-2, atol=1e-8):
    """Whether value is wanted within a relative or an absolute tolerance."""
    return math.isclose(value, wanted, rel_tol=rtol, abs_tol=atol)


def weighted_mean(partial_scores):
    """A question's score from its parts, as PrairieLearn computes it."""
    total = sum(part.get("weight", 1) for part in partial_scores.values())
    if not total:
        return 0
    return sum(part["score"] * part.get("weight", 1) for part in partial_scores.values()) / total


def award(data, name, score, weight=1, feedback=None):
    """Record the score of one part."""
    part = {"score": score, "weight": weight}
    if feedback:
        part["feedback"] = feedback
    data.setdefault("partial_scores", {})[name] = part
