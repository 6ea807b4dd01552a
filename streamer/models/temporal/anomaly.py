"""The anomaly head: the next frame's features predicted as a Gaussian, and scored when it comes.

Before a step, the hidden state h of the last layer is all that the past has left. From it the head
predicts K numbers z of the frame that comes, each by mean μ and log-deviation λ; when the frame is
there, its score is the negative log-likelihood per dimension, in nats:

    score = 1/K Σ [ (z - μ)² e^(-2λ) / 2 + λ + ln(2π) / 2 ]

So the prediction is part of the carried state, and a step needs nothing but (features, hidden,
cell). Likelihood of the next input as a measure of novelty: Bishop, "Novelty detection and neural
network validation" (1994); by a recurrent predictor: Malhotra et al., "Long short term memory
networks for anomaly detection in time series" (ESANN 2015); a predicted variance: Nix and Weigend,
"Estimating the mean and variance of the target probability distribution" (1994).

What is predicted is fixed before training, so that it can't be learnt to be nothing. Of the
normalised features n: their J = K - 1 first principal components, each scaled to variance 1, and
the logarithm of the mean square of what those leave out, standardised: it tells what was never
seen, which lies where the components do not (the Q statistic of Jackson and Mudholkar, 1979).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LOG_STD_RANGE = (-3.0, 3.0)
"""Of λ. A deviation of e^-3 of a component's spread is sure enough: less would only amplify."""
ENERGY_FLOOR = 1e-4
"""Added to the mean square of the rest, in squares of the features' spreads."""
MIN_ENERGY_STD = 0.05
"""Of the logarithm of the rest, where it hardly varies."""
MIN_COMPONENT_STD_RATIO = 0.01
"""A component that varies less than this part of the first would be noise alone."""


class AnomalyHead(nn.Module):
    """Predicts, and scores.

    Args:
        feature_dim: D.
        hidden_dim: H.
        anomaly_dim: K, at least 2.
    """

    basis_DJ: Tensor
    spread_J: Tensor
    energy: Tensor

    def __init__(self, feature_dim: int, hidden_dim: int, anomaly_dim: int) -> None:
        super().__init__()
        # Orthonormal columns; what multiplies each component; mean of the logarithm of the rest
        # and what multiplies that.
        self.register_buffer("basis_DJ", torch.eye(feature_dim, anomaly_dim - 1))
        self.register_buffer("spread_J", torch.ones(anomaly_dim - 1))
        self.register_buffer("energy", torch.tensor([0.0, 1.0]))
        self.predict = nn.Sequential(
            nn.Linear(hidden_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, 2 * anomaly_dim)
        )

    def fit_basis(self, normed_ND: Tensor) -> None:
        """Take the principal components of the training part's normalised features."""
        centred = (normed_ND - normed_ND.mean(dim=0)).double()
        covariance = centred.T @ centred / max(1, len(centred) - 1)
        variances, vectors = torch.linalg.eigh(covariance)
        num = self.basis_DJ.shape[1]
        basis, std = vectors.flip(1)[:, :num], variances.flip(0)[:num].clamp_min(0).sqrt()
        # Their signs are anybody's choice: the largest part is positive.
        largest = basis.gather(0, basis.abs().argmax(dim=0, keepdim=True))
        self.basis_DJ.copy_(basis * largest.sign())
        floor = MIN_COMPONENT_STD_RATIO * float(std[0]) + 1e-6
        self.spread_J.copy_(1 / std.clamp_min(floor))
        _, energy_N = self._split(normed_ND)
        spread = 1 / max(MIN_ENERGY_STD, float(energy_N.std()))
        self.energy.copy_(torch.tensor([float(energy_N.mean()), spread]))

    def targets(self, normed_D: Tensor) -> Tensor:
        """What is predicted, z (…, K), of normalised features (…, D)."""
        components_J, energy = self._split(normed_D)
        rest = (energy - self.energy[0]) * self.energy[1]
        return torch.cat((components_J * self.spread_J, rest[..., None]), dim=-1)

    def forward(self, before_H: Tensor, normed_D: Tensor) -> Tensor:
        """Scores (…), nats per dimension.

        Args:
            before_H: (…, H), the last layer's hidden before the frame.
            normed_D: (…, D), the frame's features, normalised.
        """
        return self.score(before_H, self.targets(normed_D))

    def score(self, before_H: Tensor, targets_K: Tensor) -> Tensor:
        """The same of a frame's `targets`."""
        mean_K, log_std_K = self.predict(before_H).chunk(2, dim=-1)
        log_std_K = log_std_K.clamp(*LOG_STD_RANGE)
        error_K = (targets_K - mean_K) * torch.exp(-log_std_K)
        nats_K = 0.5 * error_K.square() + log_std_K
        return nats_K.mean(dim=-1) + 0.5 * math.log(2 * math.pi)  # type: ignore[no-any-return]

    def _split(self, normed_D: Tensor) -> tuple[Tensor, Tensor]:
        """Components (…, J), and the logarithm (…) of the mean square of the rest."""
        components_J = normed_D @ self.basis_DJ
        rest_D = normed_D - components_J @ self.basis_DJ.T
        return components_J, torch.log(rest_D.square().mean(dim=-1) + ENERGY_FLOOR)
