"""The committed configuration, by the tools that read it, and dashboards, by their schema."""

from __future__ import annotations

import itertools
import json
import re
import subprocess

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.source.__main__ import FOLDER
from deploy.grafana.source.__main__ import dashboards as made_dashboards
from deploy.grafana.source.runbooks import alert_of, runbook_names
from tests.dashboards import PROMETHEUS, ROOT, RUNBOOKS, dashboards, rules
from tests.prometheus_server import needed

BOARDS = dashboards()
GRID_WIDTH = 24
FROM_GRAFANA = {"__rate_interval", "__interval", "__all", "__data", "__field", "datasource"}
ONLY_GRAFANA_READS = {"titleFormat", "textFormat", "step"}
"""Of annotations; the SDK's model does not have them."""


def run(program, *arguments):
    done = subprocess.run(
        [needed(program), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_configuration_and_the_rules():
    said = run("promtool", "check", "config", str(PROMETHEUS / "prometheus.yml"))
    for file in ("alerts.yml", "recording.yml"):
        assert f"rules/{file}\n  SUCCESS: {len(rules(file))} rules found" in said


@pytest.mark.parametrize("path", sorted((PROMETHEUS / "tests").glob("*.yml")), ids=lambda p: p.stem)
def test_alerts_fire_when_they_should_and_only_then(path):
    run("promtool", "test", "rules", str(path))


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not():
    fires, quiet = set(), set()
    for path in (PROMETHEUS / "tests").glob("*.yml"):
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test.get("promql_expr_test", []):
                for alert in re.findall(r'alertname="(\w+)"', case["expr"]):
                    (fires if case["exp_samples"] else quiet).add(alert)
    alerts = {rule["alert"] for rule in rules("alerts.yml")}
    assert fires == alerts
    assert quiet == alerts


def test_amtool_accepts_the_configuration():
    said = run("amtool", "check-config", str(ROOT / "deploy/alertmanager/alertmanager.yml"))
    assert "SUCCESS" in said


def test_every_alert_says_how_bad_it_is_and_where_its_runbook_is():
    for rule in rules("alerts.yml"):
        notes, name = rule["annotations"], rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert notes["summary"]
        assert notes["description"]
        assert notes["runbook_url"] == f"{{{{ $externalLabels.grafana }}}}/d/runbook-{name}"
        assert f"runbook-{name}" in BOARDS
        page = ROOT / notes["runbook"]
        assert page.read_text().startswith(f"# {name}\n\nSeverity: {rule['labels']['severity']}.")


def test_every_runbook_has_its_alert_and_is_listed():
    alerts = {rule["alert"] for rule in rules("alerts.yml")}
    assert {alert_of(name) for name in runbook_names()} == alerts
    listed = set(re.findall(r"\]\(([a-z-]+)\.md\)", (RUNBOOKS / "README.md").read_text()))
    assert listed == set(runbook_names())


@pytest.mark.parametrize("name", runbook_names())
def test_a_runbook_answers_its_five_questions(name):
    headings = re.findall(r"^## (.+)$", (RUNBOOKS / f"{name}.md").read_text(), re.MULTILINE)
    assert headings == [
        "What it means",
        "How to look",
        "Likely causes, in order",
        "What to do",
        "It is over when",
    ]


def test_the_committed_dashboards_are_those_of_the_source():
    committed = {str(p.relative_to(FOLDER)): p.read_text() for p in FOLDER.rglob("*.json")}
    assert committed == made_dashboards(), "run `make dashboards`"


@pytest.mark.parametrize("uid", BOARDS)
def test_a_dashboard_survives_the_sdks_types(uid):
    """What the model of Grafana's schema reads is what it would write: no key is unknown to it."""
    register_default_plugins()
    read = Dashboard.from_json(BOARDS[uid])
    again = json.loads(json.dumps(read, cls=JSONEncoder))
    given = json.loads(json.dumps(BOARDS[uid]))
    for panel in [*again["panels"], *given["panels"]]:
        # Empty where a kind of panel has nothing of its own there; it is not always written.
        if panel.get("fieldConfig", {}).get("defaults", {}).get("custom") == {}:
            del panel["fieldConfig"]["defaults"]["custom"]
    for annotation in given.get("annotations", {}).get("list", []):
        for key in ONLY_GRAFANA_READS:
            del annotation[key]
    assert again == given


@pytest.mark.parametrize("uid", BOARDS)
def test_a_dashboard_can_be_provisioned_anywhere(uid):
    board = BOARDS[uid]
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", uid)
    assert board["schemaVersion"] == 41
    assert board.get("id") is None
    assert "__inputs" not in board
    assert "__requires" not in board
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("uid", BOARDS)
def test_panels_fill_the_grid_and_do_not_overlap(uid):
    cells = set()
    for panel in BOARDS[uid]["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= GRID_WIDTH
        mine = set(
            itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))
        )
        assert not mine & cells, panel["title"]
        cells |= mine


def shown(board):
    """Panels that show something: no rows."""
    return [panel for panel in board["panels"] if panel["type"] not in ("row", "text")]


@pytest.mark.parametrize("uid", [uid for uid in BOARDS if uid.startswith("streamer-")])
def test_panels_say_what_they_show_in_which_unit(uid):
    titles = [panel["title"] for panel in shown(BOARDS[uid])]
    assert len(set(titles)) == len(titles)
    for panel in shown(BOARDS[uid]):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("uid", BOARDS)
def test_what_a_dashboard_refers_to_exists(uid):
    board = BOARDS[uid]
    text = json.dumps(board["panels"])
    variables = {variable["name"] for variable in board.get("templating", {}).get("list", [])}
    if uid.startswith("streamer-"):
        used = set(re.findall(r"\$\{?(\w+)", text))
        assert used <= variables | FROM_GRAFANA
        assert variables <= used, "a variable that nothing uses"
        sources = {panel["datasource"]["uid"] for panel in shown(board)}
        sources |= {t["datasource"]["uid"] for p in shown(board) for t in p["targets"]}
        assert sources == {"${datasource}"}
    for target in re.findall(r'"/d/([\w-]+)', text):
        assert target in BOARDS or target == "runbook-", target
    for target in re.findall(r"\]\(/d/([\w-]+)\)", text):
        assert target in BOARDS, target
    tags = {tag for other in BOARDS.values() for tag in other["tags"]}
    assert {tag for link in board["links"] for tag in link["tags"]} <= tags


def test_provisioning_finds_the_dashboards():
    folder = ROOT / "deploy/grafana/provisioning"
    providers = yaml.safe_load((folder / "dashboards/streamer.yaml").read_text())["providers"]
    given = {provider["options"]["path"].rpartition("/")[2] for provider in providers}
    assert given == {path.name for path in FOLDER.iterdir()}
    (source,) = yaml.safe_load((folder / "datasources/streamer.yaml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scraped["scrape_interval"]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *((role, role) for role in ("ingest", "encoder", "temporal", "gateway")),
        ("encoder-gpu", "encoder"),
    ],
)
def test_the_role_comes_from_the_name_that_was_looked_up(name, role):
    jobs = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    (job,) = [job for job in jobs if job["job_name"] == "streamer"]
    ((lookup,), (rule,)) = job["dns_sd_configs"], job["relabel_configs"]
    assert name in lookup["names"]
    found = re.fullmatch(rule["regex"], name)
    assert re.sub(r"\$(\d)", lambda group: found[int(group[1])] or "", rule["replacement"]) == role


def test_the_configuration_shown_for_ones_own_prometheus_is_right(tmp_path):
    page = (ROOT / "docs/monitoring.md").read_text()
    (shown_config,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    path = tmp_path / "prometheus.yml"
    path.write_text(shown_config.replace("/path/to/streamer", str(ROOT)))
    said = run("promtool", "check", "config", str(path))
    assert "2 rule files found" in said
