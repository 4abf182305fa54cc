"""Several machines: --server on every script, TF_CONFIG in char_rnn.py.

All of them are processes here, which talk over 127.0.0.1, and are killed.
"""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from test_scripts import FACTS, each_script

SMALL = ("--num_hidden_units 24 --num_layers 1 --num_steps 20 --batch_size 40"
         " --plot picture.png --checkpoint_dir saved")


def free_ports(count):
    """Return so many numbers of ports that nobody listens at."""
    with_all = [socket.socket() for _ in range(count)]
    for each in with_all:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in with_all]
    for each in with_all:
        each.close()
    return ports


# --- --server ---
@pytest.fixture
def server(tmp_path):
    """Yield the address of a tf.train.Server in a process and a folder of its own."""
    (tmp_path / "of_server").mkdir()
    (port,) = free_ports(1)
    line = "import tensorflow.compat.v1 as tf; tf.train.Server({'a': ['127.0.0.1:%d']})"
    process = subprocess.Popen(
        [sys.executable, "-c", (line + ".join()") % port],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd=str(tmp_path / "of_server"),
    )
    yield f"grpc://127.0.0.1:{port}", process
    process.kill()
    process.wait()


@each_script
def test_computes_on_a_server_what_it_computes_here(script, run, server, tmp_path):
    address, _ = server
    wait_for_port(address)
    programs = []
    for name, more in ("here", ""), ("there", f" --server {address}"):
        (tmp_path / name).mkdir()
        programs.append(run(script, FACTS[script]["short"] + more, tmp_path / name))
    numbers = []
    for program in programs:
        out = assert_ends(program)
        numbers.append(re.findall(r"(?i)loss (\d+\.\d+)|training (\d+\.\d+)", out))
    assert len(numbers[0]) > 0
    assert numbers[0] == numbers[1]
    assert list((tmp_path / "of_server").iterdir()) == []
    if script == "char_rnn.py":  # what is saved is here
        flags = f"--sample 50 --server {address}"
        texts = [
            assert_ends(run(script, more, tmp_path / "there"))
            for more in (flags, "--sample 50")
        ]
        assert texts[0] == texts[1] and len(texts[0]) >= 50


def test_two_programs_on_one_server_share_no_variables(run, server, tmp_path):
    address, _ = server
    wait_for_port(address)
    outs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        flags = f"--num_epochs 2 --plot p.png --server {address}"
        outs.append(run("echo_rnn.py", flags, tmp_path / name))
    one, two = (assert_ends(program) for program in outs)
    assert one == two and "Step 600" in one


def test_a_server_that_is_not_there_gets_one_line(run):
    (port,) = free_ports(1)
    start = time.time()
    status, out, err = run("echo_rnn.py", f"--server grpc://127.0.0.1:{port}").end()
    assert (status, out) == (1, "")
    assert err == f"No TensorFlow server answers at grpc://127.0.0.1:{port}"
    assert time.time() - start < 40  # 10 s, and TensorFlow's loading on a busy machine


def wait_for_port(address, seconds=60):
    host, port = address.replace("grpc://", "").split(":")
    for _ in range(10 * seconds):
        with socket.socket() as each:
            if each.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nobody listens at {address}")


def test_a_server_that_dies_in_training_gets_one_line(run, server, tmp_path):
    address, process = server
    wait_for_port(address)
    programs = {}
    for script in ("echo_rnn.py", "char_rnn.py"):  # one text is at the end of all
        short = FACTS[script]["short"]
        flags = re.sub(r"--num_epochs \d+", "--num_epochs 100000", short)
        (tmp_path / script).mkdir()
        programs[script] = run(script, f"{flags} --server {address}", tmp_path / script)
    for program in programs.values():
        program.wait_for("poch")
    process.kill()
    for script, program in programs.items():
        status, _, err = program.end()
        assert (status, err.count("\n")) == (1, 0), (script, err)
        assert "The TensorFlow server does not answer: " in err


def test_numpy_computes_here(load, refused, monkeypatch):
    monkeypatch.setattr(load("char_rnn"), "server", str)
    err = refused(load("char_rnn").main, ["--model", "numpy", "--server", "grpc://a:1"])
    assert "--model numpy computes here, not on a --server" in err


def test_an_address_that_is_none_is_refused(load, refused):
    for address in ("127.0.0.1:2222", "grpc://127.0.0.1", "http://127.0.0.1:1", "x"):
        err = refused(load("echo_rnn").main, ["--server", address])
        assert repr(address) in err and "grpc://127.0.0.1:2222" in err


# --- TF_CONFIG: char_rnn.py on several machines ---
SMALL = ("--num_hidden_units 24 --num_layers 1 --num_steps 20 --batch_size 40"
         " --patience 60 --plot picture.png --checkpoint_dir saved")


class Machines:
    """A cluster's tasks as processes, each in a folder of its own."""

    def __init__(self, run, folder, **jobs):
        self.run, self.folder = run, folder
        ports = iter(free_ports(sum(jobs.values())))
        self.cluster = {
            job: [f"127.0.0.1:{next(ports)}" for _ in range(count)]
            for job, count in jobs.items()
        }

    def start(self, job, index, flags):
        place = self.folder / f"{job}{index}"
        place.mkdir(exist_ok=True)
        config = {"cluster": self.cluster, "task": {"type": job, "index": index}}
        return self.run("char_rnn.py", flags, place, TF_CONFIG=json.dumps(config))

    def start_all(self, flags):
        return [
            self.start(job, i, flags)
            for job, addresses in self.cluster.items() for i in range(len(addresses))
        ]


@pytest.fixture
def machines(run, tmp_path):
    return lambda **jobs: Machines(run, tmp_path, **jobs)


def validation_losses(out):
    return [float(x) for x in re.findall(r"^Epoch .* validation (\S+) nats", out, re.M)]


def assert_ends(program, *said):
    status, out, err = program.end()
    assert (status, err) == (0, ""), (out, err)
    for text in said:
        assert text in out
    return out


@pytest.mark.parametrize("flags, jobs", [
    ("", {"ps": 1, "worker": 2}),
    ("--synchronous --average_decay 0.9", {"ps": 2, "chief": 1, "worker": 1}),
])
def test_workers_train_and_one_machine_goes_on(flags, jobs, machines, run, tmp_path):
    flags = f"{SMALL} {flags}"
    cluster = machines(**jobs)
    *servers, chief, worker = cluster.start_all(f"{flags} --num_epochs 2")
    out = assert_ends(chief, "Checkpoints in saved", "Picture in picture.png")
    assert_ends(worker, "Worker 1 joins at step 0", "The training has ended")
    for server in servers:
        assert_ends(server, "is ready", "The training has ended")
    losses = validation_losses(out)
    assert len(losses) == 2 and losses[1] < losses[0] < 3.2
    there = {place.name: sorted(os.listdir(str(place))) for place in tmp_path.iterdir()}
    place = tmp_path / ("chief0" if "chief" in jobs else "worker0")
    assert there.pop(place.name) == ["picture.png", "saved"]
    assert not any(there.values()), there  # the others keep nothing

    out = assert_ends(run("char_rnn.py", "--checkpoint_dir saved --sample 50", place))
    assert len(out) >= 50
    alone = f"{flags} --resume --num_epochs 3".replace(" --synchronous", "")
    more = validation_losses(assert_ends(run("char_rnn.py", alone, place)))
    assert len(more) == 1 and more[0] < losses[1]
    if "--synchronous" in flags:
        return
    cluster = machines(**jobs)
    programs = cluster.start_all(f"{flags} --num_epochs 4 --resume")
    outs = [assert_ends(program) for program in programs]
    (last,) = validation_losses("\n".join(outs))
    assert last < more[0]


def test_a_killed_worker_and_a_killed_chief_go_on(machines):
    cluster = machines(ps=1, worker=2)
    flags = f"{SMALL} --num_epochs 10"
    server, chief, worker = cluster.start_all(flags)
    chief.wait_for("Epoch  1")
    worker.process.kill()
    chief.wait_for("Epoch  2")
    worker = cluster.start("worker", 1, flags)
    joins = worker.wait_for("Worker 1 joins at step")
    assert int(joins.split()[-1]) > 0
    chief.wait_for("Epoch  ")
    chief.process.kill()
    chief = cluster.start("worker", 0, flags + " --resume")
    out = assert_ends(chief, "Epoch 10")
    assert "Epoch  1 " not in out
    assert_ends(worker, "The training has ended")
    assert_ends(server, "The training has ended")


def test_a_killed_parameter_server_is_filled_from_the_checkpoint(machines):
    cluster = machines(ps=1, worker=2)
    flags = f"{SMALL} --num_epochs 6"
    server, chief, worker = cluster.start_all(flags)
    chief.wait_for("Epoch  2")
    server.process.kill()
    server.process.wait()
    server = cluster.start("ps", 0, flags)
    losses = validation_losses(assert_ends(chief, "Epoch  6"))
    assert max(losses) < 2.9  # nothing was forgotten
    assert_ends(worker, "The training has ended")
    assert_ends(server, "The training has ended")


def test_a_lost_parameter_server_gets_one_line(machines):
    flags = f"{SMALL} --num_epochs 6".replace("--patience 60", "--patience 10")
    server, chief, worker = machines(ps=1, worker=2).start_all(flags)
    chief.wait_for("Epoch  1")
    server.process.kill()
    for program in chief, worker:
        status, _, err = program.end()
        assert (status, err.count("\n")) == (1, 0), err
        assert "Nothing heard for 10 s" in err


def test_nobody_waits_for_ever_for_those_who_never_come(machines):
    flags = SMALL.replace("--patience 60", "--patience 5")
    cluster = machines(ps=1, worker=2)
    alone = [cluster.start("worker", i, flags) for i in range(2)]
    cluster = machines(ps=1, worker=2)
    server, worker = cluster.start("ps", 0, flags), cluster.start("worker", 1, flags)
    for program in [*alone, worker]:
        status, _, err = program.end()
        assert (status, err.count("\n")) == (1, 0), err
        assert "Nothing heard for 5 s" in err
    server.interrupt()
    assert server.end()[0] == 130


def test_ctrl_c_and_a_wrong_worker_end_quickly(machines):
    cluster = machines(ps=1, worker=3)
    server = cluster.start("ps", 0, SMALL)
    early = cluster.start("worker", 1, SMALL)
    server.wait_for("is ready")
    time.sleep(10)  # until it waits for the chief
    early.interrupt()
    assert early.process.wait(10) in (130, -signal.SIGINT)
    assert early.end()[1:] == ("", "")
    chief = cluster.start("worker", 0, f"{SMALL} --num_epochs 100")
    worker = cluster.start("worker", 1, SMALL)
    wrong = cluster.start("worker", 2, SMALL.replace("units 24", "units 25"))
    chief.wait_for("Epoch  1")
    worker.wait_for("Worker 1 joins")
    status, _, err = wrong.end()
    assert status == 2
    assert err == "This worker's text or flags are not those of the chief."
    chief.interrupt()
    status, out, err = chief.end()
    assert (status, err) == (130, "") and "Picture in picture.png" in out
    assert_ends(worker, "The training has ended")
    assert_ends(server, "The training has ended")


@pytest.mark.parametrize("config, told", [
    ('{"cluster": ', "Expecting value"),
    ("worker", "Expecting value"),
    ('["cluster"]', "list"),
    ('{"cluster": {"ps": ["a:1"], "worker": ["b:2"]}}', "task"),
    ('{"cluster": {"ps": ["a:1"], "worker": ["b:2"]}, "task": {"type": "evaluator",'
     ' "index": 0}}', "evaluator"),
    ('{"cluster": {"ps": ["a:1"], "worker": ["b:2"]}, "task": {"type": "worker",'
     ' "index": 1}}', "index 1"),
    ('{"cluster": {"worker": ["b:2"]}, "task": {"type": "worker", "index": 0}}', "ps"),
    ('{"cluster": {"ps": ["b:2"]}, "task": {"type": "ps", "index": 0}}', "worker"),
    ('{"cluster": {"ps": ["b"], "worker": ["c"]}, "task": {"type": "ps", "index": 0}}',
     "'b'"),
    ('{"cluster": {"ps": "a:1", "worker": ["b:2"]}, "task": {"type": "ps",'
     ' "index": 0}}', "list"),
])
def test_a_wrong_tf_config_gets_one_line(config, told, load, refused, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    err = refused(load("char_rnn").main, [])
    assert "TF_CONFIG" in err and told in err


def test_a_taken_port_gets_one_line(load, refused, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen(1)
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        cluster = {"ps": [address], "worker": ["127.0.0.1:1"]}
        task = {"type": "ps", "index": 0}
        config = json.dumps({"cluster": cluster, "task": task})
        monkeypatch.setenv("TF_CONFIG", config)
        err = refused(load("char_rnn").main, [])
    assert address.split(":")[1] in err and "in use" in err


def test_tf_config_is_for_training(load, refused, monkeypatch, tmp_path):
    cluster = {"ps": ["127.0.0.1:1"], "worker": ["127.0.0.1:2"]}
    task = {"type": "worker", "index": 0}
    config = json.dumps({"cluster": cluster, "task": task})
    monkeypatch.setenv("TF_CONFIG", config)
    err = refused(load("char_rnn").main, ["--model", "numpy"])
    assert "neither with --model numpy nor --server" in err
    assert load("char_rnn").parse_flags(["--check"]).cluster is None
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {}}')
    assert load("char_rnn").parse_flags([]).cluster is None


def test_shares_are_the_text_and_steps_an_epoch(load, monkeypatch):
    char_rnn = load("char_rnn")
    cluster = {"ps": ["a:1"], "chief": ["b:1"], "worker": ["c:1", "d:1"]}
    pieces, steps = [], []
    for job, index in ("chief", 0), ("worker", 0), ("worker", 1):
        task = {"type": job, "index": index}
        config = json.dumps({"cluster": cluster, "task": task})
        monkeypatch.setenv("TF_CONFIG", config)
        flags = char_rnn.parse_flags([])
        pieces.append(flags.share)
        steps.append(flags.settings["network"]["num_batches"])
        together = char_rnn.parse_flags(["--synchronous"])
        steps.append(3 * together.settings["network"]["num_batches"])
    joined = np.concatenate(pieces)
    assert len(flags.training) - 3 < len(joined)
    assert np.array_equal(joined, flags.training[: len(joined)])
    assert len({len(piece) for piece in pieces}) == 1
    windows = len(list(char_rnn.generate_batch(pieces[0], 50, 50)))
    assert set(steps) == {3 * windows}


def test_windows_begin_where_the_others_are(load):
    epochs = load("char_rnn").epochs
    text = np.arange(401)  # 4 rows of 100, 10 windows in each
    for step, num_batches, first in (0, 10, 0), (3, 10, 3), (23, 10, 3), (13, 20, 6):
        windows = epochs(text, step, 4, 10, num_batches)
        for i in range(first, first + 25):
            X, y, begins = next(windows)
            assert X[1, 0] == 100 + i % 10 * 10
            assert np.array_equal(y, X + 1)
            assert begins == (i % 10 == 0)
