"""MLflow's own pages over a store, and the view of an experiment that they show."""

from __future__ import annotations

import base64
import json
import socket
import urllib.request
import zlib
from urllib.parse import parse_qs, urlsplit

import pytest
from tracking_stores import TRAIN, set_up

from gainrl.errors import TrackingError
from gainrl.tracking.parents import initialise, read_index
from gainrl.tracking.server import HOST, serve
from gainrl.tracking.view import NAME, VIEW, address, view


def opened(tag: str):
    kind, _, packed = tag.partition(";")
    assert kind == "deflate"
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def test_a_view_draws_the_tests_first_and_runs_with_seeds_alone():
    state = opened(view(["eval/chain/accuracy", "eval/word/accuracy"]))
    sections = {each["uuid"]: each["name"] for each in state["compareRunSections"]}
    drawn = [
        (sections[each["metricSectionId"]], each["metricKey"]) for each in state["compareRunCharts"]
    ]
    assert drawn[:2] == [("Learning curves", f"eval/{name}/accuracy") for name in ("chain", "word")]
    assert {section for section, _ in drawn[2:]} == {"Training"}
    assert "gainrl.seeds" in state["searchFilter"]
    assert [each["columns"] for each in state["compareRunSections"]] == [2, 2]
    assert opened(view(["eval/chain/accuracy"]))["compareRunSections"][0]["columns"] == 1


def test_an_address_names_the_experiment_and_its_view():
    place, _, query = urlsplit(address("http://server:5000", "7")).fragment.partition("?")
    assert place == "/experiments/7/runs"
    assert parse_qs(query)["viewStateShareKey"] == [NAME]


def test_the_pages_answer_with_the_view_and_end_with_the_command(tmp_path):
    index = set_up(tmp_path)
    known = read_index(index)
    curves = {TRAIN: ["eval/chain/accuracy"]}
    initialise(known["uri"], tmp_path, index, [TRAIN], {}, curves)
    port, seen = free_port(), []

    def ready():
        query = f"experiment_id={known['experiments'][TRAIN]}"
        url = f"http://{HOST}:{port}/api/2.0/mlflow/experiments/get?{query}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            seen.extend(json.load(answer)["experiment"]["tags"])
        raise KeyboardInterrupt

    assert serve(known["uri"], port, ready) == 0
    tags = {each["key"]: each["value"] for each in seen}
    assert opened(tags[VIEW])["compareRunCharts"][0]["metricKey"] == "eval/chain/accuracy"
    with socket.socket() as probe:  # nothing listens any more
        assert probe.connect_ex((HOST, port)) != 0


def test_a_port_that_is_taken_is_said(tmp_path):
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(TrackingError, match=f"port {port} is taken .*see --port"):
            serve(f"sqlite:///{tmp_path}/mlflow.db", port, lambda: None)
