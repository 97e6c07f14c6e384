"""Create the link to a study's curves in MLflow's pages, with one line for each variant.

MLflow opens with its GenAI pages. A link with ``workflowType=machine_learning`` and a saved view opens the runs
instead. A saved view is an experiment tag with the state of the page as deflated JSON (MLflow 3.17).
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import TYPE_CHECKING, Any

from capo_bench.track.store import Store, open_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY = "capo-curves"
FIRST = ("outcome", "wrong_step_rate", "tokens_per_response", "entropy")
"""Curves that are shown first and large; the others follow by name, and then the final numbers."""
_SECTION = "capo-learning"


def _build_chart(name: str) -> dict[str, Any]:
    return {
        "uuid": f"capo-{name}",
        "type": "LINE",
        "metricSectionId": _SECTION,
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": 10,
        "metricKey": f"curves/{name}",
        "selectedMetricKeys": [f"curves/{name}"],
        "displayName": name,
        "lineSmoothness": 0,
        "scaleType": "linear",
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "range": {},
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


STATE = {
    "searchFilter": "tags.`capo.kind` = 'trial'",
    "orderByKey": "attributes.start_time",
    "orderByAsc": False,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "compareRunsMode": "CHART",
    "runsHiddenMode": "SHOW_ALL",
    "hideEmptyCharts": True,
    "isAccordionReordered": True,
    "useGroupedValuesInCharts": True,
    "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": "variant"}]},
    "compareRunSections": [
        {
            "uuid": _SECTION,
            "name": "learning",
            "display": True,
            "isReordered": False,
            "isGenerated": False,
            "columns": 2,
        }
    ],
    "compareRunCharts": [_build_chart(name) for name in FIRST],
}


def build_link(store: Store, study: str) -> str:
    """Return the link to a study's curves below the address of MLflow's pages; empty if the study is not tracked.

    Raises:
        Exception: Any error of the store; the message may contain a password.
    """
    client = open_client(store)
    experiment = client.get_experiment_by_name(study)
    return share_view(client, str(experiment.experiment_id)) if experiment else ""


def share_view(client: MlflowClient, experiment: str) -> str:
    """Save the view in an experiment and return the link to it below the address of MLflow's pages."""
    packed = base64.b64encode(zlib.compress(json.dumps(STATE).encode(), 9)).decode()
    client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{KEY}", f"deflate;{packed}")
    query = f"workflowType=machine_learning&viewStateShareKey={KEY}&compareRunsMode=CHART"
    return f"#/experiments/{experiment}/runs?{query}"
