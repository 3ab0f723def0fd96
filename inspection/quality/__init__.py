"""What figures are worth: statistics on scores, labels and counts, for reports and pages.

bounds.py (exact bounds of a proportion), intervals.py (its exact interval), claims.py (thresholds, and what they can
claim), curves.py (AUROC and ROC), comparison.py (two models on the same parts), charts.py (control charts), pareto.py (which
causes make most of it), drift.py (scores that change), optics.py (light and
lens that change), report.py (all of it over a time). numpy and scipy only; report.py
takes what records/quality.py has counted.
"""
