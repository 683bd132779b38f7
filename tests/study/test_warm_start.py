"""What earlier runs tell a new one: read once, kept with it, told to the sampler as evidence and never as trials."""

import dataclasses
import json
import math
import shutil

import pytest
from tiny_run import TINY, snapshot

from nas.errors import RunError
from nas.objectives import parse_objective
from nas.records import read_csv, write_csv
from nas.rng import generator
from nas.samplers import make_sampler
from nas.space.yaml import parse
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder
from nas.study.loop import Limits
from nas.study.session import open_search
from nas.study.warm import read_earlier

OBJECTIVES = ("loss", "macs", "accuracy")
NARROW = parse(TINY.replace("[4, 8, 64]", "[4, 64]"), name="narrow")


def config_of(space, *runs, **options) -> StudyConfig:
    given = {"objectives": OBJECTIVES, "sampler": "random", "subset": 0.3, "seed": 7, "warm_start": runs, **options}
    return StudyConfig(space=space, **given)


def go(config, folder, digits, trials=2, resume=False):
    """Search; return the search and what its sampler was told, proposal by proposal."""
    told = []
    with open_search(config, RunFolder(folder), Limits(trials=trials), task=digits, resume=resume) as opened:
        propose = opened.sampler.propose

        def listening(seen, pending, price, rng):
            told.append(list(seen))
            return propose(seen, pending, price, rng)

        opened.sampler.propose = listening
        assert opened.run() == "trials"
    return opened, told


def complete(run):
    return [r for r in read_csv(run / "trials.csv") if r.state == "complete"]


def usable(runs, space, tmp_path, objectives=OBJECTIVES):
    return read_earlier(
        [str(r) for r in runs], space, [parse_objective(n) for n in objectives], RunFolder(tmp_path / "new")
    )


def test_complete_trials_become_evidence_without_prices(run, tmp_path, tiny, digits):
    before = snapshot(run)
    found, told = go(config_of(tiny, str(run)), tmp_path / "new", digits)
    assert snapshot(run) == before, "nothing is written in the earlier folder"
    earlier = complete(run)
    assert len(earlier) > 3
    evidence = [o for o in told[0] if o.source]
    assert told[0] == evidence
    for o, r in zip(evidence, earlier, strict=True):
        assert (o.arch, o.number, o.state, o.source) == (r.arch, r.number, "complete", "run run")
        assert o.losses == (
            pytest.approx(math.log(r.scores["loss"])),
            None,
            pytest.approx(math.log(1 - r.scores["accuracy"])),
        )
        assert (o.violation, o.excess, o.cost) == (0.0, (), r.train_seconds)
    for seen in told[1:]:
        assert [o for o in seen if o.source] == evidence
        assert all(a is b for a, b in zip(seen, evidence, strict=False)), "the same objects each time"
    assert found.trained == 2
    assert [r.number for r in found.records] == list(range(len(found.records))), "evidence is no trial"
    assert len(read_csv(tmp_path / "new" / "trials.csv")) == len(found.records)


def test_a_sampler_that_uses_none_searches_as_without(run, tmp_path, tiny, digits):
    runs = [go(config_of(tiny, *warm), tmp_path / f"new{len(warm)}", digits)[0] for warm in ([], [str(run)])]
    assert [r.arch for r in runs[0].records] == [r.arch for r in runs[1].records]
    assert not (tmp_path / "new0" / "warm_start.json").exists()


def test_a_resume_needs_the_earlier_folder_no_more(run, tmp_path, tiny, digits):
    config = config_of(tiny, str(run))
    whole, told = go(config, tmp_path / "whole", digits, trials=4)
    go(config, tmp_path / "parts", digits, trials=2)
    shutil.rmtree(run)
    parts, told_later = go(RunFolder(tmp_path / "parts").read_config(), tmp_path / "parts", digits, 4, resume=True)
    assert [r.arch for r in parts.records] == [r.arch for r in whole.records]
    assert parts.earlier == whole.earlier
    evidence = [o for o in told[0] if o.source]
    assert [o for o in told_later[-1] if o.source] == evidence
    kept = json.loads((tmp_path / "parts" / "warm_start.json").read_text())
    assert kept["runs"][0]["name"] == "run"
    assert len(kept["runs"][0]["trials"]) == len(evidence)


@pytest.mark.parametrize("other", [(), ("other",)])
def test_a_resume_with_another_warm_start_is_refused(run, tmp_path, tiny, digits, other):
    config = config_of(tiny, str(run))
    go(config, tmp_path / "new", digits, trials=1)
    before = snapshot(tmp_path / "new")
    with pytest.raises(RunError) as caught:
        go(dataclasses.replace(config, warm_start=other), tmp_path / "new", digits, resume=True)
    assert f"warm_start: {other[0] if other else 'none'} instead of {run.as_posix()}" in str(caught.value)
    assert snapshot(tmp_path / "new") == before


@pytest.mark.parametrize("spoil", [lambda p: p.unlink(), lambda p: p.write_text('{"runs": [{"name": 3}]}')])
def test_a_resume_without_what_was_kept_says_so(run, tmp_path, tiny, digits, spoil):
    config = config_of(tiny, str(run))
    go(config, tmp_path / "new", digits, trials=1)
    spoil(tmp_path / "new" / "warm_start.json")
    with pytest.raises(RunError, match=r"warm_start\.json"):
        go(config, tmp_path / "new", digits, resume=True)


def test_what_is_in_another_space_or_tells_nothing_is_left_out_and_counted(run, tmp_path, tiny):
    records = read_csv(run / "trials.csv")
    inside = [r for r in complete(run) if NARROW.contains(r.arch)]
    assert 2 <= len(inside) < len(complete(run))
    silent = {inside[0].number: {"accuracy": float("nan")}, inside[1].number: {"accuracy": 0.5, "loss": float("inf")}}
    records = [dataclasses.replace(r, scores=silent.get(r.number, r.scores)) for r in records]
    write_csv(run / "trials.csv", records, tiny.slots)
    (found,) = usable([run], NARROW, tmp_path)
    n, n_outside = len(complete(run)), len(complete(run)) - len(inside)
    assert [t.number for t in found.trials] == [r.number for r in inside[1:]]
    assert dict(found.trials[0].scores) == {"accuracy": 0.5}
    assert str(found) == (
        f"{len(inside) - 1} of {n} complete trials of run can be used: "
        f"{n_outside} not in this space, 1 without a finite score of this study's objectives"
    )
    objectives = [parse_objective(name) for name in OBJECTIVES]
    assert found.observations(objectives)[0].losses == (None, None, pytest.approx(math.log(0.5)))
    assert str(usable([run], tiny, tmp_path)[0]).endswith("objectives")


def test_architectures_come_in_the_order_of_this_space(run, tmp_path, tiny):
    backwards = parse(TINY[TINY.index("training") :] + TINY[: TINY.index("training")], name="backwards")
    (found,) = usable([run], backwards, tmp_path)
    assert len(found.trials) == len(complete(run))
    for trial, record in zip(found.trials, complete(run), strict=True):
        assert trial.arch.values == record.arch.values
        assert trial.arch == backwards.architecture(record.arch.values)
        assert trial.arch != record.arch


def test_two_runs_of_one_name_are_told_apart(run, tmp_path, tiny, digits, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, tmp_path / "other" / "run")
    shutil.copytree(run, tmp_path / "third")
    found, told = go(config_of(tiny, "run", "other/run", "./third/"), "new", digits, trials=1)
    assert list(dict.fromkeys(o.source for o in told[0])) == ["run run", "run other/run", "run third"]
    assert len(told[0]) == 3 * len(complete(run))
    assert found.evaluator.config.warm_start == ("run", "other/run", "third")


def test_tpe_searches_with_evidence(run, tmp_path, tiny, digits):
    config = config_of(tiny, str(run), sampler="tpe")
    whole, _ = go(config, tmp_path / "whole", digits, trials=4)
    go(config, tmp_path / "parts", digits, trials=2)
    parts, _ = go(config, tmp_path / "parts", digits, trials=4, resume=True)
    assert [r.arch for r in parts.records] == [r.arch for r in whole.records]
    assert all(tiny.contains(r.arch) for r in whole.records)
    sampler = make_sampler("tpe", tiny, config.parsed_objectives(), 0)
    evidence = whole.earlier[0].observations(config.parsed_objectives())
    price = whole._price  # every price is known by now, or is measured
    assert tiny.contains(sampler.propose(evidence, [], price, generator(0, "sampler", 0)))


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (["nowhere"], "warm start: nowhere: no such folder; name the folder of an earlier run"),
        (["file"], "warm start: file: no such folder"),
        (["empty"], "warm start: empty: no run of ours, there is no config.yaml"),
        (["run", "./run/"], "warm start: run is named twice"),
        (["run", "link"], "is named twice"),
        (["new"], "warm start: new is the folder of this run itself; to go on with it: --resume --out new"),
        (["failing"], "warm start: failing: none of its trials is complete; leave it out, or go on with it first"),
        (["begun"], "warm start: begun: none of its trials is complete"),
        (["run", "torn"], "torn/trials.csv: row 2 is not a trial of ours"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_what_is_no_earlier_run_is_refused_and_nothing_written(run, tmp_path, tiny, digits, monkeypatch, runs, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(run)
    for name in ("failing", "begun", "torn"):
        shutil.copytree(run, tmp_path / name)
    failed = [r for r in read_csv(run / "trials.csv") if r.state != "complete"]
    write_csv(tmp_path / "failing" / "trials.csv", failed, tiny.slots)
    (tmp_path / "begun" / "trials.csv").unlink()
    text = (run / "trials.csv").read_text().splitlines(keepends=True)
    (tmp_path / "torn" / "trials.csv").write_text(text[0] + text[1][:30])
    before = snapshot(tmp_path)
    with pytest.raises(RunError) as caught:
        go(config_of(tiny, *runs), "new", digits)
    assert said in str(caught.value)
    assert snapshot(tmp_path) == before


def test_a_run_that_tells_nothing_is_refused(run, tmp_path, tiny):
    other = parse(TINY.replace("[4, 8, 64]", "[5, 6]").replace("identity: {}", "maxpool: {}"), name="other")
    n = len(complete(run))
    with pytest.raises(RunError) as caught:
        usable([run], other, tmp_path)
    assert str(caught.value) == (
        f"warm start: 0 of {n} complete trials of run can be used: {n} not in this space; "
        "leave it out, or search a space that holds its networks"
    )
    with pytest.raises(RunError, match="macs, n_params are known before any training"):
        usable([run], tiny, tmp_path, ("macs", "n_params"))
    assert usable([], tiny, tmp_path, ("macs",)) == ()
