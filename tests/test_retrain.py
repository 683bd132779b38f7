"""The chosen network in full: all data but the test set, several seeds, and what is known of its accuracy."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from nas.errors import DataError, RunError, TrialFailed
from nas.retrain import Retrained, retrain
from nas.training import evaluate, fit


def retrained(accuracies: tuple[float, ...], n_test: int = 400) -> Retrained:
    return Retrained(
        trial=3,
        n_test=n_test,
        metric="accuracy",
        scores=tuple({"accuracy": a, "loss": 0.5} for a in accuracies),
        epochs=2,
        train_seconds=1.0,
        searched=0.8,
        weights=tuple(Path(f"seed-{i}.pt") for i in range(len(accuracies))),
    )


def test_the_interval_by_hand():
    """Mean .90, standard deviation .02 over 4 seeds: .90 +- 3.182 * .02 / 2, with t(.975, 3) = 3.182."""
    found = retrained((0.88, 0.88, 0.92, 0.92))
    deviation = math.sqrt(4 * 0.02**2 / 3)
    low, high = found.interval
    assert found.mean == pytest.approx(0.90)
    assert (high - low) / 2 == pytest.approx(3.182446 * deviation / 2, rel=1e-6)
    assert (low + high) / 2 == pytest.approx(0.90)


def test_the_interval_agrees_with_scipy():
    accuracies = tuple(np.random.default_rng(0).normal(0.9, 0.01, 7))
    low, high = stats.t.interval(0.95, 6, loc=np.mean(accuracies), scale=stats.sem(accuracies))
    assert retrained(accuracies).interval == pytest.approx((low, high))


def test_one_seed_has_no_interval_and_json_knows_no_nan():
    found = retrained((0.9,))
    assert all(math.isnan(end) for end in found.interval)
    assert found.to_dict()["test_accuracy_mean"] == 0.9


def test_the_sampling_error_is_that_of_a_binomial():
    """90 of 100: half of the usual 95 % interval is 1.96 * sqrt(.9 * .1 / 100)."""
    assert retrained((0.9, 0.9), n_test=100).sampling_error == pytest.approx(1.96 * 0.03)


@pytest.fixture
def best(front):
    return front.pick("best:accuracy")


def test_the_same_seed_gives_the_same_result(front, best, tmp_path):
    runs = [
        retrain(front.config, best.record, front.task, tmp_path / name, seeds=2, epochs=2) for name in ("one", "two")
    ]
    assert runs[0].scores == runs[1].scores
    assert len({s["loss"] for s in runs[0].scores}) == 2, "another seed is another training"
    for a, b in zip(runs[0].weights, runs[1].weights, strict=True):
        one, two = torch.load(a, weights_only=True), torch.load(b, weights_only=True)
        assert all(torch.equal(one[k], two[k]) for k in one)


def test_what_is_told_is_what_the_weights_do_on_the_test_set(front, best, digits):
    found = best.retrain(seeds=2, epochs=2)
    x, y = digits.test()
    assert found.n_test == len(y) == 359
    network = best.network()  # the weights of seed 0
    scores = evaluate(network, x, y)
    assert scores["accuracy"] == found.values[0]
    assert scores["loss"] == pytest.approx(found.scores[0]["loss"], rel=1e-6)
    kept = json.loads((front.folder.retrained_trial(best.record.number) / "retrained.json").read_text())
    assert kept["test_scores"]["accuracy"] == list(found.values)
    assert kept["test_samples"] == 359
    assert kept["weights"] == ["seed-0.pt", "seed-1.pt"]
    assert kept["searched_validation_accuracy"] == best.metrics["accuracy"]


def test_it_trains_on_training_and_validation_data_for_three_times_the_epochs(front, best, digits, tmp_path):
    """The same by hand: all 1,438 samples that are not the test set's, whatever share the search was trained on."""
    config = dataclasses.replace(front.config, subset=0.3)
    logs = []
    found = retrain(config, best.record, digits, tmp_path / "r", seeds=1, on_epoch=lambda seed, log: logs.append(log))
    assert found.epochs == len(logs) == 3

    from nas.build import build
    from nas.rng import torch_seed
    from nas.study.work import train_config
    from nas.training import torch_seeded

    number = best.record.number
    with torch_seeded(torch_seed(config.seed, "retrained weights", number, 0)):
        network = build(config.space, best.record.arch, digits.in_shape, digits.n_outputs)
    x, y = torch.cat([digits.x_train, digits.x_val]), torch.cat([digits.y_train, digits.y_val])
    assert len(x) == 1438
    train = dataclasses.replace(train_config(config, best.record.arch), subset=1.0, epochs=3)
    fit(network, x, y, train, seed=torch_seed(config.seed, "retraining", number, 0))
    kept = torch.load(found.weights[0], weights_only=True)
    assert all(torch.equal(kept[name], value) for name, value in network.state_dict().items())


def test_the_test_set_judges_and_has_no_part_in_the_training(front, best, digits, tmp_path):
    x, y = digits._test
    spoilt = dataclasses.replace(digits, _test=(x[::-1].copy(), y))  # right images, wrong labels
    runs = [retrain(front.config, best.record, t, tmp_path / str(t is digits), seeds=1) for t in (digits, spoilt)]
    weights = [torch.load(r.weights[0], weights_only=True) for r in runs]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert runs[0].values != runs[1].values


def test_what_is_refused(front, best, digits, tmp_path):
    with pytest.raises(RunError, match="seeds must be at least 1, got 0"):
        best.retrain(seeds=0)
    without = dataclasses.replace(digits, _test=None)
    with pytest.raises(DataError, match="no test set"):
        retrain(front.config, best.record, without, tmp_path / "r")
    assert not (tmp_path / "r").exists()
    best.retrain(seeds=1, epochs=1)
    with pytest.raises(RunError, match=rf"trial {best.record.number} was retrained already"):
        best.retrain(seeds=1, epochs=1)
    assert len(best.retrain(seeds=2, epochs=1, overwrite=True).values) == 2


def test_a_retraining_that_fails_leaves_the_earlier_one(front, best):
    best.retrain(seeds=1, epochs=1)
    folder = front.folder.retrained_trial(best.record.number)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def stop(seed, log):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retrain(front.config, best.record, front.task, folder, overwrite=True, on_epoch=stop)
    values = best.record.arch.values | {"training.optimizer.sgd.lr": 1e12}
    diverging = dataclasses.replace(best.record, arch=front.config.space.architecture(values))
    with pytest.raises(TrialFailed, match="diverged"):
        retrain(front.config, diverging, front.task, folder, overwrite=True)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
