"""A Ray cluster of three nodes, one of them set aside for measuring: what it promises when nodes leave and join."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from nas.errors import DataError, NasError, RunError
from nas.measure import MeterApart, reference
from nas.measure.latency import Calibration
from nas.study.executors import ray as on_ray
from nas.study.executors import ray_meter
from nas.study.executors.ray import OnRay
from nas.study.executors.ray_meter import MeterOnRay, open_meter
from nas.study.executors.ray_trainer import Carried, forget, pack, unpack

pytestmark = [pytest.mark.slow]

SECONDS = 120
"""After which something hangs."""


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RunError, match=r"Ray is not installed: pip install 'pareto-nas\[ray\]'"):
        OnRay(None, None)
    with pytest.raises(RunError, match="Ray is not installed"):
        MeterOnRay("onnxruntime")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "localhost:99999", "nowhere.invalid:6379"])
def test_a_cluster_that_is_not_there_is_told(address):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'pareto-nas[ray]'")
    with pytest.raises(RunError, match=f"Ray cluster {address}: cannot be reached: .*\n  start one with 'ray start"):
        OnRay(None, None, address=address)


def test_a_folder_is_unpacked_once_and_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "there"))
    (tmp_path / "there").mkdir()
    (tmp_path / "here" / "deep").mkdir(parents=True)
    (tmp_path / "here" / "a.npy").write_bytes(bytes(range(256)))
    (tmp_path / "here" / "deep" / "empty").touch()
    files = pack(tmp_path / "here")
    first = unpack(files, "name")
    written = (first / "a.npy").stat().st_ino
    assert unpack(files, "name") == first
    assert (first / "a.npy").stat().st_ino == written
    assert {name: bytes(content) for name, content in pack(first).items()} == {
        "a.npy": bytes(range(256)),
        "deep/empty": b"",
    }
    assert [path.name for path in first.parent.iterdir()] == ["name"]
    forget("name")
    forget("name")
    assert list(first.parent.iterdir()) == []


ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'pareto-nas[ray]'")

import stub_ray  # noqa: E402
import stub_work  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402
from stub_work import job  # noqa: E402


def add(cluster, **resources):
    """Start a node, and return it when it is one."""
    node = cluster.add_node(object_store_memory=80 * 2**20, include_dashboard=False, **resources)
    cluster.wait_for_nodes()
    return node


@pytest.fixture(scope="module")
def empty_cluster():
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryDirectory(prefix="nas-ray-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))  # of all its processes, which import stub_ray
        # Ray notes the address of a cluster in its usual folder, which is not there where it never ran.
        Path(ray._private.utils.get_ray_address_file(None)).parent.mkdir(parents=True, exist_ok=True)
        cluster = Cluster()
        add(cluster, num_cpus=0, temp_dir=folder)  # the driver's
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        yield cluster
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="module")
def train_node(empty_cluster):
    return add(empty_cluster, num_cpus=2, num_gpus=1)


@pytest.fixture(scope="module")
def latency_node(empty_cluster):
    return add(empty_cluster, num_cpus=2, resources={"latency": 1})


@pytest.fixture
def cluster(empty_cluster, train_node, latency_node):
    """Three nodes: the driver's, one that trains two at a time, and one that measures."""
    return empty_cluster


@pytest.fixture
def told():
    return []


@pytest.fixture
def executor(cluster, told):
    with OnRay(stub_ray.prepare_somewhere, told.append) as made:
        yield made


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "reference.onnx"
    path.write_bytes(reference.model())
    return path


def results(executor, jobs, between=lambda: None):
    """Run jobs, as many at a time as there are slots, and return all outcomes as they come."""
    jobs, outcomes, at_work = list(jobs), [], 0
    end = time.monotonic() + SECONDS
    while jobs or at_work:
        while jobs and at_work < executor.slots:
            executor.submit(jobs.pop(0))
            at_work += 1
        between()
        new = executor.wait(0.5)
        at_work -= len(new)
        outcomes += new
        assert time.monotonic() < end, f"{at_work} jobs have no outcome"
    assert executor.wait() == ()
    return outcomes


def wait_for_slots(executor, n):
    """See to it that there are so many, and that all of them are ready."""
    end = time.monotonic() + SECONDS
    while not (executor.slots == n and sum(worker.ready for worker in executor._workers) == n):
        results(executor, [job(0)])
        assert time.monotonic() < end, f"{executor.slots} slots instead of {n}"


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_each_job_has_one_outcome_that_is_its_own(executor, latency_node):
    outcomes = results(executor, [job(n, padding=n, send=n) for n in range(12)])
    assert sorted(o.number for o in outcomes) == list(range(12))
    for o in outcomes:
        sent = job(o.number, padding=o.number, send=o.number)
        assert (o.rung, o.ended, len(o.state or b"")) == (sent.rung, "rung", o.number)
        assert o.scores["received"] == len(sent.state)
        assert o.scores["threads"] == 1
    assert executor.slots == 2
    assert latency_node.node_id not in {o.reason for o in outcomes}


def test_large_states_go_there_and_back(executor):
    (outcome,) = results(executor, [job(1, padding=20_000_000, send=20_000_000)])
    assert len(outcome.state) == 20_000_000


def test_progress_is_told_in_order_while_it_is_made_and_before_the_outcome(executor, told):
    wait_for_slots(executor, 2)
    seen = []
    for n in range(2):
        executor.submit(job(n, "progress", times=5, pause=0.3))
    outcomes = []
    while len(outcomes) < 2:
        outcomes += executor.wait(0.1)
        seen.append(len(told))
        for o in outcomes:
            assert [p.log.epochs for p in told if p.number == o.number] == [1, 2, 3, 4, 5]
    assert len(told) == 10
    assert len(set(seen)) > 3


def test_progress_is_told_once_where_it_was_lost_on_its_way(executor, told):
    wait_for_slots(executor, 2)
    for n in range(2):
        executor.submit(job(n, "progress", times=4, pause=0.2))
    while not told:
        assert executor.wait(0.1) == ()
    ray.kill(executor._mailbox)
    executor.submit(job(2, "progress", times=3))
    outcomes = []
    while len(outcomes) < 3:
        outcomes += executor.wait(SECONDS)
    assert Counter((p.number, p.log.epochs) for p in told) == Counter(
        (n, float(epoch)) for n, times in ((0, 4), (1, 4), (2, 3)) for epoch in range(1, times + 1)
    )


def test_a_job_that_kills_its_process_has_an_outcome_and_another_process_takes_over(executor):
    killers = [job(0, "segfault"), job(1, "send_signal", signal=signal.SIGKILL), job(2, "leave", code=3)]
    outcomes = results(executor, [*killers, job(3), job(4)])
    assert {o.number: o.ended for o in outcomes} == {0: "died", 1: "died", 2: "died", 3: "rung", 4: "rung"}
    assert all("the process on Ray node" in o.reason for o in outcomes if o.ended == "died")
    wait_for_slots(executor, 2)


def test_what_a_job_raises_comes_back_once_and_the_process_stays(executor):
    (first,) = results(executor, [job(0)])
    for kind, raised, said in (
        ("DataError", DataError, "^no such samples$"),
        ("ValueError", RunError, "trial 1: ValueError: no such samples"),
    ):
        executor.submit(job(1, "fail", kind=kind, text="no such samples"))
        with pytest.raises(raised, match=said):
            executor.wait(SECONDS)
        assert executor.wait() == ()
    for kind in ("TrialFailed", "MemoryError"):
        (failed,) = results(executor, [job(1, "fail", kind=kind, text="too large")])
        assert (failed.ended, failed.reason[-9:]) == ("failed", "too large")
    assert first.scores["pid"] in {o.scores["pid"] for o in results(executor, [job(n) for n in range(8)])}


def test_an_answer_that_cannot_be_sent_is_an_error(cluster):
    with OnRay(stub_ray.prepare_unsendable, lambda progress: None, at_most=1) as executor:
        for n in range(2):
            executor.submit(job(n))
        for n in range(2):
            with pytest.raises(RunError, match=rf"trial {n}: TypeError: .*pickle"):
                executor.wait(SECONDS)
        assert executor.wait() == ()


def test_a_job_that_hangs_is_given_up(executor, monkeypatch):
    wait_for_slots(executor, 2)
    monkeypatch.setattr(on_ray, "_SILENCE", (1.5, 1.0))
    (outcome,) = results(executor, [job(0, "hang", limits={"trial_limit_s": 1.0})])
    assert (outcome.ended, outcome.number) == ("failed", 0)
    assert outcome.reason.startswith("time limit of 1 s: did not answer")
    assert [o.ended for o in results(executor, [job(1)])] == ["rung"]


def test_a_job_for_which_there_is_no_process_ends_with_the_run(executor, monkeypatch):
    """And one that had to wait has had so much less of it."""
    wait_for_slots(executor, 2)
    monkeypatch.setattr(on_ray, "_GRACE_S", 0.5)
    for n in range(2):
        executor.submit(job(n, "sleep", seconds=4.0))
    executor.submit(job(2, limits={"seconds_left": 0.5}))
    executor.submit(job(3, limits={"seconds_left": 60.0}))
    outcomes = {}
    end = time.monotonic() + SECONDS
    while len(outcomes) < 4:
        outcomes |= {outcome.number: outcome for outcome in executor.wait(0.5)}
        assert time.monotonic() < end
    assert {n: outcome.ended for n, outcome in outcomes.items()} == {0: "rung", 1: "rung", 2: "time", 3: "rung"}
    assert 0 < outcomes[3].scores["seconds_left"] < 59


def test_to_close_ends_what_is_under_way(cluster):
    executor = OnRay(stub_work.prepare, lambda progress: None)
    pids = {o.scores["pid"] for o in results(executor, [job(n, "sleep", seconds=0.2) for n in range(6)])}
    for n in range(2):
        executor.submit(job(n, "sleep", seconds=1000))
    assert executor.wait(0.5) == ()
    started = time.monotonic()
    executor.close()
    assert time.monotonic() - started < 10
    while not all(map(gone, pids)):
        assert time.monotonic() - started < 15
        time.sleep(0.05)
    executor.close()


def test_slots_can_be_fewer_and_share_a_gpu(cluster):
    with OnRay(stub_ray.prepare_somewhere, lambda progress: None, at_most=1) as executor:
        assert {o.scores["slot"] for o in results(executor, [job(n) for n in range(3)])} == {0}
        assert executor.slots == 1
    with OnRay(stub_ray.prepare_somewhere, lambda progress: None, gpus_per_trial=0.5) as executor:
        wait_for_slots(executor, 2)
        assert {o.scores["gpus"] for o in results(executor, [job(n) for n in range(4)])} == {1}
    with pytest.raises(RunError, match=r"no node without the resource 'latency'.* has 1 CPU and 2 GPU\n  add one"):
        OnRay(stub_work.prepare, lambda progress: None, gpus_per_trial=2)


# --- getting ready ----------------------------------------------------------------------------------------------------


def test_what_carries_a_folder_finds_it_on_each_node_until_it_is_closed(cluster, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.npy").write_bytes(b"samples")
    carried = Carried(stub_ray.prepare_from, tmp_path)
    with OnRay(carried, lambda progress: None) as executor:
        wait_for_slots(executor, 2)
        outcomes = results(executor, [job(n) for n in range(4)])
        (folder,) = {o.reason for o in outcomes}
        assert Path(folder) not in (tmp_path, *tmp_path.parents)
        assert {(o.state, o.scores["slots"]) for o in outcomes} == {(b"samples", 2)}
    assert not Path(folder).exists()
    assert carried(0)(job(0), None).reason == str(tmp_path)  # as any other executor has it


def test_a_process_that_dies_getting_ready_is_replaced(cluster, tmp_path):
    prepare = partial(stub_work.prepare_or_die, tmp_path, 2, {"do": "leave_at_once", "code": 1})
    with OnRay(prepare, lambda progress: None, at_most=1) as executor:
        assert [o.ended for o in results(executor, [job(0), job(1)])] == ["rung", "rung"]


def test_where_none_can_be_made_ready_it_says_why(cluster, tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    with OnRay(partial(stub_work.prepare_unless, flag), lambda progress: None) as executor:
        executor.submit(job(0))
        with pytest.raises(RunError, match="ValueError: the disk is gone"):
            executor.wait(SECONDS)
        assert len(executor.unused) == 1
    prepare = partial(stub_work.prepare_or_die, tmp_path, 99, {"do": "leave_at_once", "code": 1})
    with OnRay(prepare, lambda progress: None, at_most=1) as executor:
        executor.submit(job(0))
        with pytest.raises(RunError, match="a process that was getting ready died"):
            executor.wait(SECONDS)


# --- nodes that leave and join ----------------------------------------------------------------------------------------


def test_a_node_leaves_in_the_middle_and_all_jobs_end_once_while_latencies_are_measured(
    cluster, executor, latency_node, net
):
    leaving = add(cluster, num_cpus=2)
    wait_for_slots(executor, 4)
    meter = open_meter("onnxruntime")
    measured, submitted, outcomes = [], Counter(), []
    waiting = list(range(14))
    end = time.monotonic() + SECONDS
    with meter:
        while sum(o.ended == "rung" for o in outcomes) < 14:
            while waiting and submitted.total() - len(outcomes) < executor.slots:
                executor.submit(job(waiting[0], "progress", times=4, pause=0.3))
                submitted[waiting.pop(0)] += 1
            new = executor.wait(0.5)
            outcomes += new
            waiting += [o.number for o in new if o.ended == "died"]
            if leaving is not None and len(outcomes) >= 4:
                cluster.remove_node(leaving, allow_graceful=False)
                left, leaving = leaving.node_id, None
            if len(measured) < 5:
                assert meter.measure(net, reference.IN_SHAPE).value > 0
                measured.append(meter.node)
            assert time.monotonic() < end
    assert Counter(o.number for o in outcomes) == submitted
    assert Counter(o.number for o in outcomes if o.ended == "rung") == Counter(range(14))
    died = [o for o in outcomes if o.ended == "died"]
    assert 1 <= len(died) <= 2
    assert all(o.reason.endswith(("left the cluster", "cannot be reached any more")) for o in died)
    trained = {o.reason for o in outcomes if o.ended == "rung"}
    assert left in trained
    assert set(measured) == {latency_node.node_id}
    assert latency_node.node_id not in trained
    wait_for_slots(executor, 2)
    joined = add(cluster, num_cpus=1)
    wait_for_slots(executor, 3)
    assert joined.node_id in {o.reason for o in results(executor, [job(n, "sleep", seconds=0.2) for n in range(9)])}
    cluster.remove_node(joined, allow_graceful=False)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_no_process_outlives_its_driver(cluster, tmp_path):
    code = (
        "import sys; from functools import partial; from pathlib import Path; import stub_work\n"
        "from nas.study.executors.ray import OnRay\n"
        "prepare = partial(stub_work.prepare_after, 0.0, Path(sys.argv[1]))\n"
        "executor = OnRay(prepare, lambda progress: print('at work', flush=True), address=sys.argv[2])\n"
        "for n in range(2): executor.submit(stub_work.job(n, 'hang'))\n"
        "executor.wait()"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), cluster.address],
        stdout=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(60, driver.kill)
    watchdog.start()
    try:  # Ray tells of nodes that are gone in between
        at_work = any(line == "at work\n" for line in iter(driver.stdout.readline, ""))
    finally:
        watchdog.cancel()
        driver.kill()
        driver.communicate()
    if not at_work:
        pytest.skip("the cluster, shared with a test that is just over, gave the driver no room within a minute")
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert pids
    end = time.monotonic() + 60
    while not all(map(gone, pids)):
        assert time.monotonic() < end
        time.sleep(0.1)


# --- latencies --------------------------------------------------------------------------------------------------------


@pytest.fixture
def meter(cluster):
    with MeterOnRay("onnxruntime") as made:
        yield made


def test_the_reference_net_takes_about_what_it_was_calibrated_at(meter, net, latency_node):
    found = meter.measure(net, reference.IN_SHAPE, limits=[1.0])
    assert found.low <= found.value <= found.high
    assert found.value == pytest.approx(meter.calibration.reference_ms, rel=0.5)  # the same net, on any machine
    assert meter.calibration.runtime == f"onnxruntime on {meter.device['cpu']}"
    assert (meter.takes, meter.disturbed, len(meter.drifts)) == ("onnx", 0, 1)
    assert meter.node == latency_node.node_id


def test_a_kept_calibration_is_the_unit_and_belongs_to_its_kind_of_machine(meter, net):
    name = meter.calibration.runtime
    meter.calibration = Calibration(1000.0, name, reference.NAME)
    assert 500 < meter.measure(net, reference.IN_SHAPE).value < 2000
    meter.calibration = Calibration(1000.0, "onnxruntime on Another CPU", reference.NAME)
    with pytest.raises(RunError, match="the calibration was made with 'onnxruntime on Another CPU', this is"):
        meter.measure(net, reference.IN_SHAPE)


def test_a_file_that_cannot_be_run_is_an_error_that_names_it_and_the_meter_lives_on(meter, net, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(NasError, match=rf"{tmp_path}/broken\.onnx: ONNX Runtime cannot load it") as error:
        meter.measure(tmp_path / "broken.onnx", (1, 8, 8))
    assert type(error.value) is NasError
    with pytest.raises(NasError, match=r"none\.onnx: cannot be read: No such file"):
        meter.measure(tmp_path / "none.onnx", (7, 7))
    assert meter.measure(net, reference.IN_SHAPE).value > 0


def test_several_targets_share_a_node(meter, net):
    with open_meter("onnxruntime:batch=4") as other:
        assert isinstance(other, MeterOnRay)
        assert other.calibration.runtime.startswith("onnxruntime:batch=4 on ")
        assert meter.measure(net, reference.IN_SHAPE).value > 0


def test_what_is_lost_is_measured_anew_and_not_for_ever(meter, net):
    meter.measure(net, reference.IN_SHAPE)
    first = meter._actor

    def measure_in_a_dead_process(raised):
        meter._actor = meter._actor or ray.remote(ray_meter.Bench).options(num_cpus=0).remote("onnxruntime")
        ray.kill(meter._actor)
        with pytest.raises(raised, match=r"reference\.onnx: the Ray node that measures it is lost") as error:
            meter.measure(net, reference.IN_SHAPE)
        assert type(error.value) is raised

    measure_in_a_dead_process(NasError)
    measure_in_a_dead_process(NasError)
    assert meter.measure(net, reference.IN_SHAPE).value > 0
    assert meter._actor is not first
    for raised in (NasError, NasError, RunError):
        measure_in_a_dead_process(raised)


def test_a_machine_is_named_by_its_own_target(cluster):
    with pytest.raises(NasError, match="write onnxruntime"):
        MeterOnRay("ssh:board/onnxruntime")


def test_without_such_a_node_latencies_are_measured_here(cluster, monkeypatch, net):
    monkeypatch.setattr(on_ray, "LATENCY", "none of these")
    with open_meter("onnxruntime") as meter:
        assert isinstance(meter, MeterApart)
    kept = Calibration(1.0, "onnxruntime on x", reference.NAME)
    assert ray_meter.made_on_ray(kept)
    assert not ray_meter.made_on_ray(Calibration(1.0, "onnxruntime:batch=4", reference.NAME))
    no_node = "no node of the Ray cluster is set aside for measuring\n  add one with"
    with pytest.raises(RunError, match=no_node):
        open_meter("onnxruntime", kept, address="auto")
    with MeterOnRay("onnxruntime", kept) as meter, pytest.raises(RunError, match=no_node):
        meter.measure(net, reference.IN_SHAPE)
