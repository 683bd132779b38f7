"""Texts: what becomes of them, what a tokenizer learns from, and a search of networks that read them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import nas
from nas.blocks import BLOCKS
from nas.data import load_task
from nas.data.text import token_ids
from nas.errors import DataError, SpaceError
from nas.space.yaml import parse

tokenizers = pytest.importorskip("tokenizers", reason="texts need the extra 'text'")

GOOD, BAD = ["lovely", "fine", "warm", "great"], ["awful", "cold", "poor", "sad"]
FILLER = [
    *("the", "food", "and", "room", "in", "this", "old", "house", "by", "sea", "were", "what", "we", "had", "there"),
]


def reviews(n=240, seed=0) -> list[tuple[str, str]]:
    """Reviews with one word that tells, somewhere among others that do not."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        words = list(rng.choice(FILLER, rng.integers(4, 12)))
        words.insert(rng.integers(len(words)), str(rng.choice([GOOD, BAD][i % 2])))
        rows.append((["good", "bad"][i % 2], " ".join(words)))
    return rows


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "reviews.tsv"
    lines = [f"{label}\t{text}" for label, text in reviews()]
    lines[3] = 'good\t"fine" said the "old man and left'  # quotes that mean nothing
    path.write_text("\n".join(["mood\treview", *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def task(table):
    return load_task(str(table), input="text")


def test_a_column_of_texts_beside_labels_is_found_by_itself(task):
    assert task.classes == ("bad", "good")
    length = task.recipe["length"]
    assert task.in_shape == (length,)
    assert 8 <= length <= 16
    assert task.x_train.dtype == torch.float32
    assert (task.mean, task.std) == ((0.0,), (1.0,))
    assert (task.x_train == task.x_train.round()).all()
    assert task.x_train.max() < task.recipe["vocabulary"]
    assert (task.x_train[:, -1] != 0).all(), "the last position is a text's own"
    assert (task.x_train[:, 0] == 0).any(), "short ones are filled in front"
    assert any("texts are cut to" in note for note in task.notes)


@pytest.mark.parametrize("empty", [False, True])
def test_short_texts_beside_labels_are_texts_too(tmp_path, empty):
    """One or two words each, or half of them none at all."""
    path = tmp_path / "short.tsv"
    lines = [
        f"{'' if empty and i % 4 > 1 else f'{text.split()[0]} {i}x'}\t{label}"
        for i, (label, text) in enumerate(reviews())
    ]
    path.write_text("\n".join(["text\tlabel", *lines]), encoding="utf-8")
    assert load_task(str(path), input="text").recipe["kind"] == "text"


def test_a_column_of_texts_that_is_ignored_is_told_with_the_remedy(tmp_path):
    path = tmp_path / "three.tsv"
    lines = [f"{text} {i}\t{label}\t{i % 7}" for i, (label, text) in enumerate(reviews())]
    path.write_text("\n".join(["text\tlabel\tsize", *lines]), encoding="utf-8")
    notes = load_task(str(path)).notes
    assert any("'text' is ignored" in note and "name the column with --text-column" in note for note in notes)


def test_the_recipe_alone_makes_the_ids(task, table):
    rows = [line.split("\t")[1] for line in table.read_text().splitlines()[1:]]
    found = {tuple(row) for row in token_ids(rows, json.loads(json.dumps(task.recipe))).tolist()}
    for part in (task.x_train, task.x_val, task.test()[0]):
        assert {tuple(row) for row in part.tolist()} <= found
    own = tokenizers.Tokenizer.from_str(json.dumps(task.recipe["tokenizer"]))
    ids = own.encode("Lovely food!").ids
    assert token_ids(["Lovely food!"], task.recipe)[0, -len(ids) :].tolist() == ids
    assert token_ids([""], task.recipe).sum() == 0


def test_the_tokenizer_has_seen_no_text_that_judges(table, tmp_path):
    """Words that are in the validation and test texts alone have no token of their own."""
    from nas.data.arrays import Learned
    from nas.data.reading import Reading
    from nas.data.text import learn_texts

    rows = ["common words in training"] * 8 + ["zebra zebra zebra"] * 4
    found = learn_texts(rows, ["zebra"], np.arange(8), Reading())
    assert isinstance(found, Learned)
    vocabulary = found.recipe["tokenizer"]["model"]["vocab"]
    assert "training" in vocabulary
    assert not any("z" in token for token in vocabulary)
    assert (found.x_test[0] == 0).sum() == len(found.x_test[0]) - np.count_nonzero(found.x_test[0])


def test_length_and_vocabulary_are_what_is_asked_for(table):
    small = load_task(str(table), input="text", vocabulary=40, length=5)
    assert small.in_shape == (5,)
    assert small.recipe["vocabulary"] == 40
    assert small.x_train.max() < 40


def test_a_vocabulary_is_kept_where_there_are_more_letters(table):
    small = load_task(str(table), input="text", vocabulary=16)
    assert small.recipe["vocabulary"] == 16
    assert small.x_train.max() < 16


def test_the_same_texts_give_the_same_task(table, task):
    assert load_task(str(table), input="text").fingerprint() == task.fingerprint()
    assert load_task(str(table), input="text", seed=1).fingerprint() != task.fingerprint()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"text_column": "reviews"}, "--text-column: no column called 'reviews'. Did you mean 'review'"),
        ({"text_column": "review", "target_column": ["review"]}, "cannot be both the text and what is predicted"),
        (
            {"input": "vector"},
            "the data are texts, and cannot be read as 'input: vector'; use a space",
        ),
        ({"vocabulary": 3}, "vocabulary must be a whole number of at least 16, got 3"),
    ],
)
def test_what_is_refused(table, more, message):
    with pytest.raises(DataError, match=message):
        load_task(str(table), **{"input": "text", **more})


def test_numbers_are_no_texts():
    with pytest.raises(DataError, match=r"the data are images.*'input: text'; name the column of texts"):
        load_task("digits", input="text")


SPACE = """
input: text
stem: {embedding: {dim: [8, 16], dropout: 0.1}}
body:
  repeat: {int: [0, 1]}
  block: {choice: {conv1d: {width: 16, kernel: 3}, gru: {hidden: 8}}}
head: {choice: {pool: {}, max: {}, attention: {}}}
training: {epochs: 12, batch_size: 16, optimizer: {adam: {lr: 0.02}}}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{dim: [8, 16]", "{vocabulary: 20, dim: [8, 16]", r"vocabulary of 20, and the data have \d+ tokens"),
        ("stem: {embedding: {dim: [8, 16], dropout: 0.1}}", "", "an embedding makes vectors; write"),
        (
            "input: text",
            "input: vector",
            r"'embedding' makes vectors of token ids: .* the stem of one with 'input: vec",
        ),
        ("epochs: 12", "mixup: 0.2", "mixup has no meaning on token ids"),
        (
            "epochs: 12",
            "augment: {jitter: {}}",
            r"augmentation 'jitter' works on .*, and input: text gives ids",
        ),
    ],
)
def test_a_space_that_cannot_read_texts_says_so(task, tmp_path, old, new, message):
    assert old in SPACE
    with pytest.raises(SpaceError, match=message):
        nas.Study(parse(SPACE.replace(old, new), name="t"), task, out=tmp_path / "run").search(trials=1)


def test_a_search_reads_the_word_that_tells(task, tmp_path):
    import onnxruntime

    study = nas.Study(parse(SPACE, name="t"), task, ["macro_f1", "latency_ms"], out=tmp_path / "run", rungs="none")
    front = study.search(trials=5)
    best = front.pick("best:macro_f1")
    assert best.metrics["macro_f1"] > 0.9
    assert best.network().modules_in_order[0].table.weight[0].abs().max() == 0, "filling stays zero"
    shipped = best.export()
    assert shipped.score_file == shipped.score_torch
    session = onnxruntime.InferenceSession(shipped.file)
    meta = session.get_modelmeta().custom_metadata_map
    own = tokenizers.Tokenizer.from_file(str(Path(shipped.file).with_suffix(".tokenizer.json")))
    x = np.zeros((1, json.loads(meta["recipe"])["length"]), np.float32)
    ids = own.encode("The room was lovely, by the sea").ids
    x[0, -len(ids) :] = ids
    logits = session.run(None, {"input": x})[0]
    assert json.loads(meta["classes"])[logits.argmax()] == "good"


def test_an_embedding_takes_any_number_for_an_id():
    part = BLOCKS["embedding"]
    block = part((4,), part.Config(dim=3, vocabulary=6))
    found = block(torch.tensor([[-2.0, 0.4, 5.9, 99.0]]))[0]
    assert (found[:2] == 0).all()
    assert torch.equal(found[2], found[3])
    assert torch.equal(found[3], block.table.weight[5])
