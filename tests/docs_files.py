"""What the commands of the docs are run on: small files under the names that the pages use."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from PIL import Image
from sklearn.datasets import load_digits

ROOT = Path(__file__).parents[1]


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Return digits as images (N, 28, 28) of uint8, and their labels."""
    digits = load_digits()
    small = (digits.images[:240] * 15).astype(np.uint8)
    images = [np.asarray(Image.fromarray(pixels).resize((28, 28))) for pixels in small]
    return np.stack(images), digits.target[:240]


def make_arrays(folder: Path) -> None:
    """mine.npz, and image.png like one of its images."""
    x, y = pictures()
    np.savez(folder / "mine.npz", x_train=x[:200], y_train=y[:200], x_test=x[200:], y_test=y[200:])
    Image.fromarray(x[0]).save(folder / "image.png")


def make_model(folder: Path) -> None:
    """resnet.onnx: one convolution over (N, 3, 32, 32)."""
    kernel = onnx.numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "kernel")
    floats = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["x", "kernel"], ["y"])],
        "one convolution",
        [onnx.helper.make_tensor_value_info("x", floats, ("N", 3, 32, 32))],
        [onnx.helper.make_tensor_value_info("y", floats, ("N", 8, 30, 30))],
        [kernel],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "resnet.onnx")


def make_parts(folder: Path) -> None:
    """my_blocks.py and my_space.yaml."""
    for file in (ROOT / "examples").iterdir():
        if file.is_file():
            shutil.copy(file, folder)


def make_examples(folder: Path) -> None:
    """The folder examples/, where a page is run in the checkout."""
    (folder / "examples").mkdir()
    make_parts(folder / "examples")


def make_tables(folder: Path) -> None:
    """flats.csv, flats-2025.csv; sms_spam.tsv and tickets.csv, in which one word decides."""
    rng = np.random.default_rng(0)
    for name, n in (("flats.csv", 200), ("flats-2025.csv", 40)):
        rows = ["rent,rooms,area,district"]
        for rooms, extra, district in zip(
            rng.integers(1, 5, n), rng.integers(0, 20, n), rng.integers(0, 3, n), strict=True
        ):
            area = 20 * rooms + extra
            rows.append(f"{12 * area + 90 * district},{rooms},{area if extra else ''},{'abc'[district]}")
        (folder / name).write_text("\n".join(rows) + "\n")
    words = ["call", "free", "later", "home", "prize", "lunch", "meeting", "train", "tomorrow", "thanks"]
    texts = [" ".join(rng.choice(words, 6)) for _ in range(200)]
    spam = ["label\ttext", *(f"{'spam' if 'prize' in text else 'ham'}\t{text}" for text in texts)]
    (folder / "sms_spam.tsv").write_text("\n".join(spam) + "\n")
    tickets = ["team,body,id", *(f"{'sales' if 'free' in t else 'help'},{t},{i}" for i, t in enumerate(texts))]
    (folder / "tickets.csv").write_text("\n".join(tickets) + "\n")


FILES: dict[str, tuple[Callable[[Path], None], ...]] = {
    "README.md": (make_arrays, make_model, make_parts),
    "docs/data-tables-and-text.md": (make_tables,),
    "docs/plugins.md": (make_examples,),
    "docs/training.md": (make_arrays,),
}
"""What lies in the folder in which a page is run, before its first block; nothing for other pages."""
