"""The synaptic flow of the tables: of the networks their papers describe, and what the stored file says."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import sampler_synflow as flows
import sampler_tasks as tasks

pytestmark = pytest.mark.skipif(
    not all((tasks.DATA / name).exists() for name in flows.BUILD), reason=f"no tables in {tasks.DATA}"
)


@pytest.fixture(scope="module")
def tables():
    return flows.load()


@pytest.mark.parametrize("name", flows.BUILD)
def test_networks_of_full_size_are_those_of_the_table(name, tables, monkeypatch):
    monkeypatch.setattr(flows, "N_CHECKED", 4)
    flows.check(name, tables[name])
    with pytest.raises(SystemExit, match="the table says otherwise"):
        flows.check(name, replace(tables[name], params=tables[name].params + 100))


@pytest.mark.parametrize("name", flows.BUILD)
def test_the_stored_flow_is_in_the_order_of_the_table(name, tables):
    with np.load(tasks.SYNFLOW) as file:
        stored = file[name]
    assert len(stored) == len(tables[name].codes)
    for i in np.random.default_rng(3).choice(len(stored), 8, replace=False):
        assert stored[i] == pytest.approx(flows.flow(tables[name].codes[i], name), rel=2e-3)  # half precision


def test_a_cell_that_lets_nothing_through_has_no_flow():
    assert flows.flow([0] * 6, "nasbench201") == 0.0
    assert flows.flow([3] * 6, "nasbench201") > flows.flow([2] * 6, "nasbench201") > 0.0


def test_agreement_is_of_ranks_and_of_the_better_half():
    accuracy = np.arange(10.0)
    assert flows.agreement(accuracy**3, accuracy) == {"all": 1.0, "better_half": 1.0}
    upside_down = np.where(accuracy > 4.5, 100 - accuracy, accuracy)
    assert flows.agreement(upside_down, accuracy)["better_half"] == -1.0
