"""Export to ONNX: every kind of layer at two batch sizes, and nothing half done under the final name."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.errors import NasError
from nas.export import check_parity, export_checked, export_onnx
from nas.export.onnx import OPSET, quiet_session


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], bidirectional: bool = False, layers: int = 1) -> None:
        super().__init__()
        self.rnn = kind(6, 8, layers, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(16 if bidirectional else 8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0].mean(1))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, t, 3, 2, d // 2).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, d)
        return self.out(F.gelu(x + mixed).mean(1))


class EncoderLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).mean(1))


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, padding=1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Hardsigmoid())
        self.head = nn.Sequential(nn.SiLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(5))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.head(y * self.gate(y))


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 5, 2, padding=2, groups=8),
        nn.GroupNorm(2, 8),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )


KINDS = {
    "conv": (conv_net, (3, 9, 11)),
    "squeeze-excite": (SqueezeExcite, (3, 8, 8)),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(4, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5)), (4, 10)),
    "lstm": (lambda: Recurrent(nn.LSTM), (7, 6)),
    "lstm, two layers, both ways": (lambda: Recurrent(nn.LSTM, True, 2), (7, 6)),
    "gru": (lambda: Recurrent(nn.GRU), (7, 6)),
    "rnn": (lambda: Recurrent(nn.RNN, True), (7, 6)),
    "attention": (Attention, (9, 8)),
    "encoder layer": (EncoderLayer, (9, 8)),
    "linear": (lambda: nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 5)), (12,)),
}


def real_inputs(shape: tuple[int, ...], n: int = 8) -> Tensor:
    return torch.from_numpy(np.random.default_rng(3).standard_normal((n, *shape)).astype(np.float32))


def trained(make, shape: tuple[int, ...]) -> nn.Module:
    """A net with running statistics that are not those of a new one, in training mode."""
    torch.manual_seed(0)
    module = make().train()
    for _ in range(3):
        module(real_inputs(shape) * 2 + 1)
    return module


@pytest.fixture(params=KINDS)
def kind(request) -> tuple[nn.Module, tuple[int, ...]]:
    make, shape = KINDS[request.param]
    return trained(make, shape), shape


def test_every_kind_computes_the_same_at_batch_1_and_7(kind, tmp_path: Path, capfd):
    module, shape = kind
    path = tmp_path / "net.onnx"
    modes = {name: part.training for name, part in module.named_modules()}
    assert export_checked(module, shape, path, real_inputs(shape)) < 1e-5
    assert {name: part.training for name, part in module.named_modules()} == modes
    assert list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr() == ("", "")


def test_names_axes_opset_and_metadata(tmp_path: Path):
    module, path = trained(conv_net, (3, 9, 11)), tmp_path / "deeper" / "net.onnx"
    export_onnx(module, (3, 9, 11), path, metadata={"fingerprint": "ab12", "note": "größer als vorher"})
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    (x,), (y,) = model.graph.input, model.graph.output
    assert (x.name, y.name) == ("input", "logits")
    assert [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim] == ["batch", 3, 9, 11]
    assert [d.dim_param or d.dim_value for d in y.type.tensor_type.shape.dim] == ["batch", 5]
    assert model.opset_import[0].version == OPSET
    assert {p.key: p.value for p in model.metadata_props} == {"fingerprint": "ab12", "note": "größer als vorher"}
    assert quiet_session(path).get_modelmeta().custom_metadata_map["fingerprint"] == "ab12"


def test_recurrent_layers_stay_one_node(tmp_path: Path):
    for layer in (nn.LSTM, nn.GRU, nn.RNN):
        export_onnx(Recurrent(layer), (7, 6), tmp_path / "net.onnx")
        assert [n.op_type for n in onnx.load(tmp_path / "net.onnx").graph.node].count(layer.__name__) == 1


def test_modes_of_single_parts_are_restored(tmp_path: Path):
    module = conv_net().train()
    module[1].eval()  # a frozen norm within a net in training
    export_onnx(module, (3, 9, 11), tmp_path / "net.onnx")
    assert module.training
    assert [part.training for part in module] == [True, False] + [True] * 7


def test_exporting_twice_gives_the_same_bytes(tmp_path: Path):
    module = conv_net()
    for name in ("a", "b"):
        export_onnx(module, (3, 9, 11), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


class NoSuchOperator(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.special.i1(x)


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("a mistake in a block")


@pytest.mark.parametrize(
    ("module", "error", "words"),
    [(NoSuchOperator(), NasError, "NoSuchOperator: .*special_i1"), (Broken(), RuntimeError, "a mistake in a block")],
)
def test_a_failed_export_leaves_nothing_new_and_keeps_the_old(module, error, words, tmp_path: Path):
    path = tmp_path / "net.onnx"
    with pytest.raises(error, match=words):
        export_onnx(module, (4,), path)
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"old")
    with pytest.raises(error):
        export_checked(module, (4,), path, torch.ones(2, 4), overwrite=True)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("net.onnx", b"old")]
    assert module.training


class FrozenBatch(nn.Module):
    """The size of the batch becomes a constant of the trace."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) / float(x.shape[0])


class Branch(nn.Module):
    """What the trace takes depends on the values of its example, which is zeros."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() == 0 else x * 3


@pytest.mark.parametrize("make", [FrozenBatch, Branch])
def test_a_file_that_fails_its_check_never_gets_its_name(make, tmp_path: Path):
    path = tmp_path / "net.onnx"
    with pytest.raises(NasError, match=r"net\.onnx: at batch size 1 the file's output differs .* by "):
        export_checked(make(), (4,), path, real_inputs((4,)))
    assert list(tmp_path.iterdir()) == []


def test_refuses_to_overwrite_unless_told(tmp_path: Path):
    path, module = tmp_path / "net.onnx", nn.Linear(4, 3)
    path.write_bytes(b"old")
    with pytest.raises(NasError, match="exists already"):
        export_checked(module, (4,), path, torch.ones(1, 4))
    assert path.read_bytes() == b"old"
    export_checked(module, (4,), path, torch.ones(1, 4), overwrite=True)
    assert check_parity(module, path, torch.ones(1, 4)) < 1e-6


def test_parity_names_batch_size_and_difference(tmp_path: Path):
    path, module = tmp_path / "net.onnx", nn.Linear(4, 3)
    export_onnx(module, (4,), path)
    with torch.no_grad():
        module.bias += 0.25
    with pytest.raises(NasError, match=r"at batch size 5 .* by 0\.25"):
        check_parity(module, path, torch.ones(2, 4), batch_sizes=(5, 1))
    assert check_parity(module, path, torch.ones(2, 4), tolerance=1.0) == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize(("scale", "passes"), [(1e4, True), (1.0, False), (1e-1, False)])
def test_tolerance_is_a_share_of_the_output(scale: float, passes: bool, tmp_path: Path):
    """A constant error of 1e-3 is rounding beside outputs of 1e4 and a fault beside outputs of 1 and below."""
    path, module = tmp_path / "net.onnx", nn.Linear(4, 3)
    nn.init.constant_(module.weight, scale)
    export_onnx(module, (4,), path)
    with torch.no_grad():
        module.bias += 1e-3
    if passes:
        check_parity(module, path, torch.ones(2, 4))
    else:
        with pytest.raises(NasError, match="differs"):
            check_parity(module, path, torch.ones(2, 4))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite_fail(value: float, tmp_path: Path):
    module = nn.Linear(4, 3)
    nn.init.constant_(module.bias, value)
    with pytest.raises(NasError, match="not finite"):
        export_checked(module, (4,), tmp_path / "net.onnx", torch.ones(1, 4))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_model_is_named(tmp_path: Path, capfd):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(NasError, match=r"net\.onnx: ONNX Runtime cannot load it"):
        check_parity(nn.Linear(4, 3), path, torch.ones(1, 4))
    assert capfd.readouterr() == ("", "")


def test_inputs_of_another_shape_are_named(tmp_path: Path, capfd):
    export_onnx(nn.Linear(4, 3), (4,), tmp_path / "net.onnx")
    with pytest.raises(NasError, match=r"net\.onnx: cannot be run at batch size 1"):
        check_parity(nn.Linear(5, 3), tmp_path / "net.onnx", torch.ones(1, 5))
    assert capfd.readouterr() == ("", "")
