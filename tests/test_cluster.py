"""char_rnn_cluster.py: its machines are processes here, which get killed."""
import json
import os
import re
import shutil
import socket
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT

SCRIPT = "char_rnn_cluster.py"
SMALL = "--num_hidden_units 24 --num_layers 1 --num_steps 20 --batch_size 20"
ALL = ('{"cluster": {"ps": ["a:1"], "chief": ["b:2"], "worker": ["c:3"]},'
       ' "task": {"type": %s}}')


@pytest.fixture
def machine(start, tmp_path):
    """Return a function that starts a machine of a cluster in a folder of its own."""
    text = "It is a tale told by an idiot, full of sound and fury. " * 400
    (tmp_path / "text.txt").write_text(text)
    (tmp_path / "other.txt").write_text(text[::-1])
    sockets = [socket.socket() for _ in range(5)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    hosts = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()

    def start_machine(job, index, flags, workers=1, servers=1):
        cluster = {"ps": hosts[:servers], "chief": hosts[2:3]}
        if workers:
            cluster["worker"] = hosts[3 : 3 + workers]
        config = {"cluster": cluster, "task": {"type": job, "index": index}}
        folder = tmp_path / f"{job}{index}"
        folder.mkdir(exist_ok=True)
        flags = f"--data ../text.txt {SMALL} {flags}"
        return start(SCRIPT, flags, folder, TF_CONFIG=json.dumps(config))

    return start_machine


def assert_ends(machine, status, *said):
    """Return its output; it ends with that status, and what it said is one line."""
    ended, out, err = machine.end()
    assert (ended, bool(err)) == (status, bool(status)), (out, err)
    assert err.count("\n") == 0, err
    for words in said:
        assert words in (err if status else out), (out, err)
    return out


def epoch_and_loss(line):
    found = re.match(r"Epoch +(\d+)  training .* validation (\S+) nats  \d+ ch", line)
    return int(found.group(1)), float(found.group(2))


def test_lost_machines_come_back_and_no_epoch_comes_twice(machine, start, tmp_path):
    flags = "--patience 30 --num_epochs 10000"
    ps, chief = machine("ps", 0, flags, 2), machine("chief", 0, flags, 2)
    worker = machine("worker", 0, flags, 2)
    stranger = machine("worker", 1, flags + " --data ../other.txt", 2)
    printed = [epoch_and_loss(chief.wait_for("Epoch"))]
    assert_ends(stranger, 2, "the chief has another text or other flags")
    worker.wait_for("The worker 0 begins at step")
    worker.kill()
    worker = machine("worker", 0, flags, 2)
    assert int(worker.wait_for("begins at").split()[-1]) > 0

    printed.append(epoch_and_loss(chief.wait_for("Epoch")))
    rest = chief.kill()
    printed += [epoch_and_loss(line) for line in rest.splitlines() if "Epoch" in line]
    chief = machine("chief", 0, flags, 2)
    assert int(chief.wait_for("begins at").split()[-1]) > 0
    printed.append(epoch_and_loss(chief.wait_for("Epoch")))
    ps.kill()
    ps = machine("ps", 0, flags, 2)
    ps.wait_for("is ready")
    for _ in range(2):
        printed.append(epoch_and_loss(chief.wait_for("Epoch")))
    chief.interrupt()
    out = assert_ends(chief, 0, "The training has ended")
    printed += [epoch_and_loss(line) for line in out.splitlines() if "Epoch" in line]
    ps.wait_for("Staying up to 30 s for machines that have not heard it")
    epochs, losses = zip(*printed)
    assert list(epochs) == sorted(set(epochs))
    assert max(losses[1:]) < losses[0] + 0.1  # nothing was forgotten
    flags = "--checkpoint_dir char_rnn_cluster --sample 50"
    written = assert_ends(start("char_rnn.py", flags, tmp_path / "chief0"), 0)
    assert len(written) > 50


def test_char_rnn_goes_on_with_the_same_loss(machine, run, tmp_path):
    tasks = [("chief", 0), ("ps", 0), ("ps", 1)]
    chief, *servers = (machine(*task, "--num_epochs 2", 0, 2) for task in tasks)
    lines = [chief.wait_for("Epoch"), chief.wait_for("Epoch")]
    assert_ends(chief, 0, "The training has ended at step")
    for ps in servers:
        assert_ends(ps, 0)
    losses = [epoch_and_loss(line)[1] for line in lines]
    assert losses[1] < losses[0] < 3
    saved = tmp_path / "chief0" / "char_rnn_cluster"
    shutil.copytree(str(saved), str(tmp_path / "before"))
    char_rnn = run("char_rnn.py", f"--resume --checkpoint_dir {saved} --num_epochs 3"
                   f" --data {tmp_path}/text.txt --plot p.png")
    curve = char_rnn.curves["validation"]
    assert [epoch for epoch, _ in curve] == [1, 2, 3] and curve[2][1] < losses[1]
    path = str(tmp_path / "before" / "newest-2")
    char_rnn.savers["newest"].restore(char_rnn.sess, path)
    again, state = [], None
    for X, y in char_rnn.generate_batch(char_rnn.validation):
        loss, state = char_rnn.evaluate(X, y, state)
        again.append(loss)
    assert abs(np.mean(again) - losses[1]) < 1e-4
    chief = machine("chief", 0, "--num_epochs 9", 0)
    assert_ends(chief, 2, "char_rnn_cluster is of other text, flags, or machines")


def test_one_worker_learns_what_char_rnn_learns(machine, run, tmp_path):
    """Two more epochs of both, from the first one's network: state and rate."""
    flags = "--learning_rate 0.01 --decay_rate 0.5 --model lstm"
    saved = tmp_path / "chief0" / "char_rnn_cluster"
    for epochs in 1, 3:
        both = [machine(job, 0, f"{flags} --num_epochs {epochs}", 0)
                for job in ["ps", "chief"]]
        for each in both:
            assert_ends(each, 0, "The training has ended")
        if epochs == 1:
            shutil.copytree(str(saved), str(tmp_path / "first"))
    with open(str(saved / "settings.json")) as f:
        curves = json.load(f)["curves"]
    char_rnn = run("char_rnn.py", "--resume --num_epochs 3 --plot p.png --data text.txt"
                   f" --checkpoint_dir {tmp_path}/first")
    np.testing.assert_allclose(char_rnn.curves["validation"], curves["validation"],
                               atol=1e-4)
    assert np.mean(char_rnn.loss_list) == pytest.approx(curves["training"][2][1], 1e-4)

    both = [machine(job, 0, flags + " --num_epochs 3", 0) for job in ["ps", "chief"]]
    assert_ends(both[1], 0, "All 3 epochs are done: give more as --num_epochs")
    assert_ends(both[0], 0)
    left = {re.sub(r"-\d+\..*", "", path.name) for path in saved.iterdir()}
    assert left == {"best", "newest", "checkpoint", "settings.json"}


def test_gradients_are_cut(machine):
    """To a norm of 1e-9 they vanish beside Adam's epsilon, and nothing is learned."""
    flags = "--num_epochs 1 --learning_rate 0.01 --max_gradient_norm 1e-9"
    both = [machine(job, 0, flags, 0) for job in ["ps", "chief"]]
    assert epoch_and_loss(both[1].wait_for("Epoch"))[1] > 2  # else below 0.5
    for each in both:
        assert_ends(each, 0)


def test_the_speed_is_that_of_the_epoch(tmp_path, capsys):
    with open(os.path.join(ROOT, SCRIPT), encoding="utf-8") as f:
        end_epoch = re.search(r"^def end_epoch.*?(?=\n\n\n)", f.read(), re.M | re.S)
    names = {
        "np": np, "os": os, "json": json, "start": 3.0,
        "time": SimpleNamespace(perf_counter=lambda: 5.0), "first": 10, "done": 30,
        "batches_an_update": 2, "batch_size": 3, "num_steps": 4, "epoch": 2,
        "loss_list": [2.0], "curves": {"training": [], "validation": []},
        "validate_text": lambda sess: 1.5, "save_network": lambda *_: None,
        "flags": {}, "vocabulary": "", "text_sha256": "", "digest": "",
        "settings_file": str(tmp_path / "settings.json"),
    }
    exec(end_epoch.group(), names)
    names["end_epoch"](None)
    told = "Epoch  2  training 2.0000 nats  validation 1.5000 nats  240 characters/s\n"
    assert capsys.readouterr().out == told


def test_a_worker_that_is_absent_at_the_end_hears_of_it(machine):
    ps, chief = (machine(job, 0, "--num_epochs 1") for job in ["ps", "chief"])
    assert_ends(chief, 0, "The training has ended at step")
    ps.wait_for("Staying up to 300 s for machines that have not heard it")
    assert_ends(machine("worker", 0, "--num_epochs 1"), 0, "The training has ended")
    assert_ends(ps, 0)


def test_each_learns_from_its_part_and_a_lost_worker_stops_nobody(machine, tmp_path):
    parts = "It is a tale told by an idiot. ", "Out, out, brief candle! "
    (tmp_path / "text.txt").write_text(parts[0] * 400 + parts[1] * 400)
    flags = "--synchronous --num_epochs 10000 --patience 30"
    ps, chief, worker = (machine(job, 0, flags) for job in ["ps", "chief", "worker"])
    worker.wait_for("begins at")
    losses = [epoch_and_loss(chief.wait_for("Epoch"))[1] for _ in range(8)]
    assert losses[-1] < 1  # of the second part, which only the worker reads
    worker.kill()
    first = epoch_and_loss(chief.wait_for("Epoch"))[0]
    while epoch_and_loss(chief.wait_for("Epoch"))[0] < first + 3:
        pass
    chief.interrupt()
    assert_ends(chief, 0, "The training has ended at step")
    ps.wait_for("Staying up to 30 s for machines that have not heard it")


def test_who_never_comes_is_waited_for_no_longer_than_patience(machine):
    alone = [machine("ps", 0, "--patience 2"), machine("worker", 0, "--patience 8", 2)]
    alone[1].wait_for("Waiting up to 8 s for ps ['127.0.0.1:")
    for each, seconds in zip(alone, "28"):
        assert_ends(each, 1, f"Nothing heard for {seconds} s from ps ['127.0.0.1:")
    assert_ends(machine("chief", 0, "--patience 2"), 1, "Nothing heard for 2 s from ps")


@pytest.mark.parametrize("config, told", [
    ('{"ps": ', "TF_CONFIG is not like the one at the top of this file: JSON"),
    ('["cluster"]', "TF_CONFIG is not like"), ("{}", "TF_CONFIG is not like"),
    (ALL % '"evaluator", "index": 0', "No such job in cluster: 'evaluator'"),
    (ALL % '"worker", "index": 1', "No task with index 1 in job 'worker'"),
    ((ALL % '"worker", "index": 0').replace("ps", "pa"), "No such job"),
    ('{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}', "IndexError"),
    ((ALL % '"ps", "index": 0').replace("a:1", "a"), "no server at a"),
])
def test_a_wrong_tf_config_gets_one_line(config, told, refused, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    assert told in refused(SCRIPT, "")


def test_a_taken_port_gets_one_line(refused, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen(1)
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = {"cluster": {"ps": [address], "worker": ["127.0.0.1:1"]},
                  "task": {"type": "ps", "index": 0}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        assert "Could not start gRPC server" in refused(SCRIPT, "")
