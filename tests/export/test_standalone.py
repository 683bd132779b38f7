"""What the examples are made of: samples in any layout become the network's, images are scaled as the data were."""

import ast
import builtins
import runpy

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from nas.data.images import prepare
from nas.data.layout import arrange
from nas.data.reading import Reading
from nas.data.task import standardise
from nas.data.ts import read_ts
from nas.export import FORMATS, standalone
from nas.export.example import example_source, samples_of
from nas.export.metadata import as_texts
from nas.export.standalone import outputs, probabilities, read_arrays, read_images, read_series, standardised

GREY = {"in_shape": [1, 4, 5], "scale": 1 / 255, "mean": [0.5], "std": [0.25]}
COLOUR = {"in_shape": [3, 4, 5], "scale": 1 / 255, "mean": [0.5, 0.4, 0.3], "std": [0.25, 0.5, 1.0]}
SERIES = {"in_shape": [7, 2], "scale": 1.0, "mean": [1.0, -1.0], "std": [2.0, 4.0]}
FLAT_SERIES = {**SERIES, "in_shape": [14], "data_shape": [7, 2]}
FLAT_COLOUR = {**COLOUR, "in_shape": [60], "data_shape": [3, 4, 5]}
SQUARE = {"in_shape": [5, 5], "data_layout": "NCT"}
ROWS = {"in_shape": [7, 6], "data_shape": [2, 7, 3], "scale": 1.0, "mean": [0.0] * 6, "std": [1.0] * 6}
STEPS = {"in_shape": [9, 1], "scale": 1.0, "mean": [0.0], "std": [1.0]}
VECTOR = {"in_shape": [6], "scale": 1.0, "mean": list(range(6)), "std": [1.0] * 6}
FLAT = {**VECTOR, "data_shape": [1, 2, 3]}


def saved(tmp_path, x):
    np.save(tmp_path / "samples.npy", x)
    return str(tmp_path / "samples.npy")


@pytest.mark.parametrize(
    ("metadata", "shape", "move"),
    [
        (GREY, (3, 1, 4, 5), lambda x: x),
        (GREY, (3, 4, 5), lambda x: x[:, None]),
        (GREY, (4, 5), lambda x: x[None, None]),
        (GREY, (1, 4, 5), lambda x: x[None]),
        (GREY, (3, 4, 5, 1), lambda x: x.transpose(0, 3, 1, 2)),
        (COLOUR, (2, 3, 4, 5), lambda x: x),
        (COLOUR, (2, 4, 5, 3), lambda x: x.transpose(0, 3, 1, 2)),
        (COLOUR, (4, 5, 3), lambda x: x.transpose(2, 0, 1)[None]),
        (SERIES, (3, 7, 2), lambda x: x),
        (SERIES, (3, 2, 7), lambda x: x.transpose(0, 2, 1)),
        (SERIES, (7, 2), lambda x: x[None]),
        (VECTOR, (3, 6), lambda x: x),
        (VECTOR, (6,), lambda x: x[None]),
        (FLAT, (3, 2, 3), lambda x: x.reshape(3, 6)),
        (FLAT, (2, 3), lambda x: x.reshape(1, 6)),
        (FLAT_SERIES, (3, 2, 7), lambda x: x.transpose(0, 2, 1).reshape(3, 14)),
        (FLAT_COLOUR, (2, 4, 5, 3), lambda x: x.transpose(0, 3, 1, 2).reshape(2, 60)),
        (ROWS, (5, 2, 7, 3), lambda x: x.transpose(0, 2, 1, 3).reshape(5, 7, 6)),
        (SQUARE, (4, 5, 5), lambda x: x.transpose(0, 2, 1)),
        ({**SQUARE, "data_layout": "NTC"}, (4, 5, 5), lambda x: x),
        (STEPS, (4, 9), lambda x: x[:, :, None]),
        (STEPS, (9,), lambda x: x[None, :, None]),
    ],
)
def test_samples_in_any_layout(tmp_path, metadata, shape, move):
    x = np.random.default_rng(0).standard_normal(shape)
    np.testing.assert_array_equal(read_arrays(saved(tmp_path, x), metadata), move(x))


@pytest.mark.parametrize("steps", [5, 7, 9])
def test_a_sequence_of_another_length_is_cut_or_padded_where_the_training_data_were(tmp_path, steps):
    x = np.random.default_rng(0).standard_normal((3, 2, steps))
    found = read_arrays(saved(tmp_path, x), {**SERIES, "length": 7})
    assert found.shape == (3, 7, 2)
    np.testing.assert_array_equal(found[:, :steps], x.transpose(0, 2, 1)[:, :7])
    assert not found[:, steps:].any()
    if steps != 7:
        with pytest.raises(SystemExit, match=r"shape \(n, 7, 2\), not float64"):
            read_arrays(saved(tmp_path, x), SERIES)


@pytest.mark.parametrize("shape", [(3, 1, 5, 4), (5, 4), (2, 3, 4, 5), (20,)])
def test_samples_of_another_shape_are_named(tmp_path, shape):
    with pytest.raises(SystemExit, match=r"samples\.npy: the network takes numbers of shape \(n, 1, 4, 5\)"):
        read_arrays(saved(tmp_path, np.zeros(shape)), GREY)


def test_a_pickle_is_not_read(tmp_path):
    np.save(tmp_path / "samples.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(SystemExit, match=r"samples\.npy: cannot be read: .*allow_pickle"):
        read_arrays(str(tmp_path / "samples.npy"), GREY)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [(("x",), "x"), (("x_train", "x_test"), "x_test"), (("other",), "other"), (("a", "b"), None), ((), None)],
)
def test_a_npz_file_gives_its_samples(tmp_path, arrays, expected):
    path = tmp_path / "mine.npz"
    found = {name: np.full((2, 6), i) for i, name in enumerate(arrays)}
    np.savez(path, **found)
    if expected is None:
        with pytest.raises(SystemExit, match=r"mine\.npz: holds (a, b|nothing); call the array of samples x"):
            read_arrays(str(path), VECTOR)
    else:
        np.testing.assert_array_equal(read_arrays(str(path), VECTOR), found[expected])
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(SystemExit, match=r"mine\.npz: cannot be read"):
        read_arrays(str(path), VECTOR)


@pytest.mark.parametrize(("metadata", "mode"), [(GREY, "L"), (COLOUR, "RGB"), (COLOUR, "RGBA"), (COLOUR, "P")])
def test_an_image_is_one_sample(tmp_path, metadata, mode):
    values = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    image = Image.fromarray(values).convert(mode)
    image.save(tmp_path / "image.png")
    found = read_images(str(tmp_path / "image.png"), metadata)
    expected = np.asarray(image.convert("L" if metadata is GREY else "RGB")).reshape(4, 5, -1).transpose(2, 0, 1)
    np.testing.assert_array_equal(found, expected[None])


def test_an_image_of_another_size_is_resized_and_that_is_said(tmp_path, capsys):
    Image.new("L", (50, 40), 77).save(tmp_path / "image.png")
    assert (read_images(str(tmp_path / "image.png"), GREY) == 77).all()
    assert "resized from (50, 40) to (5, 4)" in capsys.readouterr().err


def test_an_image_is_resized_and_cut_as_the_training_images_were(tmp_path, capsys):
    """Its shorter side becomes the resolution, the centre stays; what the borders hold is not seen."""
    values = np.zeros((40, 80), np.uint8)
    values[:, 20:60] = 200
    Image.fromarray(values).save(tmp_path / "image.png")
    found = read_images(str(tmp_path / "image.png"), {**GREY, "in_shape": [1, 8, 8], "resolution": 8})
    assert found.shape == (1, 1, 8, 8)
    assert (found[..., 1:-1] == 200).all()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("side", [None, 5, 16])
@pytest.mark.parametrize("metadata", [GREY, COLOUR])
@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16"])
@pytest.mark.parametrize("name", ["image.png", "image.jpg"])
def test_an_image_becomes_what_it_becomes_among_the_training_data(tmp_path, name, mode, metadata, side):
    values = np.random.default_rng(0).integers(0, 256, (38, 31, 3), dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(values[..., 0].astype(np.uint16) * 251)
    else:
        image = Image.fromarray(values).convert("L" if mode == "L" or name.endswith("jpg") else mode)
    if name.endswith("jpg") and mode == "I;16":
        image = Image.fromarray(values)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    image.save(tmp_path / name, exif=exif)
    channels = metadata["in_shape"][0]
    with Image.open(tmp_path / name) as opened:
        expected = prepare(opened, side, channels).reshape(*((side, side) if side else (31, 38)), channels)
    size = {"in_shape": [channels, *expected.shape[:2]], "resolution": side}
    found = read_images(str(tmp_path / name), {**metadata, **size})
    np.testing.assert_array_equal(found, expected.transpose(2, 0, 1)[None])


@pytest.mark.parametrize("shape", [(3, 30, 25), (3, 30, 25, 1), (3, 1, 30, 25), (30, 25)])
def test_arrays_of_images_are_resized_as_the_training_images_were(tmp_path, shape):
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = read_images(saved(tmp_path, values), {**GREY, "in_shape": [1, 8, 8], "resolution": 8})
    expected = [prepare(Image.fromarray(one), 8, 1)[None] for one in values.reshape(-1, 30, 25)]
    np.testing.assert_array_equal(found, expected)


def test_an_image_for_a_network_that_reads_it_otherwise(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "image.png")
    rows = {**COLOUR, "in_shape": [4, 15], "data_shape": [3, 4, 5]}
    assert samples_of(rows).takes == "IMAGE_OR_SAMPLES.npy"
    found = read_images(str(tmp_path / "image.png"), rows)
    np.testing.assert_array_equal(found, arrange(values.transpose(2, 0, 1)[None], "image", "sequence", ""))


@pytest.mark.parametrize("metadata", [VECTOR, SERIES, {**GREY, "scale": 1.0}])
def test_an_image_where_images_are_not_what_was_learned(tmp_path, metadata):
    Image.new("L", (5, 4)).save(tmp_path / "image.png")
    with pytest.raises(SystemExit, match=r"image\.png: is not read; .*arrays are in a \.npy or \.npz file"):
        samples_of(metadata).reads[0](str(tmp_path / "image.png"), metadata)


@pytest.mark.parametrize(
    ("name", "said"), [("no.png", "no such file"), (".", "is a folder"), ("text.png", "no image"), ("cut.png", "decod")]
)
def test_what_is_no_image_is_told(tmp_path, name, said):
    (tmp_path / "text.png").write_text("no image")
    Image.new("L", (50, 40), 7).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:60])
    with pytest.raises(SystemExit, match=said):
        read_images(str(tmp_path / name), GREY)


HEAD = "@problemName waves\n@classLabel true a b\n@data\n# none\n"


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("length", [None, 4])
def test_a_ts_file_is_read_as_in_training(tmp_path, labels, length):
    (tmp_path / "w.ts").write_text(HEAD + "1,2,3:4,5,6:a\n7,8,9:10,11,12:b\n")
    expected = read_ts(tmp_path / "w.ts", Reading(length=length)).x_train.transpose(0, 2, 1)
    if not labels:
        (tmp_path / "w.ts").write_text(HEAD.replace(" true a b", " false") + "1,2,3:4,5,6\n7,8,9:10,11,12\n")
    metadata = {**SERIES, "in_shape": [length or 3, 2], "length": length, "data_layout": "NCT"}
    np.testing.assert_array_equal(read_series(str(tmp_path / "w.ts"), metadata), expected)
    flat = {**metadata, "in_shape": [2 * (length or 3)], "data_shape": metadata["in_shape"]}
    np.testing.assert_array_equal(read_series(str(tmp_path / "w.ts"), flat), expected.reshape(2, -1))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2,3:4,5,6:a", "has no line @data"),
        (HEAD, "no cases after @data"),
        (HEAD + "1,2,3:a", "line 5: could not convert"),
        (HEAD + "1,2,3:4,5:a", "line 5: .*as many in each"),
        (HEAD + "1,2,?:4,5,6:a", "line 5: .*'?'"),
        (HEAD + "1,2,NaN:4,5,6:a", "line 5: a value is missing"),
        (HEAD + "1,2,3:4,5,6:7,8,9:a", "line 5: 4 parts divided by colons, and the network takes 2"),
        (HEAD + "1,2,3,4:1,2,3,4:a", "line 5: 4 steps, and the network takes 3"),
    ],
)
def test_what_is_wrong_in_a_ts_file_is_told_with_its_line(tmp_path, text, said):
    (tmp_path / "w.ts").write_text(text)
    with pytest.raises(SystemExit, match=said):
        read_series(str(tmp_path / "w.ts"), {**SERIES, "in_shape": [3, 2]})


def test_an_onnx_file_tells_all_that_samples_are_prepared_by(tmp_path):
    sizes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 6]) for name in ("input", "logits")]
    graph = helper.make_graph([helper.make_node("Identity", ["input"], ["logits"])], "net", sizes[:1], sizes[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    metadata = {**VECTOR, "classes": ["a"], "batch": None, "resolution": 8, "length": 7, "targets": [], "recipe": None}
    helper.set_model_props(model, as_texts(metadata))
    onnx.save(model, tmp_path / "net.onnx")
    found, run = standalone.open_onnx(tmp_path / "net.onnx")
    assert found == metadata
    assert run(np.ones((2, 6), np.float32)).shape == (2, 6)


TABLE = {**VECTOR, "recipe": {"kind": "table", "encoding": "utf-8", "columns": []}}
TEXT = {**VECTOR, "recipe": {"kind": "text", "encoding": "utf-8"}}


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        *((GREY, "IMAGE_OR_SAMPLES.npy"), (VECTOR, "SAMPLES.npy"), (SERIES, "CASES.ts_OR_SAMPLES.npy")),
        *((TABLE, r"ROWS.csv [ENCODING]"), (TEXT, r"TEXT_OR_TEXTS.csv [ENCODING]")),
        ({**VECTOR, "recipe": {"kind": "of my own"}}, "SAMPLES.npy"),
    ],
)
def test_the_usage_line_fits_the_network(tmp_path, monkeypatch, metadata, words):
    """What is run is the script itself: no package is asked for, no file is opened, before that line is told."""
    form = FORMATS["onnx"]
    script = tmp_path / "net.example.py"
    script.write_text(example_source("net.onnx", type(form).opens, form.needs, "the metadata", metadata))
    assert max(map(len, script.read_text().splitlines())) <= 120
    monkeypatch.setattr("sys.argv", [str(script)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == f"usage: python net.example.py {words}"


@pytest.mark.parametrize("metadata", [GREY, VECTOR, SERIES, TABLE, TEXT])
def test_a_script_has_all_functions_that_it_calls(metadata):
    """Every name in it is defined there, imported there, or Python's own."""
    tree = ast.parse(example_source("net.onnx", standalone.open_onnx, "onnxruntime", "it", metadata))
    known = {*dir(builtins), "__file__", "__name__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            known |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef):
            known |= {node.name}
        elif isinstance(node, ast.arg):
            known |= {node.arg}
        elif isinstance(node, ast.ExceptHandler):
            known |= {node.name}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            known |= {node.id}
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert used <= known
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    modules = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names} - {"numpy"}
    assert functions | modules <= used | {"open_onnx"}, "and nothing that it does not"


@pytest.mark.parametrize("metadata", [GREY, COLOUR, SERIES, VECTOR])
def test_values_are_standardised_as_in_training(metadata):
    rng, shape = np.random.default_rng(0), (4, *metadata["in_shape"])
    x = rng.integers(0, 256, shape, dtype=np.uint8) if metadata["scale"] < 1 else rng.standard_normal(shape)
    expected = standardise(x, tuple(metadata["mean"]), tuple(metadata["std"])).numpy()
    found = standardised(x, metadata)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [None, 1, 3, 4])
def test_a_fixed_batch_is_filled_and_cut(batch):
    seen = []

    def run(x):
        seen.append(len(x))
        return np.stack([x[:, 0], -x[:, 0]], 1)

    x = np.arange(10, dtype=np.float32)[:, None]
    found = probabilities(outputs(x, run, batch))
    assert set(seen) == {batch or 10}
    np.testing.assert_allclose(found[:, 0], 1 / (1 + np.exp(-2 * x[:, 0])), rtol=1e-6)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["trial-00017.onnx", 'a"""\nimport os #.pte', "netz-größe.xml"])
def test_a_name_is_a_literal_whatever_it_holds(format, name):
    form = FORMATS[format]
    source = example_source(name, type(form).opens, form.needs, "the metadata of the file", VECTOR)
    tree = ast.parse(source)
    (value,) = [n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "FILE"]
    assert ast.literal_eval(value) == name
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert "os" not in imported
    assert not any(module.startswith("nas") for module in imported)
