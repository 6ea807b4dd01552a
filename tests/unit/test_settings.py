"""Where settings come from, and what is said about wrong ones."""

from __future__ import annotations

import json
import os
import tomllib

import pytest
from typer.testing import CliRunner

from streamer.cli.config import config_app
from streamer.cli.settings import known_keys, load_settings
from streamer.core.config import Settings
from streamer.core.errors import ConfigError


@pytest.fixture(autouse=True)
def clean_place(monkeypatch, tmp_path):
    """No streamer.toml here, no variables of ours."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("STREAMER_")]:
        monkeypatch.delenv(name)


def problem(**arguments) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(**arguments)
    return str(caught.value)


def test_without_anything_the_defaults():
    assert load_settings() == Settings()


def test_the_command_line_beats_the_environment_beats_the_file(monkeypatch, tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("[encoder]\nthreads = 2\nshards = 2\nmax_batch_size = 2\n")
    monkeypatch.setenv("STREAMER_ENCODER__THREADS", "3")
    monkeypatch.setenv("STREAMER_ENCODER__SHARDS", "3")
    encoder = load_settings(file=file, overrides={"encoder.threads": "4"}).encoder
    assert (encoder.threads, encoder.shards, encoder.max_batch_size) == (4, 3, 2)


def test_a_file_here_is_read_unasked(tmp_path):
    (tmp_path / "streamer.toml").write_text('bundle = "mine"\n')
    assert load_settings().bundle == "mine"
    other = tmp_path / "other.json"
    other.write_text('{"bundle": "other"}')
    assert load_settings(file=other).bundle == "other"


def test_variables_that_are_no_settings_are_left_alone(monkeypatch):
    monkeypatch.setenv("STREAMER_CREDENTIALS_63616D", "user:password")
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"encoder.treads": "1"}, "unknown key 'encoder.treads', did you mean 'encoder.threads'?"),
        ({"encoder.threads": "many"}, "encoder.threads: Input should be a valid integer"),
        ({"encoder.threads": "0"}, "encoder.threads: Input should be greater than or equal to 1"),
        ({"ingest.analysis_fps": "0"}, "ingest.analysis_fps: Input should be greater than 0"),
        ({"ingest.analysis_fps": "-5"}, "ingest.analysis_fps: Input should be greater than 0"),
        ({"ingest.analysis_fps": "nan"}, "ingest.analysis_fps: Input should be"),
        ({"ingest.frame_path": "tape"}, "'shared_memory' or 'redis'"),
        ({"gateway.port": "70000"}, "gateway.port: Input should be less than or equal to 65535"),
        ({"bundle": "a", "bundle.b": "c"}, "bundle"),
        ({"redis": "redis://host"}, "redis"),
    ],
)
def test_wrong_values(overrides, said):
    assert said in problem(overrides=overrides)


def test_all_problems_are_said_at_once():
    text = problem(overrides={"encoder.threads": "0", "temporal.rows": "0"})
    assert "encoder.threads" in text
    assert "temporal.rows" in text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.toml", "x =", "not TOML or JSON"),
        ("a.json", "{", "not TOML or JSON"),
        ("a.toml", "\xff", "not TOML or JSON"),
        ("a.json", "[1]", "expected an object"),
        ("a.toml", "[encoder]\ntreads = 1", "did you mean 'encoder.threads'?"),
    ],
)
def test_wrong_files(tmp_path, name, content, said):
    file = tmp_path / name
    file.write_text(content, encoding="latin-1")
    assert said in problem(file=file)


def test_a_file_that_is_not_there(tmp_path):
    assert "can't be read" in problem(file=tmp_path / "none.toml")
    assert "can't be read" in problem(file=tmp_path)


def test_a_section_in_a_variable_is_told(monkeypatch):
    monkeypatch.setenv("STREAMER_REDIS", "redis://user:secret@host")
    text = problem()
    assert "redis" in text
    assert "secret" not in text


def test_credentials_are_not_repeated():
    assert "secret" not in problem(overrides={"redis": "redis://user:secret@host"})


def test_known_keys_are_the_leaves():
    keys = known_keys()
    assert "bundle" in keys
    assert "redis.url" in keys
    assert "redis" not in keys
    assert len(keys) == len(set(keys))


def run(*arguments: str):
    return CliRunner().invoke(config_app, arguments)


def test_show_prints_toml_that_reads_back(tmp_path):
    result = run("show", "--set", "encoder.threads=3", "--set", "ingest.analysis_fps=12.5")
    assert result.exit_code == 0
    file = tmp_path / "again.toml"
    file.write_text(result.stdout)
    expected = load_settings(overrides={"encoder.threads": 3, "ingest.analysis_fps": 12.5})
    assert load_settings(file=file) == expected


def test_show_prints_json_without_credentials():
    result = run("show", "--format", "json", "--set", "redis.url=redis://user:secret@host:1")
    assert json.loads(result.stdout)["redis"]["url"] == "redis://***@host:1"
    assert "secret" not in run("show", "--set", "redis.url=redis://user:secret@host:1").stdout


def test_show_lists_every_setting():
    text = run("show").stdout
    for key in known_keys():
        assert key.rpartition(".")[2] in text
    assert set(tomllib.loads(text)) == set(Settings.model_fields)


def test_set_needs_a_value():
    result = run("show", "--set", "redis.url")
    assert isinstance(result.exception, ConfigError)
    assert "expected KEY=VALUE" in str(result.exception)


def test_the_schema_accepts_the_defaults():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(run("schema").stdout)
    jsonschema.validate(Settings().model_dump(mode="json"), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"encoder": {"treads": 1}}, schema)


def test_validate(tmp_path):
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text("[encoder]\nthreads = 2\n")
    bad.write_text("[encoder]\nthreads = 0\ntreads = 2\n[redis]\nurl = 3\n")
    assert (run("validate", str(good)).exit_code, run("validate", str(bad)).exit_code) == (0, 2)
    assert "valid" in run("validate", str(good)).stdout
    lines = run("validate", str(bad)).stdout.splitlines()
    assert len(lines) == 3
    for key, line in zip(("redis.url", "encoder.threads", "encoder.treads"), lines, strict=True):
        assert key in line


@pytest.mark.parametrize("key", ["stage_buckets", "batch_buckets", "delay_buckets"])
def test_buckets_are_positive_and_increase(key):
    settings = load_settings(overrides={f"metrics.{key}": "0.5,1,20"})
    assert getattr(settings.metrics, key) == (0.5, 1.0, 20.0)
    for wrong in ("1,1", "2,1", "0,1", "-1,1", "1,inf", "1,nan", "nan", ""):
        with pytest.raises(ConfigError, match=rf"metrics\.{key}(\.0)?: "):
            load_settings(overrides={f"metrics.{key}": wrong})


def test_the_default_buckets_are_buckets():
    defaults = Settings().metrics.model_dump()
    assert load_settings(overrides={f"metrics.{k}": v for k, v in defaults.items()}) == Settings()


def test_the_latency_budget_is_no_longer_the_gateways():
    assert load_settings(overrides={"latency_budget_seconds": "0.4"}).latency_budget_seconds == 0.4
    with pytest.raises(ConfigError, match=r"unknown key 'gateway\.latency_budget_seconds'"):
        load_settings(overrides={"gateway.latency_budget_seconds": 0.4})
    with pytest.raises(ConfigError, match="latency_budget_seconds"):
        load_settings(overrides={"latency_budget_seconds": 0})
