"""`nas blocks`, `nas check`, `nas plugins`."""

import re

import pytest
from click.testing import CliRunner

from nas.blocks import BLOCKS, HEADS
from nas.cli import main

pytestmark = pytest.mark.usefixtures("own_parts")


def run(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_every_block_and_head_is_listed_with_its_fields(own_parts):
    result = run("blocks", "--plugin", own_parts)
    assert result.exit_code == 0, result.output
    for name in (*BLOCKS, *HEADS):
        assert re.search(rf"^{name}  \((block|head); takes ", result.output, re.MULTILINE), name
    assert f"glu_conv  (block; takes maps (C, H, W))  [{own_parts}]" in result.output
    assert "    gate: sigmoid | silu = sigmoid" in result.output
    assert re.search(r"^    width: int = 32 +# channels out$", result.output, re.MULTILINE)


def test_some_are_listed_and_a_slip_is_named(own_parts):
    output = run("blocks", "conv").output
    assert output.startswith("conv  (block")
    assert "stride: int = 1\n" in output, "the comment of the next field is the next field's"
    result = run("blocks", "cnov")
    assert result.exit_code == 2
    assert "no block or head called 'cnov'. Did you mean 'conv'?" in result.output
    assert "glu_conv" not in result.output, "what is not named is not loaded"


def test_check_says_of_each_part_whether_it_is_ok(own_parts, tmp_path):
    path = tmp_path / "mine.py"
    text = own_parts.read_text()
    text = text.replace("self.norm(value * self.gate(gate))", "self.norm(value * self.gate(gate)) - x.mean()")
    path.write_text(text.replace("module(torch.zeros(1, *in_shape))", "module(torch.zeros(in_shape))"))
    result = run("check", path)
    assert result.exit_code == 1, result.output
    assert "data set rings: ok" in result.output
    assert "objective n_activations: broken\n  n_activations: " in result.output
    assert re.search(r"block glu_conv: broken\n  glu_conv\(.*in eval mode a sample alone gives another", result.output)


def test_check_says_where_a_part_fails(own_parts, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import nas\n@nas.DATASETS.add('odd')\ndef odd(how):\n    return 1 / 0\n")
    result = run("check", path)
    assert result.exit_code == 1
    assert f"data set odd: broken\n  ZeroDivisionError: division by zero\n  {path}: line 4" in result.output


def test_what_is_installed_is_listed():
    result = run("plugins")
    assert result.exit_code == 0
    assert "--plugin" in result.output
