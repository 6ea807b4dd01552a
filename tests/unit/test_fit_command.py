"""`streamer fit`: what is asked of it, what it refuses, and what it says before it begins."""

from __future__ import annotations

import pytest

from streamer.core.errors import ConfigError
from streamer.models.bundle import Bundle
from streamer.training.video_dataset import video_dataset
from tests.tables import run_fit, write_drawn_table


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_drawn_table(tmp_path_factory.mktemp("drawn"))


def test_the_weights_seed_and_the_split_seed_are_apart(table, tmp_path, monkeypatch):
    parts = {}

    def remember(path, **options):
        made = video_dataset(path, **options)
        names = {example.name for example in made.test}
        parts[tmp_path.name, len(parts)] = (options["seed"], names)
        return made

    monkeypatch.setattr("streamer.training.video_dataset.video_dataset", remember)
    ids = []
    for turn, options in enumerate((("--seed", "1"), ("--seed", "2"), ("--split-seed", "2"))):
        done = run_fit(table, tmp_path / str(turn), *options, updates=10)
        assert done.exit_code == 0, done.output
        ids.append(Bundle.load(tmp_path / str(turn) / "bundle").model_id)
    (first, ours), (second, same), (third, other) = parts.values()
    assert (first, second, third) == (1, 1, 2)
    assert ours == same != other
    assert len(set(ids)) == 3


def test_what_the_check_warns_of_is_said_and_stops_nothing(tmp_path):
    table = write_drawn_table(tmp_path / "drawn")
    with table.open("a") as file:
        file.write("0.npy,1.0,1.4,rare,action,,\n")
    line = len(table.read_text().splitlines())
    done = run_fit(table, tmp_path / "run", updates=10)
    assert done.exit_code == 0
    assert f"warning: {table}, line {line}: label 'rare' occurs in one video only" in done.stderr
    assert Bundle.load(tmp_path / "run" / "bundle").config.actions == ("rare",)


def test_what_the_check_finds_wrong_stops_it_before_anything_is_written(tmp_path):
    table = write_drawn_table(tmp_path / "drawn")
    with table.open("a") as file:
        file.write("0.npy,1.0,999,lamp,action,,\n")
    line = len(table.read_text().splitlines())
    with pytest.raises(ConfigError, match=rf"labels\.csv, line {line}: .*until 999 s"):
        run_fit(table, tmp_path / "run")
    assert not (tmp_path / "run").exists()
