"""REST API and pages: knows HTTP, keeps no rules.

In order of flow: ``settings``, ``context`` (what every request needs), ``names`` and ``problems`` (what comes in and how it is
refused), ``degraded``, ``health``, ``metric_table``, ``metrics``, ``routes_*`` (the API), ``pages``, ``app`` (all together).
"""
