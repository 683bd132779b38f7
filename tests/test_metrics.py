"""Figures of predictions: scikit-learn is the oracle; a user's metric is an objective like any other."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torch.nn import functional as F

import nas
from nas.errors import NasError, RunError, TrialFailed
from nas.metrics import METRICS, Judge, Metric, accuracy, balanced_accuracy, cross_entropy, macro_f1
from nas.objectives import OBJECTIVES, Objective
from nas.records import TrialRecord
from nas.study.judging import judge_of, portable_metrics
from nas.study.ledger import Ledger
from nas.study.loop import Quiet
from nas.testing import check_objective
from nas.testing.broken import ContractBroken
from nas.training import TrainConfig, TrainState, evaluate, fit, rungs
from nas.training.config import AdamW
from nas.training.feed import Batch, class_weights

labels = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
@given(labels)
def test_figures_of_classes_are_those_of_scikit_learn(pairs):
    predicted, y = np.array(pairs).T
    assert accuracy(predicted, y) == pytest.approx(sklearn_metrics.accuracy_score(y, predicted))
    assert balanced_accuracy(predicted, y) == pytest.approx(sklearn_metrics.balanced_accuracy_score(y, predicted))
    expected = sklearn_metrics.f1_score(y, predicted, average="macro", zero_division=0)
    assert macro_f1(predicted, y) == pytest.approx(expected)


def test_the_loss_is_that_of_torch_and_a_burst_network_has_none():
    logits, y = torch.randn(50, 4) * 20, torch.arange(50) % 4
    assert cross_entropy(logits.numpy(), y.numpy()) == pytest.approx(float(F.cross_entropy(logits, y)), rel=1e-5)
    assert math.isnan(cross_entropy(np.array([[np.inf, 0.0]]), np.array([0])))


@pytest.mark.parametrize("name", [name for name, o in OBJECTIVES.items() if o.has_error])
def test_an_error_is_undone_and_orders_as_the_loss_does(name):
    objective = OBJECTIVES[name]
    for worse, better in ((0.25, 0.75), (0.75, 0.25)):
        assert objective.unerror(objective.error(worse)) == pytest.approx(worse)
        assert objective.unloss(objective.loss(worse)) == worse
        less = objective.loss(better) < objective.loss(worse)
        assert (objective.error(better) < objective.error(worse)) == less
        assert (objective.told_loss(better) < objective.told_loss(worse)) == less


@pytest.fixture
def top2():
    def top2(logits, y):
        return (np.argsort(logits, axis=1)[:, -2:] == y[:, None]).any(axis=1).mean()

    metric = Metric(name="top2_in_test", function=top2, unit="share", best=1.0)
    yield metric
    if metric.name in OBJECTIVES:
        OBJECTIVES.drop(metric.name)
    METRICS._metrics.pop(metric.name, None)


def test_what_of_a_metric_is_refused(top2):
    METRICS.take(top2)
    METRICS.take(top2)
    with pytest.raises(NasError, match="top2_in_test exists already"):
        METRICS.take(Metric(name="top2_in_test", function=max))
    with pytest.raises(NasError, match="accuracy exists already, it is one of ours"):
        METRICS.take(Metric(name="accuracy", function=max))
    with pytest.raises(NasError, match="direction must be minimize or maximize, got 'up'"):
        Metric(name="x", function=max, direction="up")
    with pytest.raises(NasError, match="small letters, digits and underscores, got 'F 1'"):
        Metric(name="F 1", function=max)
    with pytest.raises(TrialFailed, match="metric x: ZeroDivisionError"):
        Metric(name="x", function=lambda o, y: 1 / 0)(None, None)
    with pytest.raises(TrialFailed, match="metric x is nan here; return the worst value"):
        Metric(name="x", function=lambda o, y: math.nan)(None, None)


def test_balanced_accuracy_and_a_metric_of_ones_own_are_searched_for(top2, tmp_path, digits, tiny):
    names = ["balanced_accuracy", top2, "n_params"]
    study = nas.Study(tiny, digits, names, out=tmp_path / "run", epochs=1, sampler="tpe", rungs=["1/2"])
    seen = Keep()
    front = study.search(trials=3, watcher=seen)
    assert front.config.objectives == ("balanced_accuracy", "top2_in_test", "n_params")
    best = front.pick("best:top2_in_test")
    assert best.metrics["top2_in_test"] == max(r.scores["top2_in_test"] for r in front.records if r.state == "complete")
    network = best.network()
    scores = evaluate(network, digits.x_val, digits.y_val, judge=Judge((top2,)))
    assert scores == pytest.approx(best.record.scores)
    outputs = network(digits.x_val).detach().numpy()
    right = [(outputs.argmax(1) == digits.y_val.numpy())[digits.y_val.numpy() == c].mean() for c in range(10)]
    assert best.metrics["balanced_accuracy"] == pytest.approx(np.mean(right))
    assert best.metrics["top2_in_test"] >= best.metrics["accuracy"]
    again = nas.Front.load(tmp_path / "run").pick("best:top2_in_test").record
    assert again.scores == pytest.approx(best.record.scores), "the CSV has them all"
    kept = seen.records[best.record.number]
    assert kept.curve_of == "balanced_accuracy"
    assert kept.curve[-1][1] == pytest.approx(best.metrics["balanced_accuracy"])
    retrained = best.retrain(seeds=2, epochs=1)
    assert retrained.metric.name == "balanced_accuracy"
    assert retrained.mean == np.mean([seed.scores["balanced_accuracy"] for seed in retrained.seeds])


class Keep(Quiet):
    """Remembers what a search records."""

    def __init__(self):
        self.records = {}

    def recorded(self, record, search):
        self.records[record.number] = record


def test_a_metric_that_cannot_work_is_told_before_the_search(tmp_path, digits, tiny):
    broken = Metric(name="broken_in_test", function=lambda logits, y: logits[0, 99])
    try:
        with pytest.raises(NasError, match=r"broken_in_test: IndexError.*\n.*outputs \(288, 10\) that are chance"):
            nas.Study(tiny, digits, ["accuracy", broken], out=tmp_path / "run").search(trials=1)
        with pytest.raises(NasError, match="broken_in_test: its function cannot be found by the processes"):
            portable_metrics(["broken_in_test"])
    finally:
        OBJECTIVES.drop("broken_in_test")
        del METRICS._metrics["broken_in_test"]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["macro_f1", "loss"])
def test_the_curve_that_is_followed_is_that_of_the_objective(name):
    """A trial that stopped halfway is expected to end better than it stood; what follows is the objective's own."""
    objective = OBJECTIVES[name]
    value = {"macro_f1": lambda e: 1 - e, "loss": lambda e: e}[name]
    ledger = Ledger([objective], [], shares=(1 / 9, 1 / 3, 1.0), n_judged=1000)
    space = nas.load_space("mlp")
    rng = np.random.default_rng(0)
    for number in range(12):
        errors = [0.3 * rng.uniform(0.5, 1.5) * s**-0.4 for s in (1 / 9, 1 / 3, 1.0)][: 2 if number == 11 else 3]
        scores = tuple({name: value(e)} for e in errors)
        share = (1 / 9, 1 / 3, 1.0)[len(errors) - 1]
        ledger.take(
            TrialRecord(
                number,
                space.sample(rng),
                "complete" if share == 1 else "stopped_early",
                scores=scores[-1],
                epochs=9 * share,
                curve=tuple((9 * s, of[name]) for s, of in zip((1 / 9, 1 / 3, 1.0), scores, strict=False)),
                curve_of=name,
                rung=len(errors),
                rung_scores=scores,
                share=share,
                key=str(number),
            )
        )
    assert len(ledger.curves[name]) == 12
    stopped = ledger.records[-1].scores[name]
    assert objective.loss(stopped) > ledger.expected()[11][0]


# ---------------------------------------------------------------- classes that are rare


def test_weighted_samples_count_as_often_as_they_weigh():
    y = torch.tensor([0, 0, 0, 1])
    weights = class_weights(y)
    assert weights[y].mean() == pytest.approx(1.0)
    logits = torch.randn(4, 2)
    each = F.cross_entropy(logits, y, reduction="none")
    loss = Batch(logits, y).loss(logits, 0.0, weights)
    assert float(loss) == pytest.approx(float((each[:3].mean() + each[3]) / 2)), "each class weighs the same"
    mixed = Batch(logits, y, others=y.flip(0), share=0.3).loss(logits, 0.0, weights)
    assert float(mixed) == pytest.approx(
        0.3 * float(loss) + 0.7 * float(Batch(logits, y.flip(0)).loss(logits, 0.0, weights))
    )


def test_class_weights_help_a_rare_class():
    """Two overlapping bumps, one in twenty from the smaller one: unweighted, it is hardly ever predicted."""
    rng = np.random.default_rng(0)
    y = torch.from_numpy((rng.random(1200) < 0.05).astype(np.int64))
    x = torch.from_numpy(rng.standard_normal((1200, 2)).astype(np.float32)) + 1.2 * y[:, None]
    found = {}
    for weighted in (False, True):
        config = TrainConfig(epochs=8, class_weights=weighted, optimizer=AdamW(lr=0.05))
        torch.manual_seed(0)
        net = torch.nn.Linear(2, 2)
        fit(net, x, y, config, seed=0)
        found[weighted] = evaluate(net, x, y)
    assert found[True]["balanced_accuracy"] > found[False]["balanced_accuracy"] + 0.1
    assert found[True]["accuracy"] < found[False]["accuracy"]


def test_a_checkpoint_of_before_there_was_a_field_goes_on():
    x, y = torch.randn(64, 3), torch.arange(64) % 2
    config = TrainConfig(epochs=2, rungs=rungs(("1/2",)))
    state = fit(torch.nn.Linear(3, 2), x, y, config, seed=0, until=0).state
    old = TrainState(**{**vars(state), "config": state.config.replace('"class_weights": false, ', "")})
    assert "class_weights" not in old.config
    old.check(64, config, 0)


def test_a_metric_whose_function_is_not_here_is_named(digits):
    OBJECTIVES.remember(Objective("lost_in_test", "share", "maximize", cheap=False, best=1.0, kind="classification"))
    try:
        with pytest.raises(RunError, match="lost_in_test is a metric of one's own, and its function is not here"):
            judge_of(["accuracy", "lost_in_test"], digits)
    finally:
        OBJECTIVES.drop("lost_in_test")


def test_a_metric_is_held_to_its_contract(top2):
    METRICS.take(top2)
    check_objective("top2_in_test")
    broken = Metric(name="broken_in_test", function=lambda logits, y: np.random.random())  # noqa: NPY002
    METRICS.take(broken)
    try:
        with pytest.raises(ContractBroken, match="is another the second time"):
            check_objective("broken_in_test")
    finally:
        OBJECTIVES.drop("broken_in_test")
        del METRICS._metrics["broken_in_test"]
