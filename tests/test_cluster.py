"""char_rnn_cluster.py: its machines are processes here, which get killed."""
import json
import os
import re
import shutil
import socket
import time
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

    def start_machine(job, index, flags, workers=1, servers=1, ps=None, script=SCRIPT,
                      **environment):
        cluster = {"ps": ps or hosts[:servers], "chief": hosts[2:3]}
        if workers:
            cluster["worker"] = hosts[3 : 3 + workers]
        config = {"cluster": cluster, "task": {"type": job, "index": index}}
        folder = tmp_path / f"{job}{index}"
        folder.mkdir(exist_ok=True)
        flags = f"--data ../text.txt {SMALL} {flags}"
        environment["TF_CONFIG"] = json.dumps(config)
        return start(script, flags, folder, **environment)

    return start_machine


def assert_ends(machine, status, *said):
    """Return its output; it ends with that status, and what it said is one line."""
    ended, out, err = machine.end()
    assert (ended, bool(err)) == (status, bool(status)), (out, err)
    assert err.count("\n") == 0, err
    for words in said:
        assert words in (err if status else out), (out, err)
    return out


def function(name):
    """Return the text of a function of the script."""
    with open(os.path.join(ROOT, SCRIPT), encoding="utf-8") as f:
        return re.search(rf"^def {name}\(.*?(?=\n\n\n)", f.read(), re.M | re.S).group()


def epoch_and_loss(line):
    found = re.match(r"Epoch +(\d+)  training .* validation (\S+) nats  \d+ ch", line)
    return int(found.group(1)), float(found.group(2))


def test_lost_machines_come_back_and_no_epoch_comes_twice(machine, start, tmp_path):
    flags = "--patience 30 --num_epochs 10000"
    ps, chief = machine("ps", 0, flags, 2), machine("chief", 0, flags, 2)
    worker = machine("worker", 0, flags, 2)
    stranger = machine("worker", 1, flags + " --data ../other.txt", 2)
    printed = [epoch_and_loss(chief.wait_for("Epoch"))]
    assert_ends(stranger, 2, "the chief has another text, other flags or another clust")
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
    saved, moved = tmp_path / "chief0" / "char_rnn_cluster", tmp_path / "moved"
    os.rename(str(saved), str(moved))
    chief.wait_for("Not saved: [Errno 2] No such file or directory")
    for _ in range(9):
        before = chief.wait_for("Epoch")
        printed.append(epoch_and_loss(before))
    ps.kill()
    chief.wait_for("Waiting up to 30 s for ps")
    ps = machine("ps", 0, flags, 2)
    after = chief.wait_for("Epoch")  # from what the chief has in memory
    printed += [epoch_and_loss(after), epoch_and_loss(chief.wait_for("Epoch"))]
    before, after = (float(line.split()[3]) for line in (before, after))
    assert after < 1.5 * before
    chief.interrupt()
    out = assert_ends(chief, 0, "The training has ended")
    printed += [epoch_and_loss(line) for line in out.splitlines() if "Epoch" in line]
    ps.wait_for("Staying up to 30 s for machines that have not heard it")
    epochs, losses = zip(*printed)
    assert list(epochs) == sorted(set(epochs))
    assert max(losses[1:]) < losses[0] + 0.1  # nothing was forgotten
    flags = "--checkpoint_dir moved --sample 50"
    written = assert_ends(start("char_rnn.py", flags), 0)
    assert len(written) > 50


def test_char_rnn_goes_on_with_the_same_loss(machine, run, tmp_path):
    """The worker learns on while the chief validates and saves, one row at a time."""
    numbers = np.random.RandomState(0).randint(10**9, size=300)
    text = "".join(f"It is a tale told {number}. " for number in numbers)
    (tmp_path / "text.txt").write_text(text)
    flags = "--num_epochs 2 --batch_size 1 --learning_rate 0.02"
    chief, worker, *servers = (machine(*task, flags, 1, 2) for task in [
        ("chief", 0), ("worker", 0), ("ps", 0), ("ps", 1)])
    lines = [chief.wait_for("Epoch"), chief.wait_for("Epoch")]
    for each in [chief, worker, *servers]:
        assert_ends(each, 0, "The training has ended")
    losses = [epoch_and_loss(line)[1] for line in lines]
    assert max(losses) < 2.5
    saved = tmp_path / "chief0" / "char_rnn_cluster"
    shutil.copytree(str(saved), str(tmp_path / "before"))
    char_rnn = run("char_rnn.py", f"--resume --checkpoint_dir {saved} --num_epochs 3"
                   f" --data {tmp_path}/text.txt --plot p.png")
    curve = char_rnn.curves["validation"]
    assert [epoch for epoch, _ in curve] == [1, 2, 3] and curve[2][1] < 2.5
    ids = char_rnn.raw_data[len(char_rnn.raw_data) * 9 // 10 :]
    best = int(np.argmin(losses))
    for name, loss in ("newest-2", losses[1]), (f"best-{best + 1}", losses[best]):
        path = str(tmp_path / "before" / name)
        char_rnn.savers["newest"].restore(char_rnn.sess, path)
        again, state = [], np.zeros([1, char_rnn.num_hidden_units])
        for i in range(0, len(ids) - 1, 20):
            window = ids[i : i + 21]
            window = np.pad(window, (0, 21 - len(window)), "edge")[None]
            feed_dict = {char_rnn.X: window[:, :-1], char_rnn.y: window[:, 1:],
                         char_rnn.initial_state: (state,)}
            nats, (state,) = char_rnn.sess.run(
                [char_rnn.losses, char_rnn.final_state], feed_dict)
            again += nats[0].tolist()
        assert abs(np.mean(again[: len(ids) - 1]) - loss) < 1e-4

    fcntl = pytest.importorskip("fcntl", reason="skipped: not on Windows")
    with open(str(saved / "lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        chief = machine("chief", 0, "--num_epochs 9", 0)
        assert_ends(chief, 2, "another run saves in char_rnn_cluster, or nobody can: ")
    chief = machine("chief", 0, "--num_epochs 9", 0)
    assert_ends(chief, 2, "char_rnn_cluster is of other text or flags")


def test_one_worker_learns_what_char_rnn_learns(machine, run, tmp_path):
    """Two more epochs of both, from the first one's network: state, rate and part.

    A worse epoch is not the best, and what a kill left of a save is removed.
    """
    flags = ("--learning_rate 0.01 --decay_rate 0.5 --model lstm --num_batches 30"
             " --batch_size 19")  # 52 windows are two parts alike
    saved = tmp_path / "chief0" / "char_rnn_cluster"

    def train(flags, told="The training has ended"):
        both = [machine(job, 0, flags, 0) for job in ["ps", "chief"]]
        assert_ends(both[1], 0, told)
        assert_ends(both[0], 0)
        with open(str(saved / "settings.json")) as f:
            return json.load(f)["curves"]

    def names():
        return {path.name.partition(".")[0] for path in saved.iterdir()}

    train(flags + " --num_epochs 1")
    shutil.copytree(str(saved), str(tmp_path / "first"))
    curves = train(flags + " --num_epochs 3")
    char_rnn = run("char_rnn.py", "--resume --num_epochs 3 --plot p.png --data text.txt"
                   f" --checkpoint_dir {tmp_path}/first")
    np.testing.assert_allclose(char_rnn.curves["validation"], curves["validation"],
                               atol=1e-4)
    assert np.mean(char_rnn.loss_list) == pytest.approx(curves["training"][2][1], 1e-4)
    assert char_rnn.parts == 2
    steps = char_rnn.windows // 2
    assert names() == {"best", "newest", "checkpoint", "settings", "lock", "best-3",
                       "newest-3", f"checkpoint-{3 * steps}"}

    unfinished = ["newest-7.index", "newest-3.index.tempstate7", "settings.json.part",
                  "best-9.data-00000-of-00001.tempstate77", "best.tmp0a1"]
    for name in [*unfinished, "best.txt"]:
        (saved / name).write_text("")
    curves = train(flags + " --num_epochs 4 --learning_rate 9 --seed 2")
    assert not set(unfinished) & set(os.listdir(str(saved)))
    assert (saved / "best.txt").exists()
    assert curves["validation"][3][1] > curves["validation"][2][1]
    assert {"best-3", "newest-4"} < names()
    train(flags + " --num_epochs 4", "All 4 epochs are done: give more as --num_epochs")


def test_within_an_epoch_too_it_is_saved_and_more_machines_go_on(machine, tmp_path):
    text = (tmp_path / "text.txt").read_text() * 10
    (tmp_path / "text.txt").write_text(text)
    with open(os.path.join(ROOT, SCRIPT), encoding="utf-8") as f:
        at_once = f.read()
    assert at_once.count("saved + 60") == 1
    at_once = at_once.replace("saved + 60", "saved")
    (tmp_path / "script.py").write_text(at_once, encoding="utf-8")
    flags, script = "--num_batches 100 --patience 60", str(tmp_path / "script.py")
    ps, chief, worker = (machine(job, 0, flags, script=script)
                         for job in ["ps", "chief", "worker"])
    worker.wait_for("begins at")
    saved = tmp_path / "chief0" / "char_rnn_cluster" / "checkpoint"
    while not saved.exists() and chief.process.poll() is None:
        time.sleep(0.1)
    assert "Epoch" not in chief.kill()

    chief = machine("chief", 0, flags, 2)
    assert int(chief.wait_for("begins at").split()[-1]) > 0
    assert_ends(worker, 2, "the chief has another text, other flags or another cluster")
    chief.interrupt()
    out = assert_ends(chief, 0, "The training has ended at step")
    ps.wait_for("Staying up to 60 s for machines that have not heard")
    ps.kill()
    ps, chief = (machine(job, 0, flags) for job in ["ps", "chief"])
    begun, ended = int(chief.wait_for("begins at").split()[-1]), int(out.split()[-1])
    windows = [(len(text) * 9 // 10 // machines - 21) // 400 for machines in (2, 3)]
    steps = windows[0] * 2 // 3, windows[1] * 3 // 2  # in an epoch, of 3 and 2 parts
    assert begun == round(ended / steps[1] * steps[0]) != ended


def test_a_worker_is_there_till_the_chief_ends_the_training(machine):
    """Though it has read all: the chief may be lost, and again need who hears of it."""
    ps, chief, worker = (machine(job, 0, f"--num_epochs {epochs}") for job, epochs in [
        ("ps", 1), ("chief", 10000), ("worker", 1)])
    for _ in range(3):
        chief.wait_for("Epoch")
    chief.kill()
    chief = machine("chief", 0, "--num_epochs 10000")
    chief.wait_for("Epoch")
    chief.interrupt()
    for each in chief, worker, ps:
        status, out, err = each.end(100)  # not only when patience has an end
        assert (status, err) == (0, "") and "The training has ended" in out


def test_the_score_is_what_a_single_row_costs():
    """Of something that forgets as a network does, in numpy."""
    random = np.random.RandomState(0)
    inputs, outputs = random.randn(9, 5), random.randn(5, 9)

    def evaluate(batch_X, batch_y, state, rate=0):
        losses = np.zeros(batch_X.shape)
        state = np.zeros([len(batch_X), 5]) if state is None else state
        for t in range(batch_X.shape[1]):
            state = np.tanh(0.8 * state + inputs[batch_X[:, t]])
            logits = state @ outputs
            logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
            losses[:, t] = -logits[np.arange(len(logits)), batch_y[:, t]]
        return losses, state

    for length in 21, 22, 199, 200, 201, 1000, 3001:
        ids = random.randint(9, size=length).astype(np.uint8)
        row = evaluate(ids[None, :-1], ids[None, 1:], None)[0][0]
        for batch_size, num_steps in (1, 20), (7, 20), (50, 20), (50, 13), (3, 150):
            names = {"np": np, "evaluate": evaluate, "batch_size": batch_size,
                     "num_steps": num_steps}
            exec(function("score"), names)
            nats = np.concatenate(list(names["score"](ids)))
            assert len(nats) == length - 1
            assert np.mean(nats) == pytest.approx(np.mean(row), abs=0.003)


def test_a_download_asks_the_proxy(serve, start, tmp_path):
    with open(os.path.join(ROOT, SCRIPT), encoding="utf-8") as f:
        script = re.sub("^url = .*$", 'url = "http://nosuchhost.invalid"', f.read(),
                        flags=re.M)
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    proxy, asked = serve
    chief = start(str(tmp_path / "script.py"), "--data shakespeare", http_proxy=proxy,
                  TF_CONFIG=ALL % '"chief", "index": 0')
    assert_ends(chief, 2, "shakespeare cannot be read: ", "404")
    assert asked == ["http://nosuchhost.invalid/input.txt"]


def test_gradients_are_cut_and_a_proxy_of_the_environment_is_not_asked(machine):
    """To a norm of 1e-9 they vanish beside Adam's epsilon, and nothing is learned."""
    flags = "--num_epochs 1 --learning_rate 0.01 --max_gradient_norm 1e-9"
    proxy = "http://127.0.0.1:1"  # which nobody is to be asked for
    both = [machine(job, 0, flags + " --patience 60", 0, http_proxy=proxy,
                    https_proxy=proxy) for job in ["ps", "chief"]]
    assert epoch_and_loss(both[1].wait_for("Epoch"))[1] > 2  # else below 0.5
    for each in both:
        assert_ends(each, 0)


def test_the_speed_is_that_of_the_epoch(capsys):
    names = {
        "np": np, "start": 3.0,
        "time": SimpleNamespace(perf_counter=lambda: 5.0), "first": 10, "done": 30,
        "batches_an_update": 2, "batch_size": 3, "num_steps": 4, "epoch": 2,
        "loss_list": [2.0], "curves": {"training": [], "validation": []},
        "score": lambda ids: [[1.0, 2.0], [1.5]], "save_network": lambda *_: None,
        "validation": [],
    }
    exec(function("end_epoch"), names)
    names["end_epoch"]()
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
    unknown = "nosuchhost.invalid:2222"
    alone = [machine("ps", 0, "--patience 2"),
             machine("worker", 0, "--patience 8", 2, ps=[unknown])]
    line = alone[1].wait_for(f"Waiting up to 8 s for ps ['{unknown}'] and the chief: ")
    assert re.search(rf": {unknown}: \[Errno -\d\].* name .*, 127\.0\.0\.1:\d+: \["
                     r"Errno \d+\] Connection refused$", line, re.I)
    for each, seconds in zip(alone, "28"):
        assert_ends(each, 1, f"Nothing heard for {seconds} s from ps ['")
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
