"""What bad input gets: one clear message on stderr, exit code 2, no traceback, nothing written or overwritten."""

import numpy as np
import pytest
import yaml
from tiny_run import TINY, snapshot

GOOD = {
    "x_train": np.random.default_rng(0).normal(size=(40, 1, 6, 6)).astype(np.float32),
    "y_train": np.arange(40) % 2,
}


def spoilt(x: np.ndarray, at: tuple, value: float) -> np.ndarray:
    x = x.copy()
    x[at] = value
    return x


SPACES = {
    "tiny.yaml": TINY,
    "unclosed.yaml": TINY.replace("head: {pool: {}}", "head: {pool: {"),
    "tab.yaml": TINY.replace("  repeat", "\trepeat"),
    "twice.yaml": TINY.replace("head: {pool: {}}", "head: {pool: {}}\nhead: {flatten: {}}"),
    "empty.yaml": "",
    "list.yaml": "- a\n- b\n",
    "nohead.yaml": TINY.replace("head: {pool: {}}\n", ""),
    "block.yaml": TINY.replace("conv:", "cnov:"),
    "field.yaml": TINY.replace("stride: 2", "strid: 2"),
    "value.yaml": TINY.replace("stride: 2", "stride: two"),
    "head.yaml": TINY.replace("{pool:", "{pol:"),
    "optimizer.yaml": TINY.replace("sgd:", "sdg:"),
    "lr.yaml": TINY.replace("lr:", "learning_rate:"),
    "augment.yaml": TINY + "  augment: timeshift\n",
    "section.yaml": TINY + "haed: {pool: {}}\n",
    "choice.yaml": TINY.replace("{conv: {width: [4, 8, 64], stride: 2}, identity: {}}", "{}"),
    "options.yaml": TINY.replace("[4, 8, 64]", "[]"),
    "bounds.yaml": TINY.replace("{int: [1, 2]}", "{int: [3, 2]}"),
    "log.yaml": TINY.replace("lr: [0.1, 0.3, 1.0e+12]", "lr: {float: [0.0, 0.3], log: true}"),
    "step.yaml": TINY.replace("{int: [1, 2]}", "{int: [1, 4], step: 0}"),
    "when.yaml": TINY.replace("stride: 2", "stride: {options: [1, 2], when: {.width: 5}}"),
    "forbid.yaml": TINY + "forbid:\n  - {body.conv.widht: 4}\n",
    "forbidall.yaml": TINY + "forbid:\n  - {body.repeat: '>=1'}\n",
    "unbuildable.yaml": TINY.replace("stride: 2}, identity: {}", "stride: 2, groups: 3}"),
    "sequence.yaml": "input: sequence\nbody: {lstm: {}}\nhead: {last: {}}\n",
    "tag.yaml": TINY + "name: !!python/object/apply:os.system [ls]\n",
}
DATA = {
    "vectors.npz": {**GOOD, "x_train": GOOD["x_train"].reshape(40, 36)},
    "good.npz": GOOD,
    "nan.npz": {**GOOD, "x_train": spoilt(GOOD["x_train"], (3, 0, 1, 2), np.nan)},
    "infinite.npz": {**GOOD, "x_train": spoilt(GOOD["x_train"], (3, 0, 1, 2), np.inf)},
    "flat.npz": {**GOOD, "x_train": GOOD["x_train"][:, 0, 0, 0]},
    "short.npz": {**GOOD, "y_train": GOOD["y_train"][:30]},
    "onehot.npz": {**GOOD, "y_train": np.eye(2)[GOOD["y_train"]]},
    "one.npz": {**GOOD, "y_train": np.zeros(40, int)},
    "range.npz": {**GOOD, "y_train": np.where(np.arange(40) == 7, 5, GOOD["y_train"]), "classes": np.array(["a", "b"])},
    "negative.npz": {**GOOD, "y_train": GOOD["y_train"] - 7},
    "floats.npz": {**GOOD, "y_train": GOOD["y_train"] + 0.5},
    "objects.npz": {**GOOD, "x_train": np.array([{}] * 40, dtype=object)},
    "nolabels.npz": {"x_train": GOOD["x_train"]},
    "shapes.npz": {**GOOD, "x_test": np.zeros((5, 1, 7, 7), np.float32), "y_test": np.arange(5) % 2},
}


@pytest.fixture
def folder(tmp_path, nas):
    """A working directory with everything that can be wrong."""
    for name, text in SPACES.items():
        (tmp_path / name).write_text(text)
    for name, arrays in DATA.items():
        np.savez(tmp_path / name, **arrays)
    (tmp_path / "notes.txt").write_text("not a data set")
    (tmp_path / "text.npz").write_text("not a zip")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("a file, no folder")
    (tmp_path / "empty").mkdir()
    (tmp_path / "net.onnx").mkdir()
    return tmp_path


def refused(nas, folder, args, needles):
    """Run a command; check that it says one clear thing, and leaves everything as it was."""
    before = snapshot(folder)
    result = nas(*args)
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr.startswith("nas: ") or result.stderr.startswith("Usage: "), result.stderr
    assert result.stderr.count("nas: ") + result.stderr.count("Error: ") == 1
    assert "Traceback" not in result.stderr
    assert all(needle in result.stderr for needle in needles), result.stderr
    assert len(result.stderr) < 1500, "a message is read, not scrolled through"
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    ("args", "needles"),
    [
        # the space
        (["unclosed.yaml"], ["unclosed.yaml:", "not YAML"]),
        (["tab.yaml"], ["tab.yaml:3", "not YAML"]),
        (["twice.yaml"], ["twice.yaml:6", "head"]),
        (["empty.yaml"], ["empty.yaml", "an empty file"]),
        (["list.yaml"], ["list.yaml:1", "a list"]),
        (["nohead.yaml"], ["nohead.yaml", "'head' is missing"]),
        (["tag.yaml"], ["tag.yaml:", "tag"]),
        (["binary.yaml"], ["binary.yaml", "UTF-8"]),
        (["block.yaml"], ["block.yaml:4", "no block called 'cnov'", "Did you mean 'conv'?"]),
        (["field.yaml"], ["field.yaml:4", "body.0.conv.strid", "Did you mean 'stride'?"]),
        (["value.yaml"], ["value.yaml:4", "stride is an integer, got 'two'"]),
        (["head.yaml"], ["head.yaml:5", "no head called 'pol'", "Did you mean 'pool'?"]),
        (["optimizer.yaml"], ["optimizer.yaml:9", "no optimizer called 'sdg'", "Did you mean 'sgd'?"]),
        (["lr.yaml"], ["lr.yaml:9", "no field called 'learning_rate'", "Known: lr"]),
        (["augment.yaml"], ["augment.yaml:10", "'timeshift' works on tokens"]),
        (["section.yaml"], ["section.yaml:10", "no section called 'haed'", "Did you mean 'head'?"]),
        (["choice.yaml"], ["choice.yaml:4", "a choice needs at least one option"]),
        (["options.yaml"], ["options.yaml:4", "body.0.conv.width", "at least one"]),
        (["bounds.yaml"], ["bounds.yaml:3", "body.repeat", "low <= high must hold, got int: [3, 2]"]),
        (["log.yaml"], ["log.yaml:9", "lr", "log", "0"]),
        (["step.yaml"], ["step.yaml:3", "body.repeat", "step"]),
        (["when.yaml"], ["when.yaml:4", "impossible condition", "5"]),
        (["forbid.yaml"], ["forbid.yaml:11", "no parameter called 'body.conv.widht'", "'body.conv.width'"]),
        (["forbidall.yaml"], ["forbidall", "forbidden", "forbid"]),
        (["unbuildable.yaml"], ["none of 50 random architectures can be built", "groups=3"]),
        (["missing.yaml"], ["no space file missing.yaml"]),
        (["imge"], ["no shipped space called 'imge'", "Did you mean 'image'?"]),
        # the data
        (["tiny.yaml", "--data", "vectors.npz"], ["vectors.npz", "image"]),
        (["tiny.yaml", "--data", "nan.npz"], ["nan.npz", "x_train", "NaN"]),
        (["tiny.yaml", "--data", "infinite.npz"], ["infinite.npz", "x_train", "infinit"]),
        (["tiny.yaml", "--data", "flat.npz"], ["flat.npz", "x_train has 1 axes"]),
        (["tiny.yaml", "--data", "short.npz"], ["short.npz", "40", "30"]),
        (["tiny.yaml", "--data", "onehot.npz"], ["onehot.npz", "y_train", "argmax"]),
        (["tiny.yaml", "--data", "one.npz"], ["one.npz", "one class only"]),
        (["tiny.yaml", "--data", "range.npz"], ["range.npz", "y_train[7] is 5"]),
        (["tiny.yaml", "--data", "negative.npz"], ["negative.npz", "negative label"]),
        (["tiny.yaml", "--data", "floats.npz"], ["floats.npz", "y_train holds floats", "--task"]),
        (["tiny.yaml", "--data", "objects.npz"], ["objects.npz", "object array"]),
        (["tiny.yaml", "--data", "nolabels.npz"], ["nolabels.npz", "no array y_train"]),
        (["tiny.yaml", "--data", "shapes.npz"], ["shapes.npz", "x_test"]),
        (["tiny.yaml", "--data", "goood.npz"], ["no such file", "'good.npz'"]),
        (["tiny.yaml", "--data", "text.npz"], ["text.npz", "not a .npz file"]),
        (["tiny.yaml", "--data", "notes.txt"], ["notes.txt", "a file of no kind that is read here"]),
        (["tiny.yaml", "--data", "empty"], ["empty", "holds no folders", "CLASS/FILE.png"]),
        (["tiny.yaml", "--data", "digit"], ["no data set called 'digit'", "Did you mean 'digits'?"]),
        (["tiny.yaml", "--data", "fashion_mnist"], ["fashion_mnist", "--download"]),
        (["tiny.yaml", "--val-share", "1.5"], ["val_share must be in (0, 1)", "1.5"]),
        (["tiny.yaml", "--subset", "30"], ["subset must be in (0, 1]", "write 0.3"]),
        (["tiny.yaml", "--subset", "nan"], ["subset must be in (0, 1]"]),
        # what for, and how
        (["tiny.yaml", "-o", "accurcy"], ["no objective called 'accurcy'", "Did you mean 'accuracy'?"]),
        (["tiny.yaml", "-o", "macs", "-o", "macs"], ["objective macs is named twice"]),
        (["tiny.yaml", "-b", "latency_ms"], ["budget 'latency_ms' cannot be read", "latency_ms<=2"]),
        (["tiny.yaml", "-b", "latency<=2"], ["no objective called 'latency'", "'latency_ms'"]),
        (["tiny.yaml", "-b", "macs<=1.2.3"], ["macs<=1.2.3", "not a number"]),
        (["tiny.yaml", "-b", "accuracy>=0.9"], ["accuracy is known only after training", "nas front RUN --budget"]),
        (["tiny.yaml", "--sampler", "tpee"], ["no sampler called 'tpee'", "Did you mean 'tpe'?"]),
        (["tiny.yaml", "--sampler", "tpe(n=3)"], ["no argument called 'n'"]),
        (["tiny.yaml", "--sampler", "tpe(n_startup="], ["cannot be read"]),
        (["tiny.yaml", "--sampler", "optuna:TPESmpler"], ["no Optuna sampler called", "'TPESampler'"]),
        (["tiny.yaml", "--sampler", "optuna:TPESampler(x=1)"], ["optuna:TPESampler", "'x'"]),
        (["tiny.yaml", "--runtime", "onnxrntime"], ["no runtime called 'onnxrntime'", "'onnxruntime'"]),
        (["tiny.yaml", "--warm-start", "gone"], ["warm start: gone: no such folder", "an earlier run"]),
        (["tiny.yaml", "--warm-start", "full"], ["warm start: full: no run of ours", "config.yaml"]),
        (["tiny.yaml", "--warm-start", "file"], ["warm start: file: no such folder"]),
        (["tiny.yaml", "--trials", "0"], ["--trials", "0"]),
        (["tiny.yaml", "--trials", "many"], ["--trials", "many"]),
        (["tiny.yaml", "--epochs", "0"], ["--epochs", "0"]),
        (["tiny.yaml", "--workers", "0"], ["--workers", "0"]),
        (["tiny.yaml", "--workers", "1001"], ["--workers", "1001", "1000"]),
        (["tiny.yaml", "--rung", "1e400"], ["rung '1e400': share must be in (0, 1]", "write e.g. 0.1"]),
        (["tiny.yaml", "--rung", "ten"], ["rung 'ten'", "write e.g. 0.1"]),
        (["tiny.yaml", "--seed", "-1"], ["--seed", "-1"]),
        (["tiny.yaml", "--time-limit", "soon"], ["time 'soon' cannot be read", "15m"]),
        (["tiny.yaml", "--time-limit", "0"], ["time '0' cannot be read"]),
        (["tiny.yaml", "--trial-time-limit", "-5s"], ["time '-5s' cannot be read"]),
        (["tiny.yaml", "--quiet", "--verbose"], ["--quiet and --verbose exclude each other"]),
        (["tiny.yaml", "extra.yaml"], ["extra.yaml"]),
        (["tiny.yaml", "--budgt", "macs<=1"], ["--budgt", "--budget"]),
        # where
        (["tiny.yaml", "--out", "full"], ["full", "not empty", "no run of ours", "--out"]),
        (["tiny.yaml", "--out", "file"], ["file", "cannot be made"]),
        (["tiny.yaml", "--out", "file/run"], ["file/run", "cannot be made"]),
        (["tiny.yaml", "--out", "new", "--storage", "nonsense"], ["storage 'nonsense' is no URL", "sqlite:///"]),
        (
            ["tiny.yaml", "--out", "new", "--storage", "sqlite:////no/where.db"],
            ["/no/where.db", "there is no folder /no; make it first"],
        ),
        (["tiny.yaml", "--resume"], ["--resume needs the run folder", "--out"]),
        (["tiny.yaml", "--resume", "--out", "gone"], ["gone", "no such run folder"]),
        (["tiny.yaml", "--resume", "--out", "full"], ["full", "no run of ours"]),
        (["tiny.yaml", "--resume", "--out", "empty"], ["empty", "no run of ours"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0].endswith(".yaml") else "",
)
def test_search(nas, folder, args, needles):
    refused(nas, folder, ["search", *args], needles)


@pytest.mark.parametrize(
    ("args", "needles"),
    [
        (["search", "tiny.yaml", "--out", "run"], ["run", "not empty", "--resume goes on with it"]),
        (["search", "--resume", "--out", "run", "--seed", "9"], ["seed: 9 instead of 1"]),
        (["search", "--resume", "--out", "run", "-o", "macs"], ["objectives: macs instead of accuracy, n_params"]),
        (["search", "--resume", "--out", "run", "--data", "good.npz"], ["made on other data", "'good.npz'", "--data"]),
        (["search", "--resume", "--out", "run", "-b", "macs<=1k"], ["budgets: macs<=1000 instead of n_params<=2000"]),
        (["search", "sequence.yaml", "--resume", "--out", "run"], ["space: sequence (another tree) instead of tiny"]),
        (["search", "digits", "--resume", "--out", "run"], ["space: digits (another tree) instead of tiny"]),
        (["search", "tiny.yaml", "--warm-start", "run", "--out", "run"], ["the folder of this run itself", "--resume"]),
        (["search", "--warm-start", "run", "--warm-start", "./run"], ["warm start: run is named twice"]),
        (["search", "--warm-start", "run", "--out", "new"], ["0 of", "can be used", "not in this space; leave it out"]),
        (["search", "tiny.yaml", "--warm-start", "run", "-o", "macs"], ["macs are known before any training"]),
        (["search", "--resume", "--out", "run", "--warm-start", "run"], ["warm_start: run instead of none"]),
        (["front", "nowhere"], ["nowhere", "no such run folder"]),
        (["front", "full"], ["full", "no run of ours"]),
        (["front", "file"], ["file", "no such run folder"]),
        (["front", "run", "--pick", "knne"], ["rule 'knne' cannot be read", "knee"]),
        (["front", "run", "--pick", "best:speed"], ["no objective called 'speed'"]),
        (["front", "run", "--pick", "trial:999"], ["no trial 999", "complete trials: "]),
        (["front", "run", "--pick", "knee where latency_ms<=1e-9"], ["nothing on the front keeps that", "nearest"]),
        (["front", "run", "--pick", "knee where latency_ms<=0"], ["no network keeps it; write a limit above 0"]),
        (["front", "run", "--pick", "closest:speed=1"], ["no objective called 'speed'"]),
        (["front", "run", "--pick", "closest:accuracy"], ["Write e.g. closest:accuracy=0.95"]),
        (["front", "run", "--pick", "knee", "--pick", "best"], ["best of what?", "best:accuracy"]),
        (["front", "run", "--sort", "speed"], ["no figure of this run called 'speed'", "accuracy"]),
        (["front", "run", "--budget", "accuracy>=95"], ["accuracy is a share", "for 95 % write 0.95"]),
        (["front", "run", "--budget", "acuracy>=2"], ["Did you mean 'accuracy'?"]),
        (["front", "run", "--csv", "nowhere/front.csv"], ["nowhere"]),
        (["front", "run", "--plot", "nowhere/front.png"], ["nowhere"]),
        (["front", "run", "--csv", "full"], ["full", "directory"]),
        (["retrain", "nowhere"], ["nowhere", "no such run folder"]),
        (["retrain", "run", "--pick", "trial:999"], ["no trial 999"]),
        (["retrain", "run", "--seeds", "0"], ["--seeds", "0"]),
        (["retrain", "run", "--epochs", "0"], ["--epochs", "0"]),
        (["retrain", "run", "--pick", "closets"], ["Did you mean 'closest'?"]),
        (["retrain", "run", "--pick", "knee", "--front"], ["--pick excludes --front and --members"]),
        (["retrain", "run", "--pick", "knee", "--members", "2"], ["--pick excludes --front and --members"]),
        (["retrain", "run", "--time-limit", "soon"], ["time 'soon' cannot be read"]),
        (["retrain", "run", "--workers", "0"], ["--workers", "0"]),
        (["export", "nowhere"], ["nowhere", "no such run folder"]),
        (["export", "run", "--pick", "knee", "--front"], ["--pick and --front exclude each other"]),
        (["export", "run", "--pick", "trial:999"], ["no trial 999"]),
        (["export", "run", "--pick", "knee", "--pick", "clostest"], ["Did you mean 'closest'?"]),
        (["measure", "run", "--pick", "knee:latency_ms"], ["knee takes nothing behind it"]),
        (["measure", "run", "--pick", "knee where latency_ms"], ["after 'where'", "cannot be read"]),
        (["export", "run", "--out", "file"], ["file", "exists already"]),
        (["export", "run", "--out", "net.onnx"], ["net.onnx is a directory, which no file replaces"]),
        (["export", "run", "--out", "net.onnx", "--overwrite"], ["net.onnx is a directory, which no file replaces"]),
        (["export", "run", "--out", "file/net.onnx"], ["file"]),
        (["export", "run", "--front", "--out", "file"], ["file"]),
        (["space", "imge"], ["no shipped space called 'imge'", "'image'"]),
        (["space", "block.yaml"], ["block.yaml:4", "'conv'"]),
        (["space", "unclosed.yaml"], ["unclosed.yaml:", "not YAML"]),
        (["space", "forbidall.yaml"], ["forbid"]),
        (["space", "tiny.yaml", "--samples", "-1"], ["--samples", "-1"]),
        (["serch"], ["serch", "search"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_other_commands(nas, folder, run, args, needles):
    refused(nas, folder, args, needles)


def test_a_trial_that_failed_cannot_be_chosen(nas, folder, run):
    from nas.records import read_csv

    failed = next(r for r in read_csv(run / "trials.csv") if r.state == "failed")
    refused(nas, folder, ["retrain", "run", "--pick", f"trial:{failed.number}"], ["is not complete"])


def test_weights_that_were_not_kept(nas, folder, run):
    from nas.records import read_csv

    dominated = next(r for r in read_csv(run / "trials.csv") if r.state == "complete" and not r.on_front)
    said = ["there are no weights of trial", f"nas retrain run --pick trial:{dominated.number}"]
    refused(nas, folder, ["export", "run", "--pick", f"trial:{dominated.number}"], said)


@pytest.mark.parametrize(
    ("file", "content", "args", "needles"),
    [
        ("config.yaml", "seed: [", ["front", "run"], ["config.yaml", "not YAML"]),
        ("config.yaml", "7", ["front", "run"], ["config.yaml", "not the config of a run"]),
        ("config.yaml", "space: 'input: image'", ["front", "run"], ["config.yaml"]),
        ("trials.csv", "trial,state\n1,complete\n", ["front", "run"], ["trials.csv", "row 2"]),
        ("trials.csv", None, ["front", "run"], ["trials.csv", "cannot be read"]),
        ("study.db", None, ["search", "--resume", "--out", "run"], ["study.db"]),
        ("study.db", "no database at all", ["search", "--resume", "--out", "run"], ["study.db", "cannot be opened"]),
        ("machine.json", "{}", ["export", "run"], ["machine.json", "calibration"]),
        ("machine.json", None, ["export", "run"], ["machine.json", "cannot be read"]),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_a_run_that_is_damaged(nas, folder, run, file, content, args, needles):
    if content is None:
        (run / file).unlink()
    else:
        (run / file).write_text(content)
    refused(nas, folder, args, needles)


def test_weights_of_another_network(nas, folder, run, front):
    member = front.pick("knee")
    path = front.folder.checkpoint(member.record.number)
    path.write_bytes(b"no weights")
    refused(nas, folder, ["export", "run"], [path.name, "not the weights of trial"])


def test_a_config_with_a_field_that_is_not_ours(nas, folder, run):
    plain = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**plain, "colour": "red"}))
    refused(nas, folder, ["front", "run"], ["config.yaml", "colour"])
