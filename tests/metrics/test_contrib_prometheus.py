"""Alert rules, board and documentation speak of metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from test_metrics import NOW

from sidecar.metrics import Metrics

FOLDER = Path(__file__).parents[2] / "contrib" / "prometheus"


def _existing() -> set[str]:
    """Every name a query can use."""
    names = set()
    for family in text_string_to_metric_families(Metrics(lambda: NOW).exposition().decode()):
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
        names |= {family.name + suffix for suffix in suffixes.get(family.type, [""])}
    return names


@pytest.mark.parametrize("name", ["alerts.yml", "grafana.json"])
def test_only_metrics_that_exist_are_used(name: str) -> None:
    used = set(re.findall(r"dialback_[a-z_]+", (FOLDER / name).read_text()))
    assert used
    assert used <= _existing()


def test_every_metric_is_documented() -> None:
    documented = set(re.findall(r"`(dialback_[a-z_]+)`", (FOLDER / "README.md").read_text()))
    base = {re.sub(r"_(bucket|count|sum)$", "", name) for name in _existing()}
    assert documented == base


def test_board_is_json_with_a_query_in_every_panel() -> None:
    board = json.loads((FOLDER / "grafana.json").read_text())
    assert all(panel["targets"] for panel in board["panels"])
