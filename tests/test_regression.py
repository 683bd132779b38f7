"""Numbers to predict: what of a task with classes stays, what differs, and scikit-learn as the oracle."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sklearn_metrics
from sklearn.datasets import load_diabetes

import nas
from nas.data import Arrays, make_task, open_shared, strata, write_shared
from nas.errors import DataError, NasError
from nas.metrics import Judge, mae, r2, rmse
from nas.objectives import OBJECTIVES, scaled
from nas.space.yaml import parse
from nas.study.judging import objectives_of
from nas.training import TrainConfig, evaluate, fit
from nas.training.config import AdamW

SPACE = parse(
    """
input: vector
body: {dense: {width: [8, 16, 32], act: silu, norm: batch}}
head: {pool: {}}
training:
  epochs: 12
  batch_size: 32
  label_smoothing: 0.1
  class_weights: true
  optimizer: {adamw: {lr: {float: [3e-3, 3e-2], log: true}}}
""",
    name="small",
)


@pytest.fixture(scope="module")
def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return make_task(
        Arrays(name="diabetes", where="diabetes", x_train=x[:350], y_train=y[:350], x_test=x[350:], y_test=y[350:])
    )


@pytest.fixture(scope="module")
def searched(diabetes, tmp_path_factory):
    study = nas.Study(SPACE, diabetes, out=tmp_path_factory.mktemp("regression") / "run", rungs=["1/3"], seed=1)
    return study.search(trials=6)


numbers = st.floats(-1e3, 1e3, width=32)
pairs = st.tuples(st.integers(2, 12), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(arrays(float, shape, elements=numbers), arrays(float, shape, elements=numbers))
)


@given(pairs)
def test_figures_of_targets_are_those_of_scikit_learn(both):
    predicted, y = both
    expected = np.mean(np.sqrt(sklearn_metrics.mean_squared_error(y, predicted, multioutput="raw_values")))
    assert rmse(predicted, y) == pytest.approx(expected, abs=1e-9)
    assert mae(predicted, y) == pytest.approx(sklearn_metrics.mean_absolute_error(y, predicted), abs=1e-9)
    assert r2(predicted, y) == pytest.approx(sklearn_metrics.r2_score(y, predicted), rel=1e-6, abs=1e-6)


def test_a_task_is_standardised_and_knows_the_way_back(diabetes):
    assert diabetes.kind == "regression"
    assert (diabetes.classes, diabetes.targets, diabetes.n_outputs) == ((), ("target",), 1)
    y = diabetes.y_train.numpy()
    assert y.shape == (280, 1)
    assert y.dtype == np.float32
    assert (y.mean(), y.std()) == pytest.approx((0, 1), abs=1e-5)
    back = np.sort(np.concatenate([y, diabetes.y_val.numpy()])[:, 0] * diabetes.y_std[0] + diabetes.y_mean[0])
    assert back == pytest.approx(np.sort(load_diabetes().target[:350]), abs=1e-3)


def test_several_targets_keep_their_names_through_other_processes(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 5))
    y = np.stack([x[:, 0] * 1000, x[:, 1] / 1000 + 7], axis=1)
    task = make_task(Arrays(name="two", where="two", x_train=x, y_train=y, targets=np.array(["mass", "heat"])))
    assert task.targets == ("mass", "heat")
    write_shared(task, tmp_path / "shared")
    again = open_shared(tmp_path / "shared")
    assert again.fingerprint() == task.fingerprint()
    assert (again.targets, again.y_mean, again.y_std, again.kind) == (task.targets, task.y_mean, task.y_std, task.kind)
    judge = Judge(kind="regression", mean=task.y_mean, std=task.y_std)
    wrong = judge.scores(np.zeros((12, 2), np.float32), task.y_val.numpy())
    y_val = task.y_val.numpy() * task.y_std + task.y_mean
    assert wrong["mae"] == pytest.approx(np.abs(y_val - task.y_mean).mean(), rel=1e-4)
    assert judge.scores(task.y_val.numpy(), task.y_val.numpy())["r2"] == 1


@given(st.integers(8, 300), st.integers(0, 5))
def test_every_part_of_the_range_is_validated_on(n, seed):
    y = np.random.default_rng(seed).exponential(size=(n, 1))
    found = strata(y)
    sizes = np.bincount(found)
    assert sizes.min() >= min(4, n // 2)
    assert sizes.max() - sizes.min() <= 1
    order = np.argsort(y[:, 0])
    assert (np.diff(found[order]) >= 0).all(), "tenths by rank"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"y_train": np.arange(40) % 3 * 1.0}, r"holds floats, and only 3 different ones.*--task classification or"),
        ({"y_train": np.full(40, 2.5)}, "target is 2.5 in all of y_train: there is nothing to predict"),
        (
            {"y_train": np.r_[np.nan, np.linspace(0, 1, 39)]},
            "y_train holds 1 values that are NaN or infinite",
        ),
        (
            {"y_train": np.linspace(0, 1, 80).reshape(40, 2), "targets": np.array(["a"])},
            "targets names a, y_train has",
        ),
        ({"y_train": np.array(["a", "b"] * 20), "task": "regression"}, "a regression predicts numbers"),
        (
            {"y_train": np.linspace(0, 1, 40), "task": "regresion"},
            "no task called 'regresion'. Did you mean",
        ),
    ],
)
def test_targets_that_cannot_be(more, message):
    with pytest.raises(DataError, match=message):
        make_task(Arrays(**{"name": "x", "where": "x.npz", "x_train": np.arange(120).reshape(40, 3), **more}))


def test_whole_numbers_are_what_one_says(tmp_path):
    x, y = np.random.default_rng(0).standard_normal((60, 3)), np.arange(60) % 5
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y)
    np.savez(tmp_path / "b.npz", x_train=x, y_train=y, task="regression", targets=np.array(["stars"]))
    assert nas.load_task(str(tmp_path / "a.npz")).kind == "classification"
    assert nas.load_task(str(tmp_path / "a.npz"), task="regression").targets == ("target",)
    assert nas.load_task(str(tmp_path / "b.npz")).targets == ("stars",)
    assert nas.load_task(str(tmp_path / "b.npz"), task="classification").n_outputs == 5


def test_it_learns_what_a_linear_model_does():
    """y is linear in x but for noise of a tenth: the network finds it, mixed samples or not."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 6)).astype(np.float32)
    y = (x @ rng.standard_normal((6, 2)) + 0.1 * rng.standard_normal((400, 2))) * 50 + 1000
    task = make_task(Arrays(name="x", where="x", x_train=x, y_train=y))
    judge = Judge(kind="regression", mean=task.y_mean, std=task.y_std)
    for mixup in (0.0, 0.2):
        config = TrainConfig(epochs=20, mixup=mixup, batch_size=32, optimizer=AdamW(lr=0.03))
        torch.manual_seed(0)
        net = torch.nn.Linear(6, 2)
        fit(net, task.x_train, task.y_train, config, seed=0)
        assert evaluate(net, task.x_val, task.y_val, judge=judge)["r2"] > 0.97


def test_errors_are_counted_in_deviations_of_the_target(diabetes):
    rmse_here, accuracy = objectives_of(["rmse", "accuracy"], diabetes)
    assert rmse_here.error(diabetes.y_std[0]) == pytest.approx(1.0)
    assert rmse_here.unerror(rmse_here.error(7.0)) == pytest.approx(7.0)
    assert accuracy == OBJECTIVES["accuracy"]
    millimetres, metres = scaled([OBJECTIVES["mae"]], 500.0), scaled([OBJECTIVES["mae"]], 0.5)
    assert millimetres[0].told_loss(100.0) == pytest.approx(metres[0].told_loss(0.1))


def test_what_is_searched_for_where_nobody_says(searched, diabetes):
    assert searched.config.objectives == ("rmse", "latency_ms")
    best = searched.pick("best:rmse")
    network = best.network()
    predicted = network(diabetes.x_val).detach().numpy()[:, 0] * diabetes.y_std[0] + diabetes.y_mean[0]
    y = diabetes.y_val.numpy()[:, 0] * diabetes.y_std[0] + diabetes.y_mean[0]
    assert best.metrics["rmse"] == pytest.approx(np.sqrt(np.mean((predicted - y) ** 2)), rel=1e-4)
    assert best.metrics["r2"] > 0.3, "a linear model has 0.5"
    again = nas.Front.load(searched.folder.path).pick("best:r2").metrics
    assert again["r2"] == max(r.scores["r2"] for r in searched.records if r.state == "complete")


def test_a_retraining_and_a_file_speak_in_units_of_the_data(searched, diabetes):
    best = searched.pick("best:rmse")
    found = best.retrain(seeds=2, epochs=10)
    assert found.metric.name == "rmse"
    assert 40 < found.mean < 75, "the target has a deviation of 77"
    kept = json.loads((searched.folder.retrained_trial(best.record.number) / "retrained.json").read_text())
    assert kept["test_rmse_mean"] == pytest.approx(found.mean)
    assert kept["test_sampling_error"] is None
    page = (found.folder / "model_card.md").read_text()
    assert "- target: y_mean " in page
    assert "from 25 to 346 in training" in page
    assert f"y_std {diabetes.y_std[0]:.6g}" in page
    assert f"mae {np.mean([seed.scores['mae'] for seed in found.seeds]):.4f}" in page
    for word in ("classes", "label_smoothing", "class_weights"):
        assert word not in page
    shipped = best.export()
    assert shipped.metric == "rmse"
    assert shipped.score_file == pytest.approx(shipped.score_torch, rel=1e-4)
    session = onnxruntime.InferenceSession(shipped.file)
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta["targets"]) == ["target"]
    assert json.loads(meta["classes"]) == []
    x, y = load_diabetes(return_X_y=True)
    x = (x[350:] - np.array(json.loads(meta["mean"]))) / np.array(json.loads(meta["std"]))
    out = session.run(None, {"input": x.astype(np.float32)})[0]
    predicted = out[:, 0] * json.loads(meta["y_std"])[0] + json.loads(meta["y_mean"])[0]
    assert np.sqrt(np.mean((predicted - y[350:]) ** 2)) == pytest.approx(found.values[0], rel=1e-3)


def test_an_objective_of_the_other_kind_is_told_with_what_to_use(diabetes, digits, tiny, tmp_path):
    with pytest.raises(NasError, match=r"accuracy is of classification, and diabetes is a regression .*rmse, mae"):
        nas.Study(SPACE, diabetes, ["accuracy", "n_params"], out=tmp_path / "a").search(trials=1)
    with pytest.raises(NasError, match=r"rmse is of regression, and digits is a classification \(10 cl.*accuracy"):
        nas.Study(tiny, digits, ["rmse", "n_params"], out=tmp_path / "b").search(trials=1)
    assert not list(tmp_path.iterdir())
