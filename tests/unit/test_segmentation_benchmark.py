from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks import segmentation_metrics as benchmark
from benchmarks.segmentation_metrics import Video


def video(labels: str, predicted: str) -> Video:
    return Video(np.array(list(labels), int), np.array(list(predicted), int))


def test_means_over_videos_and_pooled_scores_by_hand():
    # All right, but for the background, which is no segment.
    first = video("0112", "1112")
    # One of two segments found: 2 of 3 frames of the first overlap; the second is called 3.
    second = video("111222", "211333")
    found = benchmark.per_video([first, second])
    # Right frames 3/4 and 2/6; edit 1 and 1 - 2/3; F1 1 and 2/5.
    assert found[:2] == pytest.approx((100 * (3 / 4 + 2 / 6) / 2, 100 * (1 + 1 / 3) / 2))
    assert found[2:] == pytest.approx((70, 70, 70))
    # Pooled: right 2 + 1, wrong 0 + 2, missed 0 + 1.
    assert benchmark.pooled([first, second])[2:] == pytest.approx((100 * 6 / 9,) * 3)
    assert benchmark.pooled([first, second])[0] == pytest.approx(100 * 5 / 10)


def run(folder, monkeypatch) -> int:
    monkeypatch.setattr(sys, "argv", ["segmentation_metrics", "--data", str(folder)])
    return benchmark.main()


def test_it_fails_where_a_value_is_not_the_published_one(tmp_path, monkeypatch, capsys):
    labels = np.array([0, 1, 1, 2])
    for name in benchmark.PUBLISHED:
        np.savez(tmp_path / f"{name}.npz", a_labels=labels, a_pred=labels)
    assert run(tmp_path, monkeypatch) == 1
    assert "not as published" in capsys.readouterr().out
    monkeypatch.setattr(benchmark, "PUBLISHED", dict.fromkeys(benchmark.PUBLISHED, (100.0,) * 5))
    assert run(tmp_path, monkeypatch) == 0
    assert "largest difference 0.000: as published" in capsys.readouterr().out


def test_it_fails_without_data(tmp_path, monkeypatch, capsys):
    assert run(tmp_path, monkeypatch) == 1
    assert "50salads_eval_edtcn.npz: expected" in capsys.readouterr().err
