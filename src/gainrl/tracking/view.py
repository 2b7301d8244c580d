"""How MLflow's pages show an experiment: the learning curves of its parent runs, before all else.

A view that MLflow's pages share is the state of the page as JSON, in a tag of the experiment; an
address names it by its key (ExperimentPageUIState and useSharedExperimentViewState of 3.17.2).
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from gainrl.tracking.names import legal_name

NAME = "gainrl-methods"
VIEW = f"mlflow.sharedViewState.{NAME}"
COMPARED = "tags.`gainrl.seeds` LIKE '%'"
"""The parents that show what their seeds have in common; runs of a single seed are left out."""
TRAINING = ("accuracy", "zero_variance", "response_length", "entropy")
"""Metrics of steps that are drawn below the learning curves; all others are in sections below."""


def address(pages: str, experiment: str) -> str:
    """The page that compares the methods of an experiment.

    Args:
        pages: where MLflow's pages are.
        experiment: its id.
    """
    query = {
        "viewStateShareKey": NAME,  # MLflow leaves the view alone where the query has a filter too
        "compareRunsMode": "CHART",
        "workflowType": "machine_learning",
    }
    place = f"{pages}/#/experiments/{quote(experiment, safe='')}/runs"
    return f"{place}?{urlencode(query, quote_via=quote)}"


def view(curves: Sequence[str]) -> str:
    """The tag's value.

    Args:
        curves: metrics of tests, each a chart in the first section.
    """
    parts = {"Learning curves": curves, "Training": TRAINING}
    state = {
        "searchFilter": COMPARED,
        "orderByKey": "attributes.start_time",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [
            "tags.`gainrl.seeds`",
            "tags.`gainrl.health`",
            *(f"metrics.`{legal_name(name)}`" for name in curves),
        ],
        "columnOrder": [],
        "columnWidths": {},
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [
            _chart(f"{part}-{place}", str(part), legal_name(name))
            for part, names in enumerate(parts.values())
            for place, name in enumerate(names)
        ],
        "compareRunSections": [
            _section(str(part), name, min(2, len(parts[name]))) for part, name in enumerate(parts)
        ],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,  # else MLflow sorts the sections by name
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }
    packed = zlib.compress(json.dumps(state, separators=(",", ":")).encode())
    return f"deflate;{base64.b64encode(packed).decode()}"


def _section(identity: str, name: str, columns: int) -> dict[str, Any]:
    shown = {"uuid": identity, "name": name, "display": True, "columns": columns}
    return {**shown, "isReordered": True, "deleted": False, "isGenerated": False}


def _chart(identity: str, section: str, metric: str) -> dict[str, Any]:
    return {
        "uuid": identity,
        "type": "LINE",
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
