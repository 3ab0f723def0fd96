"""Prometheus' own tools, and what the station ships for it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "station.json"


def promtool(*arguments: str, cwd: Path | None = None, stdin: str | None = None) -> str:
    """What the real promtool says; the test is skipped where there is none, and fails where it has something against it."""
    if shutil.which("promtool") is None:
        pytest.skip("no promtool on this machine; Debian has it in the package prometheus")
    done = subprocess.run(["promtool", *arguments], cwd=cwd, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def expressions() -> Iterator[str]:
    """Every PromQL expression of the dashboard, as Grafana would send it when everything is chosen."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    found += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    return (each.replace("$instance", ".*").replace("$product", ".*") for each in found)


def names_used() -> set[str]:
    """The metrics that dashboard and rules ask for, as they stand in a scrape."""
    variables = [each["query"] for each in json.loads(DASHBOARD.read_text(encoding="utf-8"))["templating"]["list"]]
    rules = re.findall(r"expr: (.*?)\n +(?:for|labels):", RULES.read_text(encoding="utf-8"), re.DOTALL)
    return set(re.findall(r"\bstation_[a-z_]+", "\n".join([*expressions(), *map(str, variables), *rules])))


def samples(scrape: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """{(name, labels): value} of a scrape in Prometheus' text format."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(scrape)
        for sample in family.samples
    }


def value(scrape: str, name: str, **labels: str) -> float:
    """The sum of the samples with this name and these labels; AssertionError if there is none."""
    wanted = frozenset(labels.items())
    found = [each for (sample, has), each in samples(scrape).items() if sample == name and wanted <= has]
    assert found, f"the scrape has no {name} with {labels}"
    return sum(found)
