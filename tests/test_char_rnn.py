"""char_rnn.py against numpy, finite differences and counting, and as it is run."""
import collections
import contextlib
import hashlib
import io
import os
import random
import re
import runpy
import shutil
import signal
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, is_whole_png, leave_out_the_slow_parts, numpy_cell

SCRIPT = os.path.join(ROOT, "char_rnn.py")
WORDS = ["cafe ", "had\n", "beg ", "dead\n", "abc "]
TEXT = "".join(random.Random(0).choices(WORDS, k=200))[:600]
TINY = ("--data text.txt --plot p.png --num_epochs 1 --batch_size 3 --num_steps 4"
        " --num_hidden_units 5 ")
each_network = pytest.mark.parametrize("model", ["manual", "rnn", "gru", "lstm"])


@pytest.fixture(autouse=True)
def text(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a function that runs a tiny network once; it returns the run's names.

    Unless flags say else, it learns so little that the weights stay as they begin.
    """
    runs = {}

    def train(flags):
        if flags not in runs:
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(tmp_path_factory.mktemp("run"))
                with open("text.txt", "w") as f:
                    f.write(TEXT)
                words = "--learning_rate 1e-9 --max_gradient_norm 0.02 --model " + flags
                patch.setattr(sys, "argv", [SCRIPT, *(TINY + words).split()])
                leave_out_the_slow_parts(patch)
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    names = runpy.run_path(SCRIPT)
                runs[flags] = SimpleNamespace(
                    **names, out=out.getvalue(), home=os.getcwd())
        return runs[flags]

    return train


# A run of three epochs, with all that draws numbers.
LONG = ("lstm --num_epochs 3 --dropout 0.3 --average_decay 0.9 --learning_rate 0.01"
        " --decay_rate 0.5 --logdir log --prime ab")


# --- Against the equations ---
def equations(model, weights, X, state):
    """Return logits [rows, steps, classes], state [layers, vectors, rows, units]."""
    weights = list(weights)
    embedding = None if model == "manual" else weights.pop(0)
    W_softmax, b_softmax = weights[-2:]
    per_layer = {"manual": 3, "rnn": 2, "gru": 4, "lstm": 2}[model]
    logits, state = [], np.array(state, float)
    for chars in X.T:
        x = np.eye(len(b_softmax))[chars] if embedding is None else embedding[chars]
        for layer in range(len(state)):
            w = weights[layer * per_layer : (layer + 1) * per_layer]
            if model == "manual":
                state[layer, -1] = np.tanh(x @ w[0] + state[layer, -1] @ w[1] + w[2])
            else:
                state[layer] = numpy_cell(model, w, x, state[layer])
            x = state[layer, -1]
        logits.append(x @ W_softmax + b_softmax)
    return np.stack(logits, 1), state


def zero_state(model, rows=3, units=5, layers=2):
    return np.zeros((layers, 2 if model == "lstm" else 1, rows, units))


def cross_entropies(logits, y):
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    return -np.log(np.take_along_axis(p, y[..., None], -1))[..., 0]


def values(run):
    return [np.array(w, float) for w in run.sess.run(run.trainable_vars)]


def load(run, weights):
    for variable, w in zip(run.trainable_vars, weights):
        variable.load(w, run.sess)


def gradients(run, feed):
    with run.sess.graph.as_default():
        found = run.tf.gradients(run.total_loss, run.trainable_vars)
        return run.sess.run([run.tf.convert_to_tensor(each) for each in found], feed)


@each_network
def test_losses_states_and_gradients_are_those_of_the_equations(trained, model):
    """The state is carried on in training; gradients are by finite differences."""
    run = trained(model)
    weights, state, known = values(run), zero_state(model), []
    for X, y in run.batches:
        logits, state = equations(model, weights, X, state)
        known.append(cross_entropies(logits, y).mean())
    assert run.loss_list == pytest.approx(known, abs=1e-4)
    assert np.abs(np.diff(known)).max() > 1e-5
    ids = run.validation[np.newaxis]
    logits, _ = equations(model, weights, ids[:, :-1], zero_state(model, rows=1))
    validation = cross_entropies(logits, ids[:, 1:]).mean()
    assert run.validation_loss == pytest.approx(validation, abs=1e-5)
    assert (f"Epoch  1  training {np.mean(run.loss_list):.4f} nats  validation"
            f" {run.validation_loss:.4f} nats\n") in run.out

    X, y = np.random.RandomState(1).randint(10, size=(2, 3, 4))
    feed = dict(zip(run.tf.nest.flatten(run.initial_state), state.reshape(-1, 3, 5)))
    found = gradients(run, {**feed, run.X: X, run.y: y})
    for which, w in enumerate(weights):
        for idx in np.random.RandomState(which).choice(w.size, 3, replace=False):
            slope = 0
            for way in (1e-5, -1e-5):
                w.flat[idx] += way
                logits, _ = equations(model, weights, X, state)
                slope += cross_entropies(logits, y).mean() / way
                w.flat[idx] -= way
            assert np.ravel(found[which])[idx] == pytest.approx(slope / 2, abs=1e-5)


def test_training_is_adam_with_gradients_cut_to_a_norm(trained):
    """From where the run has arrived: weights, both of Adam's means, and its steps."""
    run = trained("gru")
    m, v = [[np.array(run.sess.run(run.optimizer.get_slot(w, slot)), float)
             for w in run.trainable_vars] for slot in "mv"]
    before, weights = values(run), values(run)
    done = int(run.sess.run(run.global_step))
    assert done == len(run.batches)
    for step in range(done + 1, done + 6):
        X, y = np.random.RandomState(step).randint(10, size=(2, 3, 4))
        g = gradients(run, {run.X: X, run.y: y})
        norm = np.sqrt(sum(np.sum(np.square(each, dtype=float)) for each in g))
        assert norm > 0.02
        g = [g * 0.02 / norm for g in g]
        m = [0.9 * m + 0.1 * g for m, g in zip(m, g)]
        v = [0.999 * v + 0.001 * g * g for v, g in zip(v, g)]
        rate = 0.1 / step * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        weights = [w - rate * m / (np.sqrt(v) + 1e-8) for w, m, v in zip(weights, m, v)]
        run.step(X, y, None, 0.1 / step)
        for found, known in zip(values(run), weights):
            np.testing.assert_allclose(found, known, atol=1e-4)
    load(run, before)


# --- Writing and scoring ---
@each_network
def test_the_prime_is_read_the_likeliest_written_and_all_is_scored_as_one_row(
        trained, model):
    """At temperature 0, with weights that remember more and let the likeliest lead."""
    run = trained(model)
    before, state = values(run), zero_state(model, rows=1)
    weights = [2 * w for w in before]
    load(run, weights)
    chars = [run.vocabulary.index(char) for char in "bca"]
    for i in range(2 + 60):
        logits, state = equations(model, weights, np.array([[chars[i]]]), state)
        if i >= 2:
            chars.append(logits[0, 0].argmax())
    known = "".join(run.vocabulary[idx] for idx in chars)
    assert run.sample(60, "bca", 0) == known

    ids = np.random.RandomState(0).randint(10, size=3300)  # cut into four rows
    single_row, _ = run.read(np.append(ids, 0)[np.newaxis])
    assert run.score(ids) == pytest.approx(single_row[0, :3299].mean(dtype=float), 1e-7)
    load(run, before)


def test_characters_are_drawn_as_often_as_softmax_says(trained):
    """The limit is chi-square's at 0.001 for 9 degrees of freedom."""
    run = trained("rnn")
    before, b = values(run), np.linspace(-1, 1, 10)
    load(run, [0 * w for w in before[:-1]] + [b])
    chars = run.sample(4000, "ab", temperature=0.7, seed=7)[2:]
    expected = 4000 * np.exp(b / 0.7) / np.exp(b / 0.7).sum()
    counts = np.array([chars.count(char) for char in run.vocabulary])
    assert np.sum((counts - expected) ** 2 / expected) < 27.88
    assert len({chars[i : i + 50] for i in range(3950)}) == 3950  # no noise comes twice
    texts = run.sample(99), run.sample(99), run.sample(99, seed=8)
    assert len(set(texts)) == 3 and run.sample(99, seed=8) == texts[2]
    load(run, before)


# --- The text ---
def test_windows_tile_the_text_and_counting_counts_it(trained):
    run = trained("gru")
    batches = list(run.generate_batch(np.arange(101)))  # 3 rows of 33
    assert {X.shape for X, _ in batches} == {(3, 4)}
    X = np.hstack([X for X, _ in batches])
    np.testing.assert_array_equal(X, [np.arange(i, i + 32) for i in (0, 33, 66)])
    np.testing.assert_array_equal(np.hstack([y for _, y in batches]), X + 1)

    first, last = TEXT[:540], TEXT[540:]
    ones = collections.Counter(first[:-1])
    twos = collections.Counter(zip(first, first[1:]))
    p1 = [(ones[c] + 1) / (539 + 10) for c in last]
    p2 = [(twos[a, b] + 1) / (ones[a] + 10) for a, b in zip(last, last[1:])]
    known = {"guessing": np.log(10), "single characters": -np.log(p1).mean(),
             "pairs": -np.log(p2).mean()}
    assert run.baselines == pytest.approx(known)
    legend = [each.get_text() for each in run.axes.get_legend().get_texts()]
    assert legend[2:] == [f"{name}: {loss:.2f}" for name, loss in known.items()]
    for line, (name, loss) in zip(run.axes.lines[2:], known.items()):
        assert line.get_ydata()[0] == pytest.approx(loss)
        assert f"{name:18}{loss:.4f} nats" in run.out
    X, y = re.findall(r"^The first [Xy] begins with (.+): ([\d ]+)$", run.out, re.M)
    for (told, ids), expected in [(X, TEXT[:4]), (y, TEXT[1:5])]:
        assert told == repr(expected)
        assert "".join(run.vocabulary[int(idx)] for idx in ids.split()) == expected


def test_the_picture_shows_the_curves_and_what_it_writes(trained):
    run = trained("gru")
    for line, curve in zip(run.axes.lines, run.curves.values()):
        np.testing.assert_array_equal(np.transpose(line.get_data()), curve)
    assert [line.get_label() for line in run.axes.lines[:2]] == list(run.curves)
    texts = run.picture.figure.texts
    for temperature, page in run.pages.items():
        title = texts[texts.index(page) - 1].get_text()
        assert f"t temperature {temperature:g}: " in title
        shown = page.get_text().split()
        written = run.sample(600, temperature=temperature, seed=run.seed)
        assert shown[:-1] == written.split()[: len(shown) - 1] != []
    lines = run.beginnings_page.get_text().split("\n")
    told = [float(line[:5]) for line in lines]
    assert told == sorted(set(told)) and (told[0], told[-1], len(told)) == (0, 1, 10)
    safe = " ".join(run.pages[0.5].get_text().split())[:72]
    assert lines[-1][7:] == safe and f"  | {safe}\n" in run.out


def test_shakespeare_is_downloaded_once_and_then_used_where_it_lies(
        run, refused, serve, tmp_path, monkeypatch, capsys):
    """The script is a copy in which the address and the digest are others."""
    url, asked = serve
    (tmp_path / "served" / "input.txt").write_text(TEXT)
    with open(SCRIPT, encoding="utf-8") as f:
        script = f.read()
    sha256 = hashlib.sha256(TEXT.encode()).hexdigest()
    for name, value in [("url", url[:-1]), ("sha256", sha256)]:
        script = re.sub(f"^{name} = .*$", f'{name} = "{value}"', script, flags=re.M)
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    flags = ["--data", "shakespeare", "--prime", "Ω", "--num_steps", "2"]
    with pytest.raises(SystemExit):
        run(str(tmp_path / "script.py"), flags)
    assert (tmp_path / "data" / "shakespeare.txt").read_text() == TEXT
    capsys.readouterr()
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # a folder of others
    told = refused(str(tmp_path / "script.py"), flags)
    assert "the vocabulary has no 'Ω'" in told and asked == ["/input.txt"]
    os.rename("served", "moved")
    shutil.rmtree("data")
    with pytest.raises(SystemExit, match="2"):
        run(str(tmp_path / "script.py"), flags)
    err = capsys.readouterr().err
    assert url in err and err.count("\n") == 1


def test_a_users_text_is_no_markup_and_signs_the_font_lacks_do_not_warn(run, tmp_path):
    letters = "$a$ $$ \\x_ 中文字符 שלום 🙂\r\n"
    (tmp_path / "text.txt").write_bytes(b"\xef\xbb\xbf" + (letters * 40).encode())
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        names = run("char_rnn.py", TINY + "--model manual --num_layers 1", whole=True)
    assert not [each for each in warned if "lyph" in str(each.message)]
    assert is_whole_png("p.png")
    known = letters.replace("\r", "") * 40  # neither the mark nor Windows' line ends
    assert "".join(names.vocabulary[idx] for idx in names.raw_data) == known
    shown = names.beginnings_page.get_text() + names.pages[1.0].get_text()
    assert "$" in shown and "字" in shown


# --- Training ---
def test_dropout_hides_its_part_in_training_only(trained):
    run = trained(LONG)
    sess, tf = run.sess, run.tf
    with sess.graph.as_default():
        x = tf.constant(np.random.RandomState(0).normal(size=(4000, 5)), tf.float32)
        pairs = [(hiding(x, cell.zero_state(4000, tf.float32))[0],
                  cell(x, cell.zero_state(4000, tf.float32))[0])
                 for hiding, cell in zip(run.learning_cells, run.cells)]
    for hidden, whole in sess.run(pairs, {run.dropout_rate: 0.3}):
        assert np.mean(hidden == 0) == pytest.approx(0.3, abs=0.015)  # 4.6 deviations
        kept = hidden != 0
        np.testing.assert_allclose(hidden[kept], whole[kept] / 0.7, rtol=1e-5)
    keys = {each[2] for each in sess.run([g.state for g in run.generators])}
    assert len(keys) == 2  # each layer draws its own

    X = np.random.RandomState(0).randint(10, size=(3, 4))
    steps = sess.run(run.outputs, {run.X: X, run.dropout_rate: 0.3}).swapaxes(0, 1) == 0
    assert len({step.tobytes() for step in steps}) > 1  # each step draws anew
    assert len({run.step(X, X, None, 1e-9)[0] for _ in range(4)}) == 4
    assert run.score(X[0]) == run.score(X[0])


def test_each_epoch_has_its_rate_and_cut_and_averages_are_validated_and_the_best(
        trained, monkeypatch):
    run = trained(LONG)
    monkeypatch.chdir(run.home)
    assert run.rate == 0.01 * 0.5**2 and run.cut > 0 and len(run.batches) == 44
    read = np.hstack([X for X, _ in run.batches])
    np.testing.assert_array_equal(read[0], run.training[run.cut :][: 44 * 4])
    assert run.curves["validation"][-1] == [3, run.validation_loss]
    assert run.curves["training"][-1] == [3, np.mean(run.loss_list[-20:])]
    assert run.validation_loss < run.baselines["single characters"]

    run.restore("newest", 3)
    before, averages = values(run), run.sess.run(run.averages)
    assert not np.allclose(before[0], averages[0], atol=1e-3)
    run.step(*run.batches[0], None, 0.1)
    for w, average, found in zip(before, averages, run.sess.run(run.averages)):
        np.testing.assert_allclose(found, 0.9 * average + 0.1 * w, atol=1e-3)
    run.restore("best", run.best()[0])
    for found, average in zip(values(run), run.sess.run(run.averages)):
        np.testing.assert_array_equal(found, average)
    assert run.score(run.validation) == pytest.approx(run.best()[1], abs=1e-9)


# --- Checkpoints ---
def test_killed_while_it_saves_it_goes_on_as_if_it_had_never_stopped(
        trained, run, tmp_path, monkeypatch, capsys):
    """In the second epoch, at three moments; with dropout and averages, bit for bit."""
    whole = trained(LONG)
    saver = whole.tf.train.Saver

    def killed_before(*_, **__):
        raise SystemExit("killed")

    def killed_after(function):
        def call(*args, **kwargs):
            function(*args, **kwargs)
            killed_before()
        return call

    run("char_rnn.py", f"{TINY} --max_gradient_norm 0.02 --model {LONG} --num_epochs 1")
    for where, name, killed in [(saver, "save", killed_after(saver.save)),
                                (os, "replace", killed_before),
                                (os, "replace", killed_after(os.replace))]:
        with monkeypatch.context() as patch, pytest.raises(SystemExit, match="killed"):
            patch.setattr(where, name, killed)
            run("char_rnn.py", "--resume --num_epochs 3 --plot p.png")
    parts = run("char_rnn.py", "--resume --num_epochs 3 --plot p.png")
    assert parts.first_epoch == 2 and parts.checkpoint_dir == "char_rnn_1"
    assert parts.curves == whole.curves
    for found, known in zip(parts.sess.run(parts.saved_variables),
                            whole.sess.run(whole.saved_variables)):
        np.testing.assert_array_equal(found, known)

    shutil.move("char_rnn_1", "moved")
    os.remove("text.txt")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run("char_rnn.py", "--sample 300 --temperature 0.5 --checkpoint_dir moved")
    assert capsys.readouterr().out == whole.sample(300, "ab", 0.5, seed=1) + "\n"


def test_ctrl_c_says_what_is_kept_and_the_session_holds_the_best(
        run, monkeypatch, capsys):
    """At a decay_rate of 400 the newest is not the best."""
    import tensorflow.compat.v1 as tf

    steps, session_run = [], tf.Session.run

    def interrupted(sess, fetches, feed_dict=None, **kwargs):
        if feed_dict and len(feed_dict) >= 4:  # it learns
            steps.append(1)
            if len(steps) in (9, 9 + 3 * 44 + 9):
                os.kill(os.getpid(), signal.SIGINT)
        return session_run(sess, fetches, feed_dict, **kwargs)

    monkeypatch.setattr(tf.Session, "run", interrupted)
    flags = TINY + "--num_epochs 4 --decay_rate 400 --model manual"
    run("char_rnn.py", flags)
    assert "No network is kept: the first epoch has not" in capsys.readouterr().out
    assert os.listdir(".") == ["text.txt"]

    names = run("char_rnn.py", flags)
    out = capsys.readouterr().out
    assert ("Kept in char_rnn_1: the best network, after epoch 1, and the newest, after"
            " epoch 3. The best writes:\n") in out
    losses = [loss for _, loss in names.curves["validation"]]
    assert losses[0] < min(losses[1:]) - 0.01
    assert names.score(names.validation) == pytest.approx(losses[0], abs=1e-9)
    with pytest.raises(SystemExit):
        run("char_rnn.py", "--sample 500")
    written = capsys.readouterr().out[:-1]
    assert out.endswith("  | " + written.replace("\n", "\n  | ") + "\n")


def test_each_run_has_a_folder_and_what_is_wrong_gets_one_line(run, refused, tmp_path):
    (tmp_path / "latin").write_bytes(TEXT.replace("a", "ä").encode("latin-1"))
    (tmp_path / "short").write_text("abc\n")
    for flags, words in [("--data latin", "--data latin: 'utf-8' codec can't decode"),
                         ("--data short", "4 characters are too few for --batch_size"),
                         ("--data away", "--data away: [Errno 2] No such file"),
                         ("--sample 9", "this folder holds no saved run")]:
        assert words in refused("char_rnn.py", flags)
    run("char_rnn.py", TINY)
    os.mkdir("char_rnn_2")  # by another run, which has just begun
    assert run("char_rnn.py", TINY + "--seed 2").checkpoint_dir == "char_rnn_3"
    shutil.copytree("char_rnn_1", "char_rnn_cluster")
    os.utime("char_rnn_cluster/settings.json", (2**31, 2**31))  # another script's
    for name in "half", "lost":
        shutil.copytree("char_rnn_1", name)
    (tmp_path / "half" / "settings.json").write_text('{"flags": {')
    (tmp_path / "lost" / "best-1.index").unlink()
    for flags, words in [
        ("--sample 9 --num_hidden_units 6", "char_rnn_3 has --num_hidden_units 5"),
        ("--resume --data short", "char_rnn_3 has --data text.txt"),
        ("--resume", "1 epochs are done: give more as --num_epochs"),
        ("--sample 9 --prime abZ", "the vocabulary has no 'Z'"),
        (TINY + "--checkpoint_dir char_rnn_1", "char_rnn_1 holds a run: --resume"),
        ("--sample 9 --checkpoint_dir char_rnn_2", "char_rnn_2 holds no saved run"),
        ("--resume --checkpoint_dir half", "half holds no saved run: Expecting"),
        ("--sample 9 --checkpoint_dir lost", "lost/best-1 cannot be loaded: "),
    ]:
        assert words in refused("char_rnn.py", flags)
    names = run("char_rnn.py", TINY + "--checkpoint_dir new --model manual")
    assert names.checkpoint_dir == "new" and os.path.exists("new/settings.json")
