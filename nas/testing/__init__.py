"""What every part has to keep, as functions: for our own tests, for `nas check`, and for tests of a user's own parts.

Each contract is a table of functions, `BLOCK_CONTRACT` and so on; `check_block` and its kin run a whole one. A function
raises `ContractBroken`, whose text says what is wrong and what to do, so that with pytest a contract is a few lines:

    import nas, pytest
    from nas.testing import BLOCK_CONTRACT, block_cases, check_block

    nas.load_plugin("my_blocks.py")

    @pytest.mark.parametrize("test", BLOCK_CONTRACT, ids=lambda test: test.__name__)
    @pytest.mark.parametrize("case", block_cases("glu_conv"), ids=str)
    def test_my_block(test, case):
        test(case)

What is imported here loads torch.
"""

from nas.testing.blocks import (
    BLOCK_CONTRACT as BLOCK_CONTRACT,
    SHAPES as SHAPES,
    BlockCase as BlockCase,
    block_cases as block_cases,
    check_block as check_block,
    check_fields as check_fields,
)
from nas.testing.broken import ContractBroken as ContractBroken
from nas.testing.data import TASK_CONTRACT as TASK_CONTRACT, check_dataset as check_dataset, check_task as check_task
from nas.testing.objectives import OBJECTIVE_CONTRACT as OBJECTIVE_CONTRACT, check_objective as check_objective
from nas.testing.parts import check_part as check_part
from nas.testing.runtimes import RUNTIME_CONTRACT as RUNTIME_CONTRACT, check_runtime as check_runtime
from nas.testing.samplers import SAMPLER_CONTRACT as SAMPLER_CONTRACT, check_sampler as check_sampler
