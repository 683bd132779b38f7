"""Single blocks against an independent truth: by hand, by torch's own layers, or by a property."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from nas.blocks import (
    GRU,
    HEADS,
    LSTM,
    RNN,
    Attention,
    Conv,
    Conv1d,
    Dense,
    FlattenHead,
    Last,
    MBConv,
    Pool,
    ResBlock,
    Separable,
    Transformer,
    config_class,
)
from nas.blocks.activations import ACTIVATIONS, Activation, activation
from nas.blocks.transformer import EncoderLayer, sine_positions


def n_params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def shaken(module: nn.Module) -> nn.Module:
    """No parameter at its start, so that none is zero by chance of the initialisation."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.randn(parameter.shape)
    return module


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_parameters_by_hand() -> None:
    assert n_params(Conv((3, 8, 8), Conv.Config(width=16))) == 3 * 16 * 9 + 2 * 16
    assert n_params(Conv((4, 8, 8), Conv.Config(width=16, groups=2, norm="none"))) == 2 * 16 * 9 + 16
    assert n_params(Separable((8, 8, 8), Separable.Config(width=16))) == 8 * 9 + 2 * 8 + 8 * 16 + 2 * 16
    plain = MBConv((8, 8, 8), MBConv.Config(width=16, expand=4, kernel=5))
    assert n_params(plain) == (8 * 32 + 64) + (32 * 25 + 64) + (32 * 16 + 32)
    squeezed = MBConv((8, 8, 8), MBConv.Config(width=16, expand=4, kernel=5, se=True))
    assert n_params(squeezed) - n_params(plain) == (32 * 8 + 8) + (8 * 32 + 32)
    assert n_params(ResBlock((8, 8, 8), ResBlock.Config(width=8))) == 2 * (8 * 8 * 9 + 16)
    assert n_params(ResBlock((8, 8, 8), ResBlock.Config(width=8, stride=2))) == 2 * (8 * 8 * 9 + 16) + 8 * 8 + 16
    assert n_params(Conv1d((10, 6), Conv1d.Config(width=4, kernel=5))) == 6 * 4 * 5 + 8
    assert n_params(LSTM((10, 6), LSTM.Config(hidden=5, bidirectional=True))) == 2 * 4 * (5 * (6 + 5) + 2 * 5)
    assert n_params(GRU((10, 6), GRU.Config(hidden=5))) == 3 * (5 * (6 + 5) + 2 * 5)
    assert n_params(RNN((10, 6), RNN.Config(hidden=5, layers=2))) == 5 * 11 + 10 + 5 * 10 + 10
    layer = 4 * 8 * 8 + 4 * 8 + 2 * 8 * 16 + 16 + 8 + 4 * 8
    assert n_params(Transformer((10, 8), Transformer.Config(dim=8, heads=2, layers=3))) == 3 * layer + 16
    assert n_params(Dense((12,), Dense.Config(width=5, norm="none"))) == 12 * 5 + 5
    assert n_params(FlattenHead((3, 4), 10, FlattenHead.Config(hidden=7))) == 12 * 7 + 7 + 7 * 10 + 10


@pytest.mark.parametrize("groups", [3, 4])
def test_groups_that_do_not_divide_are_named(groups: int) -> None:
    with pytest.raises(ValueError, match=rf"groups={groups} must divide .* in \(6\) and out \(32\); .* is 2"):
        Conv((6, 8, 8), Conv.Config(groups=groups))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_elementwise_and_without_parameters(name: Activation) -> None:
    act, x = activation(name), torch.randn(3, 5)
    assert not list(act.parameters())
    torch.testing.assert_close(act(x.clone())[1, 2], act(x[1, 2].clone()))
    assert activation(name) is not act


def test_the_type_and_the_table_of_activations_agree() -> None:
    assert set(get_args(Activation)) == set(ACTIVATIONS)


@pytest.mark.parametrize(("stride", "width", "skips"), [(1, 8, True), (2, 8, False), (1, 9, False)])
def test_mbconv_skips_where_shapes_allow(stride: int, width: int, skips: bool) -> None:
    block = MBConv((8, 6, 6), MBConv.Config(width=width, stride=stride)).eval()
    nn.init.zeros_(block.project[1].weight)
    x = torch.randn(2, 8, 6, 6)
    y = block(x)
    assert torch.equal(y, x) if skips else not y.any()


def test_squeeze_excite_scales_channels() -> None:
    block = shaken(MBConv((4, 5, 5), MBConv.Config(expand=2, se=True)))
    x = torch.randn(2, 8, 5, 5)
    gate = block.se(x) / x
    torch.testing.assert_close(gate, gate[:, :, :1, :1].expand_as(gate))
    assert gate.min() >= 0
    assert gate.max() <= 1


def test_resblock_starts_as_its_shortcut() -> None:
    x = torch.randn(4, 8, 6, 6)
    assert torch.equal(ResBlock((8, 6, 6), ResBlock.Config(width=8, act="none"))(x), x)


def test_dense_residual_needs_equal_widths() -> None:
    x = torch.randn(4, 6)
    for width, residual in ((6, True), (6, False), (5, True)):
        block = Dense((6,), Dense.Config(width=width, residual=residual, norm="none"))
        plain = block.layers(x)
        assert torch.equal(block(x), plain + x if residual and width == 6 else plain)


def test_conv1d_agrees_with_the_sum_by_hand() -> None:
    block = Conv1d((9, 2), Conv1d.Config(width=1, kernel=3, dilation=2, norm="none", act="none"))
    x, weight = torch.randn(1, 9, 2), block.layers[0].weight
    expected = sum((x[0, 4 + 2 * (i - 1)] * weight[0, :, i]).sum() for i in range(3))
    torch.testing.assert_close(block(x)[0, 4, 0], expected)


def test_lstm_forgets_little_at_first() -> None:
    block = LSTM((5, 3), LSTM.Config(hidden=4, layers=2, bidirectional=True))
    biases = [p for name, p in block.named_parameters() if "bias_ih" in name]
    assert len(biases) == 4
    for bias in biases:
        assert bias.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
    assert all(not p.any() for name, p in block.named_parameters() if "bias_hh" in name)


@pytest.mark.parametrize(("block", "n_gates"), [(LSTM, 4), (GRU, 3), (RNN, 1)])
def test_state_weights_are_orthogonal_per_gate(block: type, n_gates: int) -> None:
    rnn = block((5, 3), block.Config(hidden=6)).rnn
    for gate in rnn.weight_hh_l0.chunk(n_gates):
        torch.testing.assert_close(gate @ gate.T, torch.eye(6), atol=1e-5, rtol=0)


def test_last_state_of_a_bidirectional_rnn_is_half_blind() -> None:
    """What the docstring of the head "last" warns of."""
    block, x = GRU((5, 3), GRU.Config(hidden=4, bidirectional=True)), torch.randn(1, 5, 3, requires_grad=True)
    last = block(x)[:, -1]
    (seen,) = torch.autograd.grad(last[:, :4].sum(), x, retain_graph=True)
    assert (seen.abs().sum(-1) > 0).all()
    (seen,) = torch.autograd.grad(last[:, 4:].sum(), x)
    assert (seen.abs().sum(-1) > 0).tolist() == [[False] * 4 + [True]]


def test_encoder_layer_agrees_with_torch() -> None:
    """torch's pre-norm encoder layer with our weights gives our outputs."""
    config = Transformer.Config(dim=12, heads=3, mlp_ratio=2)
    ours = shaken(EncoderLayer(config)).eval()
    theirs = nn.TransformerEncoderLayer(12, 3, 24, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    names = {
        "attention.0": "norm1",
        "attention.1.qkv.": "self_attn.in_proj_",
        "attention.1.out": "self_attn.out_proj",
        "mlp.0": "norm2",
        "mlp.1": "linear1",
        "mlp.4": "linear2",
    }
    state = {}
    for key, value in ours.state_dict().items():
        (old,) = (old for old in names if key.startswith(old))
        state[names[old] + key[len(old) :]] = value
    theirs.load_state_dict(state)
    x = torch.randn(2, 7, 12, requires_grad=True)  # with a gradient: torch's fast path is another arithmetic
    torch.testing.assert_close(ours(x), theirs.eval()(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("positions", "blind"), [("none", True), ("sine", False), ("learned", False)])
def test_only_positions_tell_the_order(positions: str, blind: bool) -> None:
    block = shaken(Transformer((6, 8), Transformer.Config(dim=8, heads=2, positions=positions))).eval()
    x, order = torch.randn(1, 6, 8), torch.randperm(6)
    assert torch.allclose(block(x[:, order]), block(x)[:, order], atol=1e-5) is blind


def test_sine_positions_by_the_formula() -> None:
    table = sine_positions(50, 10)
    for position, channel in ((0, 0), (7, 4), (49, 9)):
        angle = position / 10_000 ** (2 * (channel // 2) / 10)
        assert table[position, channel].item() == pytest.approx(
            (math.cos if channel % 2 else math.sin)(angle), abs=1e-5
        )
    assert len(torch.unique(table.round(decimals=4), dim=0)) == 50


def test_transformer_drops_in_training_alone() -> None:
    block = shaken(Transformer((6, 8), Transformer.Config(dim=8, heads=2, dropout=0.5)))
    x = torch.randn(1, 6, 8)
    assert not torch.equal(block.train()(x), block(x))
    assert torch.equal(block.eval()(x), block(x))


def features(head: nn.Module, x: Tensor) -> Tensor:
    """What reaches the linear layer of a head."""
    reached: list[Tensor] = []
    head.linear.register_forward_pre_hook(lambda module, args: reached.append(args[0]))
    head.eval()(x)
    return reached[0]


def test_what_heads_keep() -> None:
    a_map, tokens, vector = torch.randn(2, 3, 4, 5), torch.randn(2, 6, 3), torch.randn(2, 3)
    torch.testing.assert_close(features(Pool((3, 4, 5), 2, Pool.Config()), a_map), a_map.mean((2, 3)))
    torch.testing.assert_close(features(Pool((6, 3), 2, Pool.Config()), tokens), tokens.mean(1))
    assert torch.equal(features(Pool((3,), 2, Pool.Config()), vector), vector)
    assert torch.equal(features(Last((6, 3), 2, Last.Config()), tokens), tokens[:, -1])
    assert torch.equal(features(FlattenHead((3, 4, 5), 2, FlattenHead.Config()), a_map), a_map.flatten(1))
    attention = Attention((6, 3), 2, Attention.Config())
    torch.testing.assert_close(features(attention, tokens), tokens.mean(1))  # as it starts
    nn.init.normal_(attention.query.weight, std=100.0)  # so sharp that it picks one position
    best = (tokens @ attention.query.weight[0]).argmax(1)
    torch.testing.assert_close(features(attention, tokens), tokens[torch.arange(2), best])


@pytest.mark.parametrize("name", HEADS)
def test_heads_start_with_a_moderate_loss(name: str) -> None:
    """Logits of unit inputs have a spread of at most 1, which costs half a nat above guessing."""
    head = HEADS[name]((16, 32), 10, config_class(HEADS[name])())
    loss = nn.functional.cross_entropy(head(torch.randn(512, 16, 32)), torch.randint(10, (512,)))
    assert math.log(10) - 0.1 < loss.item() < math.log(10) + 0.8
