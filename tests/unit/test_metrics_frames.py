from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as independent

from streamer.training.metrics.calibration import (
    CalibrationSums,
    binary_calibration,
    class_calibration,
)
from streamer.training.metrics.frames import (
    ClassScores,
    class_counts,
    confusion_matrix,
    macro_f1,
)
from streamer.training.metrics.ranking import Ranking
from streamer.training.metrics.regression import regression_scores

RANDOM = np.random.default_rng(5)
ONE = np.ones(1)


def one_video(length: int) -> np.ndarray:
    return np.zeros(length, int)


# Classes of frames.


def test_confusion_and_class_scores_are_those_of_scikit_learn():
    truth = RANDOM.integers(0, 4, 300)
    said = np.where(RANDOM.random(300) < 0.6, truth, RANDOM.integers(0, 4, 300))
    confusion = confusion_matrix(said, truth, num_classes=4)
    assert (confusion == independent.confusion_matrix(truth, said)).all()
    scores = ClassScores.of(class_counts(confusion))
    precision, recall, f1, _ = independent.precision_recall_fscore_support(truth, said)
    np.testing.assert_allclose(scores.precision_C, precision)
    np.testing.assert_allclose(scores.recall_C, recall)
    np.testing.assert_allclose(scores.f1_C, f1)
    np.testing.assert_allclose(
        scores.jaccard_C, independent.jaccard_score(truth, said, average=None)
    )


def test_macro_means_are_those_of_scikit_learn_where_a_class_is_never_said_or_never_true():
    truth = np.array([0, 0, 1, 1, 2, 2, 2])
    said = np.array([0, 3, 0, 0, 2, 2, 0])  # 1 is never said, 3 never true, 4 neither
    macro = ClassScores.of(class_counts(confusion_matrix(said, truth, num_classes=5))).macro()
    expected = independent.precision_recall_fscore_support(
        truth, said, average="macro", zero_division=0
    )[:3]
    assert [macro[name] for name in ("precision", "recall", "f1")] == pytest.approx(expected)
    assert macro["jaccard"] == pytest.approx(
        independent.jaccard_score(truth, said, average="macro", zero_division=0)
    )
    assert macro_f1(said, truth, num_classes=5) == pytest.approx(expected[2])


def test_frames_of_unknown_class_are_left_out():
    confusion = confusion_matrix(np.array([0, 1, 1]), np.array([0, -1, 1]), num_classes=2)
    assert confusion.tolist() == [[1, 0], [0, 1]]
    assert math.isnan(macro_f1(np.array([0]), np.array([-1]), num_classes=2))


# Rankings.


@pytest.mark.parametrize("ties", [False, True])
def test_rankings_are_those_of_scikit_learn_also_if_videos_count_more_than_once(ties):
    truth, video = RANDOM.random(400) < 0.2, RANDOM.integers(0, 5, 400)
    scores = RANDOM.random(400) + 0.3 * truth
    if ties:
        scores = np.round(scores, 1)
    ranking = Ranking(scores, truth, video)
    for weights in (np.ones(5), np.array([0.0, 3.0, 1.0, 0.0, 2.0])):
        each, curve = weights[video], ranking.curve(weights)
        assert curve.average_precision == pytest.approx(
            independent.average_precision_score(truth, scores, sample_weight=each)
        )
        assert curve.roc_auc == pytest.approx(
            independent.roc_auc_score(truth, scores, sample_weight=each)
        )
        # Precision w TP / (w TP + FP) is precision with negatives that weigh 1 / w.
        ratio = each[~truth].sum() / each[truth].sum()
        assert curve.calibrated_average_precision == pytest.approx(
            independent.average_precision_score(
                truth, scores, sample_weight=np.where(truth, each, each / ratio)
            )
        )


def test_average_precision_by_hand():
    # Ranked: right, wrong, right, wrong, wrong, wrong.
    truth = np.array([1, 0, 1, 0, 0, 0], bool)
    curve = Ranking(np.arange(6, 0, -1.0), truth, one_video(6)).curve(ONE)
    assert curve.average_precision == pytest.approx((1 / 1 + 2 / 3) / 2)
    # Twice as many negatives: w = 2, precisions 2 / 2 and 4 / (4 + 1).
    assert curve.calibrated_average_precision == pytest.approx((1 + 4 / 5) / 2)
    # Of the 8 pairs, one is the wrong way round.
    assert curve.roc_auc == pytest.approx(7 / 8)


def test_a_ranking_without_both_kinds_says_nothing():
    for truth in (np.zeros(3, bool), np.ones(3, bool)):
        curve = Ranking(np.array([0.1, 0.2, 0.3]), truth, one_video(3)).curve(ONE)
        assert math.isnan(curve.roc_auc)
        assert math.isnan(curve.calibrated_average_precision)
    empty = Ranking(np.zeros(0), np.zeros(0, bool), one_video(0))
    assert math.isnan(empty.curve(ONE).average_precision)


# Calibration.


def test_likelihood_and_brier_score_are_those_of_scikit_learn():
    probabilities = RANDOM.dirichlet(np.ones(3), 200)
    truth = RANDOM.integers(0, 3, 200)
    sums = class_calibration(probabilities, truth)
    assert sums.nll == pytest.approx(independent.log_loss(truth, probabilities))
    assert sums.brier == pytest.approx(((probabilities - np.eye(3)[truth]) ** 2).sum(axis=1).mean())
    yes = truth == 0
    binary = binary_calibration(probabilities[:, 0], yes)
    assert binary.nll == pytest.approx(independent.log_loss(yes, probabilities[:, 0]))
    assert binary.brier == pytest.approx(independent.brier_score_loss(yes, probabilities[:, 0]))


def test_calibration_error_by_hand():
    # Two predictions with 0.9, one right: off by 0.4. Two with 0.6, both right: off by 0.4.
    # Four with 1.0, all right: off by 0.
    confidence = np.array([0.9, 0.9, 0.6, 0.6, 1.0, 1.0, 1.0, 1.0])
    probabilities = np.stack((confidence, 1 - confidence), axis=1)
    truth = np.array([0, 1, 0, 0, 0, 0, 0, 0])
    sums = class_calibration(probabilities, truth)
    assert sums.ece == pytest.approx(2 / 8 * 0.4 + 2 / 8 * 0.4)
    # Of a yes or no, a confident no is right as well.
    assert binary_calibration(np.array([0.01, 0.99]), np.array([False, True])).ece == pytest.approx(
        0.01
    )


def test_errors_of_opposite_sign_in_two_bins_do_not_cancel_and_in_one_bin_do():
    apart = binary_calibration(np.array([0.25, 0.75]), np.array([True, False]))
    assert apart.ece == pytest.approx(0.75)
    together = binary_calibration(np.array([0.5, 0.5]), np.array([True, False]))
    assert together.ece == pytest.approx(0.0)


def test_a_confidence_on_the_edge_of_two_bins_is_in_the_lower_one():
    # ((m - 1) / M, m / M]: 0.2 is in the third bin of 15, with 0.19.
    bins = binary_calibration(np.array([0.2, 0.19, 0.0, 1.0]), np.zeros(4, bool)).bins_M3
    assert bins[:, 0].tolist() == [1, 0, 2, *[0] * 11, 1]


def test_no_predictions_have_no_calibration():
    sums = CalibrationSums(np.zeros(3), np.zeros((15, 3)))
    assert all(math.isnan(value) for value in (sums.ece, sums.nll, sums.brier))


def test_a_certain_mistake_costs_much_but_not_everything():
    assert class_calibration(np.array([[0.0, 1.0]]), np.array([0])).nll == pytest.approx(27.6, 0.01)


# Numbers.


def test_regression_scores_are_those_of_scikit_learn():
    truth = RANDOM.normal(size=50)
    said = truth + RANDOM.normal(size=50)
    scores = regression_scores(np.append(said, 7.0), np.append(truth, np.nan))
    assert scores == {
        "mse": pytest.approx(independent.mean_squared_error(truth, said)),
        "rmse": pytest.approx(independent.root_mean_squared_error(truth, said)),
        "mae": pytest.approx(independent.mean_absolute_error(truth, said)),
        "r2": pytest.approx(independent.r2_score(truth, said)),
    }


def test_a_truth_that_never_changes_has_nothing_to_explain():
    scores = regression_scores(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    assert (scores["mse"], scores["mae"]) == (1.0, 1.0)
    assert math.isnan(scores["r2"])
    with pytest.raises(ValueError, match="one shape"):
        regression_scores(np.zeros(2), np.zeros(3))
