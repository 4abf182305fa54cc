"""char_rnn_cluster.py: its machines are processes here, which get killed."""
import json
import os
import re
import shutil
import signal
import socket

import numpy as np
import pytest
from conftest import load_tensorflow

SCRIPT = "char_rnn_cluster.py"
SMALL = "--num_hidden_units 24 --num_layers 1 --num_steps 20 --batch_size 20"
PARTS = "It is a tale told by an idiot. " * 400, "Out, out, brief candle! " * 400


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    """Return free addresses; in the folder are texts to learn from."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(PARTS[0] + PARTS[1])
    (tmp_path / "other.txt").write_text(PARTS[1] + PARTS[0])
    sockets = [socket.socket() for _ in range(15)]
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
    dead_proxy = "http://127.0.0.1:1"

    def start_machine(job, flags):
        (tmp_path / job).mkdir(exist_ok=True)
        task = {"cluster": cluster, "task": {"type": job, "index": 0}}
        return start(SCRIPT, f"{SMALL} --data ../text.txt {flags}", tmp_path / job,
                     TF_CONFIG=json.dumps(task), http_proxy=dead_proxy,
                     https_proxy=dead_proxy)

    return start_machine


@pytest.fixture
def chief(run, monkeypatch, hosts):
    """Return a function that runs a chief in this process, where two servers are."""
    monkeypatch.setenv("no_proxy", "")  # is given back, as the handler is
    handler = signal.getsignal(signal.SIGINT)

    def run_chief(flags, workers=()):
        tf = load_tensorflow()
        cluster = {"ps": [hosts.pop(), hosts.pop()], "chief": [hosts.pop()]}
        if workers:
            cluster["worker"] = workers
        for i in range(2):
            tf.train.Server(cluster, "ps", i)
        task = {"cluster": cluster, "task": {"type": "chief", "index": 0}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(task))
        with tf.Graph().as_default():
            return run(SCRIPT, f"{SMALL} --data text.txt {flags}")

    yield run_chief
    signal.signal(signal.SIGINT, handler)


def test_whatever_is_killed_comes_back_and_no_epoch_is_lost(
        machine, run, tmp_path, capsys, hosts):
    flags = "--num_epochs 10000"
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

    worker = machine("worker", flags)
    worker.wait_for(f"Waiting up to 300 s for {hosts[1]}: ")
    ps, chief = machine("ps", flags), machine("chief", flags)
    worker.wait_for("The worker 0 begins at step")
    wait_for("Epoch")
    while told[-1][2] > 1:  # of what only the worker reads
        wait_for("Epoch")
        assert len(told) < 500
    worker.kill()
    stranger = machine("worker", flags + " --data ../other.txt")
    status, _, err = stranger.end()
    assert (status, err.count("\n")) == (2, 0)
    assert err.endswith("not the same as the chief's: data")
    worker = machine("worker", flags)
    assert int(worker.wait_for("begins at").split()[-1]) > 0

    read(chief.kill())
    chief = machine("chief", flags)
    assert int(wait_for("begins at").split()[-1]) >= 48 * len(told)  # 24 of each
    wait_for("Epoch")
    ps.kill()
    wait_for(f"Waiting up to 300 s for {hosts[0]}: ")
    ps, before = machine("ps", flags), told[-1][1]
    wait_for("Epoch")
    wait_for("Epoch")
    assert told[-1][1] < 2 * before  # it does not begin anew
    chief.interrupt()
    said = ""
    for each in chief, worker, ps:
        status, out, err = each.end()
        assert (status, err) == (0, "") and "The training has ended" in out
        said += out
    read(said)

    folder = "chief/char_rnn_cluster"
    with open(f"{folder}/settings.json") as f:
        saved = [loss for _, loss in json.load(f)["curves"]["validation"]]
    assert f"{len(saved)} epochs are saved in char_rnn_cluster" in said
    epochs = [int(epoch) for epoch, _, _ in told]
    assert epochs == sorted(set(epochs))  # none comes twice
    assert len(saved) - len(epochs) <= 1  # killed when one was saved, and not yet told
    for epoch, _, loss in told:
        assert abs(saved[int(epoch) - 1] - loss) < 1e-4
    with pytest.raises(SystemExit):
        run("char_rnn.py", f"--checkpoint_dir {folder} --sample 50")
    assert len(capsys.readouterr().out) > 50
    run("char_rnn_inside.py", f"--checkpoint_dir {folder} --text text.txt --plot i.png")
    assert f"best-{np.argmin(saved) + 1}: " in capsys.readouterr().out


def test_one_worker_learns_what_char_rnn_learns(chief, run, capsys):
    """Two more epochs of both, from the first one's network: state, rate and part.

    What is saved is what was validated; more machines, too, go on from it, but not with
    another text, or another network.
    """
    random = np.random.RandomState(0)
    with open("text.txt", "w") as f:
        f.write("".join(f"It is a tale told {number}. "
                        for number in random.randint(10**9, size=1020)))
    flags = ("--model lstm --learning_rate 0.01 --decay_rate 0.5 --num_batches 40"
             " --max_gradient_norm 0.1 ")
    chief(flags + "--num_epochs 1")
    shutil.copytree("char_rnn_cluster", "first")
    names = chief(flags + "--num_epochs 3")
    assert names.parts == 2 and names.windows % 2 == 0
    char_rnn = run("char_rnn.py", "--resume --checkpoint_dir first --num_epochs 3"
                   " --data text.txt --plot p.png")
    assert np.allclose(char_rnn.curves["validation"], names.curves["validation"],
                       atol=1e-4)
    assert np.isclose(np.mean(char_rnn.loss_list), names.curves["training"][2][1],
                      rtol=1e-4)

    losses = [loss for _, loss in names.curves["validation"]]
    best = np.argmin(losses)
    for saved, loss in ("newest-3", losses[2]), (f"best-{best + 1}", losses[best]):
        names.savers["newest"].restore(names.copy_sess, f"char_rnn_cluster/{saved}")
        length = len(names.validation) - 1
        row = np.pad(names.validation, (0, -length % names.num_steps), "edge")
        row_losses, _ = names.read(row[np.newaxis])
        assert abs(row_losses[0, :length].mean() - loss) < 1e-4
    capsys.readouterr()
    names = chief(flags + "--num_epochs 4 --learning_rate 9", ["127.0.0.1:1"])
    told = capsys.readouterr().out
    assert f"The chief 0 begins at step {3 * names.epoch_steps}\n" in told
    assert len(names.share) == (len(names.training) + 1) // 2
    files = os.listdir("char_rnn_cluster")  # the last epoch was worse
    assert {"best-3.meta", "newest-4.meta"} < set(files) and "best-4.meta" not in files

    for wrong, told in [("--data other.txt", "has learned from another text"),
                        ("--model gru", "has --model lstm")]:
        with pytest.raises(SystemExit, match="2"):
            chief(flags + wrong)
        assert f"char_rnn_cluster {told}" in capsys.readouterr().err


def test_who_never_comes_is_waited_for_no_longer_than_patience(machine, hosts):
    status, out, err = machine("ps", "--patience 2").end()
    assert status == 1 and err.startswith(f"{hosts[1]} was away for 2 s. ")


@pytest.mark.parametrize("config, told", [
    ('{"cluster": ', "TF_CONFIG is not like the one at the top of this file: JSON"),
    ("{}", "is not like"),
    ('{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}', "IndexError"),
])
def test_a_wrong_tf_config_gets_one_line(config, told, refused, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    assert told in refused(SCRIPT, "")


def test_a_taken_port_gets_one_line(refused, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen(1)
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = {"cluster": {"ps": [address], "chief": ["127.0.0.1:1"]},
                  "task": {"type": "ps", "index": 0}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        assert "no server can be started, is the port taken? " in refused(SCRIPT, "")
