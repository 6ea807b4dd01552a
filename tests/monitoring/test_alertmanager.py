"""Which alerts a real Alertmanager with the deployed configuration holds back."""

from __future__ import annotations

import subprocess

import httpx
import pytest

from tests.dashboards import ROOT, rules
from tests.prometheus_server import free_port, needed, wait_until

SOURCES = {"RedisDown", "WorkerAbsent", "LatencyBudgetBurnFast"}
"""Alerts that hold others back."""


@pytest.fixture
def alertmanager(tmp_path):
    program, port = needed("prometheus-alertmanager"), free_port()
    command = [
        program,
        f"--config.file={ROOT / 'deploy/alertmanager/alertmanager.yml'}",
        f"--storage.path={tmp_path}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:

        def ready():
            try:
                return client.get("/-/ready").status_code == 200
            except httpx.TransportError:
                return False

        try:
            wait_until(ready, f"Alertmanager: {tmp_path / 'log'}")
            yield client
        finally:
            process.terminate()
            process.wait(timeout=10)


def held_back(client, cause):
    """Of all alerts that are no such sources themselves, those held back while the cause fires."""
    others = [rule for rule in rules("alerts.yml") if rule["alert"] not in SOURCES]
    if cause["alertname"] == "RedisDown":  # which holds back one of them
        others += [rule for rule in rules("alerts.yml") if rule["alert"] == "LatencyBudgetBurnFast"]
    told = [{"alertname": rule["alert"], **rule["labels"]} for rule in others]
    told = [{"labels": labels} for labels in (*told, cause)]
    client.post("/api/v2/alerts", json=told).raise_for_status()
    listed = client.get("/api/v2/alerts").json()
    names = {one["labels"]["alertname"] for one in listed}
    assert {rule["alert"] for rule in others} | {cause["alertname"]} == names
    return {one["labels"]["alertname"] for one in listed if one["status"]["inhibitedBy"]}


@pytest.mark.parametrize(
    ("cause", "held"),
    [
        (
            {"alertname": "RedisDown", "severity": "critical", "instance": "x"},
            {
                "StreamStalled",
                "FramesDropped",
                "InputLagGrowing",
                "ModelNotLoaded",
                "WorkerNotReady",
                "LatencyBudgetBurnFast",
                "LatencyBudgetBurnSlow",
            },
        ),
        ({"alertname": "RedisExporterAbsent", "severity": "warning"}, set()),
        (
            {"alertname": "WorkerAbsent", "severity": "critical", "role": "ingest"},
            {"StreamDown", "StreamStalled"},
        ),
        ({"alertname": "WorkerAbsent", "severity": "critical", "role": "gateway"}, set()),
        (
            {"alertname": "LatencyBudgetBurnFast", "severity": "critical"},
            {"LatencyBudgetBurnSlow"},
        ),
    ],
    ids=lambda value: (
        f"{value['alertname']} {value.get('role', '')}".strip() if isinstance(value, dict) else ""
    ),
)
def test_a_cause_holds_back_what_follows_from_it_and_nothing_else(alertmanager, cause, held):
    assert held_back(alertmanager, cause) == held
