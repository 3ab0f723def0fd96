"""What the figures of a model are worth: statistics on scores and labels, for reports and pages.

bounds.py (exact bounds of a proportion), intervals.py (its exact interval), claims.py (thresholds, and what they can
claim). numpy and scipy only.
"""
