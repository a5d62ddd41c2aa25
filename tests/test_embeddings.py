"""Vectors that are spread as embeddings are."""

from __future__ import annotations

import numpy as np

from models.embeddings import covariance, root, spread_alike


def test_covariance_and_its_root_by_hand():
    rows = np.asarray([[1.0, 0.0], [3.0, 0.0], [1.0, 4.0], [3.0, 4.0]])
    np.testing.assert_allclose(covariance(rows), [[1, 0], [0, 4]])
    np.testing.assert_allclose(root(covariance(rows)), [[1, 0], [0, 2]], atol=1e-12)
    np.testing.assert_allclose(root(covariance(rows), -0.5), [[1, 0], [0, 0.5]], atol=1e-12)


def test_rows_get_the_mean_and_the_covariance_of_others():
    rng = np.random.default_rng(0)
    rows = rng.normal(3, 0.5, (200, 6))
    others = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6)) + 5
    found = spread_alike(rows, others)
    np.testing.assert_allclose(found.mean(0), others.mean(0), atol=1e-9)
    np.testing.assert_allclose(covariance(found), covariance(others), atol=1e-6)
    # Rows that are spread alike already stay where they are.
    np.testing.assert_allclose(spread_alike(found, others), found, atol=1e-6)


def test_a_direction_that_rows_do_not_have_does_no_harm():
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(50, 2)), np.zeros((50, 1))], 1)
    found = spread_alike(rows, rng.normal(size=(50, 3)))
    assert np.isfinite(found).all() and np.abs(found).max() < 10
