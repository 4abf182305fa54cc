"""char_rnn_cluster.py: its machines are processes here, which get killed."""
import itertools
import json
import os
import re
import shutil
import signal
import socket
import time

import numpy as np
import pytest
from conftest import load_tensorflow

SCRIPT = "char_rnn_cluster.py"
SMALL = "--num_hidden_units 24 --num_layers 1 --num_steps 20 --batch_size 20"


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    """Return free addresses; the working folder is one without a file."""
    monkeypatch.chdir(tmp_path)
    sockets = [socket.socket() for _ in range(18)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


@pytest.fixture
def machine(start, tmp_path, hosts):
    """Return a function that starts a machine of a cluster in a folder of its own."""
    cluster = {"ps": hosts[:1], "chief": hosts[1:2], "worker": hosts[2:3]}

    def start_machine(job, flags="--num_epochs 10000"):
        (tmp_path / job).mkdir(exist_ok=True)
        task = {"cluster": cluster, "task": {"type": job, "index": 0}}
        flags = f"{SMALL} --learning_rate 0.01 --data ../text.txt {flags}"
        return start(SCRIPT, flags, tmp_path / job, TF_CONFIG=json.dumps(task),
                     http_proxy="http://127.0.0.1:1")

    return start_machine


@pytest.fixture
def learn(run, monkeypatch, hosts):
    """Return a function that runs a chief in this process, or then a worker of its."""
    monkeypatch.setenv("no_proxy", "")  # is given back, as the handler is
    handler, cluster = signal.getsignal(signal.SIGINT), {}

    def run_learner(flags, with_worker=False, job="chief"):
        tf = load_tensorflow()
        if job == "chief":
            cluster.update(ps=[hosts.pop(), hosts.pop()], chief=[hosts.pop()])
            if with_worker:
                cluster["worker"] = [hosts.pop()]
            for i in range(2):
                tf.train.Server(cluster, "ps", i)
        task = {"cluster": cluster, "task": {"type": job, "index": 0}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(task))
        with tf.Graph().as_default():
            return run(SCRIPT, f"{SMALL} --data text.txt --patience 99999 {flags}")

    yield run_learner
    signal.signal(signal.SIGINT, handler)


def test_whatever_is_killed_comes_back_and_no_epoch_is_lost(
        machine, run, tmp_path, capsys, hosts):
    # The chief's share, and what the worker alone reads and the chief validates with.
    (tmp_path / "text.txt").write_text("It is a tale told by an idiot. " * 400
                                       + "Out, out, brief candle! " * 400)
    told = []  # of each epoch the number, and the losses of training and validation

    def read(said):
        for line in re.findall("^Epoch.*", said, re.M):
            told.append([float(number) for number in re.findall(r"\d\S*", line)[:3]])

    def wait_for(words):
        """Read what the chief says up to a line that holds the words; return that."""
        line = ""
        while words not in line:
            line = chief.wait_for("")
            read(line)
        return line

    def saved_losses():
        with open("chief/char_rnn_cluster/settings.json") as f:
            return [loss for _, loss in json.load(f)["curves"]["validation"]]

    ps, chief, worker = machine("ps"), machine("chief"), machine("worker")
    wait_for("Epoch")
    while told[-1][2] > 1:
        wait_for("Epoch")
        assert len(told) < 300

    worker.kill()
    count = len(saved_losses())
    worker = machine("worker")
    while len(told) < count + 2:  # the chief goes on
        wait_for("Epoch")
    read(chief.kill())
    chief = machine("chief")
    assert int(wait_for("begins at").split()[-1]) >= 48 * len(told)  # 24 of each
    assert int(worker.wait_for("begins at").split()[-1]) > 0
    wait_for("Epoch")
    ps.kill()
    wait_for(f"Waiting up to 300 s for {hosts[0]}: ")
    ps, before = machine("ps"), told[-1][1]
    wait_for("Epoch")
    wait_for("Epoch")
    assert told[-1][1] < before + 0.5  # it does not begin anew

    chief.interrupt()
    status, said, err = chief.end()
    assert (status, err, worker.end()[::2]) == (0, "", (0, ""))
    ps.wait_for("The training has ended")
    read(said)
    saved, epochs = saved_losses(), [int(epoch) for epoch, _, _ in told]
    assert said.endswith(f"{len(saved)} epochs are saved in char_rnn_cluster\n")
    assert epochs == sorted(set(epochs))  # none comes twice
    assert len(saved) - len(epochs) <= 1  # killed when one was saved, and not yet told
    for epoch, (_, _, loss) in zip(epochs, told):
        assert abs(saved[epoch - 1] - loss) < 1e-4

    folder = "--checkpoint_dir chief/char_rnn_cluster"
    with pytest.raises(SystemExit):
        run("char_rnn.py", f"{folder} --sample 50")
    assert capsys.readouterr().out.startswith("It")  # the text's first word
    run("char_rnn_inside.py", f"{folder} --text text.txt --plot i.png")
    assert f"best-{np.argmin(saved) + 1}: " in capsys.readouterr().out


def test_a_chief_alone_learns_what_char_rnn_learns(learn, run, capsys, monkeypatch):
    """Two more epochs of both, from the first one's network: state, rate and windows.

    What is saved is what was validated; more machines, too, go on from it, but not with
    another text, or another network.
    """
    numbers = np.random.RandomState(0).randint(10**9, size=800)
    for name in "text.txt", "other.txt":
        with open(name, "w") as f:
            f.write("".join(f"It is a tale told {number}. " for number in numbers))
        numbers += 1
    flags = ("--model lstm --learning_rate 0.01 --decay_rate 0.5"
             " --max_gradient_norm 0.1 ")
    learn(flags + "--num_epochs 1")
    shutil.copytree("char_rnn_cluster", "first")
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", itertools.count().__next__)
        names = learn(flags + "--num_epochs 3")  # in a second each, so says the clock
    speed = names.epoch_steps * 20 * 20
    assert re.findall(r"(\d+) char.*/s", capsys.readouterr().out) == 2 * [str(speed)]
    char_rnn = run("char_rnn.py", "--resume --checkpoint_dir first --num_epochs 3"
                   " --data text.txt --plot p.png")
    assert np.allclose(char_rnn.curves["validation"], names.curves["validation"],
                       atol=1e-4)
    assert np.isclose(np.mean(char_rnn.loss_list), names.curves["training"][2][1],
                      rtol=1e-4)

    length = len(names.validation) - 1
    row = np.pad(names.validation, (0, -length % names.num_steps), "edge")
    for saved in "newest-3", "best-3":
        names.savers["newest"].restore(names.copy_sess, f"char_rnn_cluster/{saved}")
        losses = names.read(row[np.newaxis])[0][0, :length]
        assert abs(losses.mean() - names.curves["validation"][2][1]) < 1e-4
    capsys.readouterr()
    names = learn(flags + "--num_epochs 4 --learning_rate 9", with_worker=True)
    told = capsys.readouterr().out
    assert f"The chief 0 begins at step {3 * names.epoch_steps}\n" in told
    files = os.listdir("char_rnn_cluster")  # the last epoch was worse
    assert {"best-3.meta", "newest-4.meta"} < set(files) and "best-4.meta" not in files

    for job, wrong, told in [
            ("worker", "--data other.txt", "not the same as the chief's: data"),
            ("chief", "--data other.txt", "char_rnn_cluster has learned from another"),
            ("chief", "--model gru", "char_rnn_cluster has --model lstm")]:
        with pytest.raises(SystemExit, match="2"):
            learn(f"{flags} --num_epochs 4 --learning_rate 9 {wrong}", job=job)
        assert told in capsys.readouterr().err


def test_who_never_comes_is_waited_for_no_longer_than_patience(machine, hosts):
    status, out, err = machine("ps", "--patience 2").end()
    assert status == 1 and err.startswith(f"{hosts[1]} was away for 2 s. ")


def test_a_wrong_tf_config_and_a_taken_port_get_one_line(refused, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen(1)
        server = {"ps": [f"127.0.0.1:{taken.getsockname()[1]}"]}
        task = {"type": "ps", "index": 0}
        for config, told in [
                ('{"cluster": ', "JSONDecodeError"),
                (json.dumps({"cluster": server, "task": task}), "IndexError"),
                (json.dumps({"cluster": {**server, "chief": ["127.0.0.1:1"]},
                             "task": task}), "UnknownError")]:
            monkeypatch.setenv("TF_CONFIG", config)
            err = refused(SCRIPT, "")
            assert "no server can be started. Is TF_CONFIG like " in err and told in err
