"""Profile factors: what a user's profile and a post add to the log-odds together, as a product of two short vectors.

A user's vector is the sum of the effects of the user's bands, behind a 1 for what a post means to all. A post's vector
is what its text and topic say, by ridge regression, and a deviation of its own. All are shrunk by variances that are
estimated from the log (MacKay's fixed point for those of posts, moments for those of bands). Regression on attributes
on both sides is that of Agarwal and Chen, KDD 2009.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from batch.features.bands import Bands
from batch.features.effects import Responses, add_up, moment_variance
from batch.tables import Floats, Ints

RANK = 2
_OWN_SHARE = 0.3
"""How much of what traits do not tell of a post counts for the first directions of the factors."""
_BEGIN_VARIANCE = 0.05
_LEAST, _MOST = 1e-5, 5.0
_INTERCEPT_VARIANCE = 10.0


@dataclass(frozen=True)
class Traits:
    """What is known of posts without any response. values : float64 (n_posts, n), a first column of ones.

    block : int64 (n,), columns of one kind (topics, text) share a variance; 0 is the column of ones.
    """

    values: Floats
    block: Ints


@dataclass
class ProfileFactors:
    """The vectors. user, post : of each response. of_user : (n_users, 1 + rank); of_post : (n_posts, 1 + rank)."""

    user: Ints
    post: Ints
    bands: Sequence[Bands]
    traits: Traits
    of_user: Floats
    of_post: Floats
    weights: Floats = field(init=False)
    deviation: Floats = field(init=False)
    block_variance: Floats = field(init=False)
    band_effects: list[Floats] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with what a post means to all."""
        self.weights = np.zeros((self.traits.values.shape[1], 1))
        self.deviation = np.full(1, _BEGIN_VARIANCE)
        self.block_variance = self._block_variances(1)
        self.band_effects = []

    def _block_variances(self, size: int) -> Floats:
        variances = np.full((int(self.traits.block.max()) + 1, size), _BEGIN_VARIANCE)
        variances[0] = _INTERCEPT_VARIANCE
        return variances

    def begin(self, responses: Responses) -> None:
        """Add the factors, along the main directions in which bands differ in what they respond to.

        There are none where the bands differ no more than chance lets a matrix of noise (its largest singular value is
        about the sum of the roots of its sides): on a short log factors would be noise.
        """
        if not self.bands:
            return
        contrasts = np.vstack([_contrasts(*self._by_band(bands, responses)) for bands in self.bands])
        strength = np.linalg.svd(contrasts, compute_uv=False)
        by_chance = np.sqrt(contrasts.any(axis=1).sum()) + np.sqrt(contrasts.any(axis=0).sum())
        if strength[0] <= by_chance:
            return
        told = contrasts @ self.traits.values @ self._ridge()
        direction = np.linalg.svd(told + _OWN_SHARE * (contrasts - told), full_matrices=False)[2][:RANK].T
        rank = direction.shape[1]
        self.of_post = np.hstack([self.of_post, direction * np.sqrt(len(direction))])
        self.of_user = np.hstack([self.of_user, np.zeros((len(self.of_user), rank))])
        self.weights = np.hstack([self.weights, np.zeros((len(self.weights), rank))])
        self.deviation = np.append(self.deviation, np.full(rank, _BEGIN_VARIANCE))
        self.block_variance = np.hstack([self.block_variance, self._block_variances(rank)])
        self.band_effects = [np.zeros((bands.size, rank)) for bands in self.bands]
        self.update_bands(responses)

    def _ridge(self) -> Floats:
        traits = self.traits.values
        return np.asarray(np.linalg.solve(traits.T @ traits + np.eye(traits.shape[1]), traits.T))

    def update_bands(self, responses: Responses) -> None:
        """Take a Newton step for the effects of the bands, column by column, then give the factors unit spread."""
        if not self.band_effects:
            return
        factors = self.of_post[:, 1:]
        for at, bands in enumerate(self.bands):
            gradient, curvature = self._by_band(bands, responses)
            hessian = np.einsum("kp,pi,pj->kij", curvature, factors, factors, optimize=True)
            old = self.band_effects[at]
            at_zero = gradient @ factors + np.einsum("kij,kj->ki", hessian, old)
            variance = moment_variance(at_zero, hessian)
            new = np.zeros_like(old)
            if variance > 0:
                new = np.linalg.solve(hessian + np.eye(old.shape[1]) / variance, at_zero[:, :, None])[:, :, 0]
            change = (new - old)[bands.of_user]
            self.of_user[:, 1:] += change
            responses.log_odds += np.einsum("nr,nr->n", change[self.user], factors[self.post])
            self.band_effects[at] = new
        self._normalise()

    def _by_band(self, bands: Bands, responses: Responses) -> tuple[Floats, Floats]:
        """Return gradient and curvature by band and post; both (bands.size, n_posts)."""
        n_posts = len(self.of_post)
        key = bands.of_user[self.user] * n_posts + self.post
        gradient, curvature = (add_up(key, part, bands.size * n_posts) for part in responses.surprise())
        return gradient.reshape(-1, n_posts), curvature.reshape(-1, n_posts)

    def _normalise(self) -> None:
        """Users' factors spread by 1, so that the variances of the posts' mean something; no product changes."""
        spread = np.maximum(self.of_user[self.user, 1:].std(axis=0), 1e-3)
        self.of_user[:, 1:] /= spread
        self.of_post[:, 1:] *= spread
        self.weights[:, 1:] *= spread
        self.deviation[1:] = np.clip(self.deviation[1:] * spread**2, _LEAST, _MOST)
        self.band_effects = [effects / spread for effects in self.band_effects]

    def update_posts(self, responses: Responses) -> None:
        """Take a Newton step for the weights of the traits, the posts' deviations integrated out, then for these."""
        traits, block = self.traits.values, self.traits.block
        vectors = self.of_user[self.user]
        gradient, hessian = _by_post(self.post, vectors, responses, len(self.of_post))
        at_zero = gradient + np.einsum("pij,pj->pi", hessian, self.of_post)
        marginal = np.linalg.inv(np.eye(len(self.deviation)) + hessian * self.deviation)
        precision, pull = marginal @ hessian, np.einsum("pij,pj->pi", marginal, at_zero)
        self.weights, certainty = _regress(traits, precision, pull, self.block_variance[block])
        for kind in range(1, len(self.block_variance)):
            of_kind = block == kind
            determined = np.maximum(certainty[of_kind].sum(axis=0), 1e-9)
            self.block_variance[kind] = np.clip((self.weights[of_kind] ** 2).sum(axis=0) / determined, _LEAST, _MOST)
        told = traits @ self.weights
        covariance = np.linalg.inv(hessian + np.diag(1 / self.deviation))
        own = np.einsum("pij,pj->pi", covariance, at_zero - np.einsum("pij,pj->pi", hessian, told))
        determined = (1 - np.einsum("pii->pi", covariance) / self.deviation).sum(axis=0)
        self.deviation = np.clip((own**2).sum(axis=0) / np.maximum(determined, 1e-9), _LEAST, 1.0)
        responses.log_odds += np.einsum("nr,nr->n", vectors, (told + own - self.of_post)[self.post])
        self.of_post = told + own


def _contrasts(gradient: Floats, curvature: Floats) -> Floats:
    """Return how far each band goes its own way on each post, in units of chance or less; (n_bands, n_posts)."""
    share = curvature.sum(axis=1) / max(curvature.sum(), 1e-12)
    own_way = gradient - np.outer(share, gradient.sum(axis=0))
    return np.asarray(own_way / np.sqrt(np.outer(share, curvature.sum(axis=0)) + 1.0))


def _by_post(post: Ints, vectors: Floats, responses: Responses, n_posts: int) -> tuple[Floats, Floats]:
    """Return gradient (n_posts, k) and negative Hessian (n_posts, k, k) of the posts' vectors."""
    surprise, curvature = responses.surprise()
    size = vectors.shape[1]
    gradient = np.stack([add_up(post, surprise * vectors[:, i], n_posts) for i in range(size)], axis=1)
    hessian = np.empty((n_posts, size, size))
    for i in range(size):
        for j in range(i, size):
            hessian[:, i, j] = hessian[:, j, i] = add_up(post, curvature * vectors[:, i] * vectors[:, j], n_posts)
    return gradient, hessian


def _regress(traits: Floats, precision: Floats, pull: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Return the weights of the traits, and how far each is determined by the log (0 to 1); both (n_traits, k)."""
    n_traits, size = variance.shape
    blocks = [[(traits * precision[:, i, j, None]).T @ traits for j in range(size)] for i in range(size)]
    normal = np.block(blocks)
    prior = 1 / variance.T.ravel()
    normal[np.diag_indices(len(prior))] += prior
    inverse = np.linalg.inv(normal)
    weights = inverse @ (traits.T @ pull).T.ravel()
    certainty = 1 - prior * np.diag(inverse)
    return weights.reshape(size, n_traits).T, certainty.reshape(size, n_traits).T
