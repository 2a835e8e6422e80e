"""The Gaussian process beside plain formulas: kernel, likelihood, prediction, and what believed values change."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hoir_ray.search.gaussian_process.kernel import Evidence, fit_kernel, matern52
from hoir_ray.search.gaussian_process.model import BELIEF_NOISE, fit_model


@pytest.fixture
def measured():
    generator = np.random.default_rng(3)
    inputs = generator.random((25, 3))
    values = 40 + 5 * np.sin(4 * inputs[:, 0]) + 2 * inputs[:, 1] + 0.01 * generator.standard_normal(25)
    noise = np.where(np.arange(25) % 3 == 0, 0.5, 0.0)
    return inputs, values, noise


def plain_kernel(a, b, lengths):
    found = np.empty((len(a), len(b)))
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            r = math.sqrt(sum(((p - q) / length) ** 2 for p, q, length in zip(x, y, lengths, strict=True)))
            found[i, j] = (1 + math.sqrt(5) * r + 5 * r * r / 3) * math.exp(-math.sqrt(5) * r)
    return found


def test_the_kernel_is_the_textbooks(measured):
    inputs, _, _ = measured
    lengths = np.array([0.3, 1.0, 4.0])
    assert matern52(inputs, inputs[:4], lengths=lengths) == pytest.approx(
        plain_kernel(inputs, inputs[:4], lengths), abs=1e-7
    )


def test_the_gradient_is_that_of_the_evidence(measured):
    inputs, values, noise = measured
    evidence = Evidence(inputs, (values - values.mean()) / values.std(), noise=noise / values.var())
    at = evidence.start + np.array([0.3, -0.5, 0.2, 1.0])
    _, gradient = evidence(at)
    for k in range(len(at)):
        step = np.zeros(len(at))
        step[k] = 1e-6
        slope = (evidence(at + step)[0] - evidence(at - step)[0]) / 2e-6
        assert gradient[k] == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_fitted_lengths_are_more_likely_than_their_start_and_tell_columns_apart(measured):
    inputs, values, noise = measured
    standard = (values - values.mean()) / values.std()
    lengths, shared = fit_kernel(inputs, standard, noise=noise / values.var())
    evidence = Evidence(inputs, standard, noise=noise / values.var())
    assert evidence(np.append(np.log(lengths), math.log(shared)))[0] < evidence(evidence.start)[0]
    assert lengths[2] > 2 * lengths[0]  # the last column changes nothing


def test_predictions_are_those_of_the_dense_formula(measured):
    inputs, values, noise = measured
    model = fit_model(inputs, values, noise=noise)
    points = np.random.default_rng(4).random((7, 3))
    mean, unit = values.mean(), values.std()
    covariance = plain_kernel(inputs, inputs, model.lengths) + np.diag(noise / unit**2 + model.noise)
    across = plain_kernel(points, inputs, model.lengths)
    inverse = np.linalg.inv(covariance)
    found = model.predict(points)
    assert found.mean == pytest.approx(mean + across @ inverse @ (values - mean), rel=1e-6)
    variance = 1 - np.einsum("ij,jk,ik->i", across, inverse, across)
    assert found.deviation == pytest.approx(unit * np.sqrt(variance), rel=1e-4)


def test_believed_values_lower_the_deviation_as_if_they_were_measured_and_leave_the_mean(measured):
    inputs, values, noise = measured
    model = fit_model(inputs, values, noise=noise)
    generator = np.random.default_rng(5)
    running, points = generator.random((4, 3)), generator.random((9, 3))
    believing = model.believing(running)
    before, after = model.predict(points), believing.predict(points)
    assert after.mean == pytest.approx(before.mean, rel=1e-9)
    everything = np.concatenate([inputs, running])
    extra = np.append(noise / values.var() + model.noise, np.full(4, BELIEF_NOISE + model.noise))
    inverse = np.linalg.inv(plain_kernel(everything, everything, model.lengths) + np.diag(extra))
    across = plain_kernel(points, everything, model.lengths)
    variance = 1 - np.einsum("ij,jk,ik->i", across, inverse, across)
    assert after.deviation == pytest.approx(values.std() * np.sqrt(variance), rel=1e-4)
    assert (after.deviation <= before.deviation).all()


def test_noisy_measurements_pull_less(measured):
    inputs, values, _ = measured
    values = values.copy()
    values[0] += 20
    sure = fit_model(inputs, values, noise=np.zeros(25))
    unsure = fit_model(inputs, values, noise=np.append([1000.0], np.zeros(24)))
    truth = values[0] - 20
    pulls = [abs(float(m.predict(inputs[:1]).mean[0]) - truth) for m in (sure, unsure)]
    assert pulls[1] < pulls[0] / 2
