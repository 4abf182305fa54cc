"""char_rnn.py against numpy, finite differences and counting, and as it is run."""
import collections
import glob
import hashlib
import os
import random
import re
import runpy
import shutil
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, numpy_cell

SCRIPT = os.path.join(ROOT, "char_rnn.py")
TEXT = "".join(random.Random(0).choices("abcde fgh\n", k=600))
TINY = ("--data text.txt --plot p.png --num_epochs 1 --batch_size 3 --num_steps 4"
        " --num_hidden_units 5 ")
each_network = pytest.mark.parametrize("model", ["manual", "rnn", "gru", "lstm"])


@pytest.fixture(autouse=True)
def text(tmp_path):
    (tmp_path / "text.txt").write_bytes(TEXT.encode())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a function that trains a tiny network once; it returns the run's names."""
    runs = {}

    def train(model):
        if model not in runs:
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(tmp_path_factory.mktemp("run"))
                with open("text.txt", "w") as f:
                    f.write(TEXT)
                flags = (TINY + "--temperature 0 --prime bca --model " + model).split()
                patch.setattr(sys, "argv", [SCRIPT, *flags])
                runs[model] = SimpleNamespace(**runpy.run_path(SCRIPT))
        return runs[model]

    return train


# --- Against the equations ---
def equations(model, weights, X, state):
    """Return logits [rows, steps, classes] and the state, of all layers, from numpy.

    state: [layers, vectors of a layer, rows, units].
    """
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
                x = np.tanh(x @ w[0] + state[layer, -1] @ w[1] + w[2])
                state[layer, -1] = x
            else:
                state[layer] = numpy_cell(model, w, x, state[layer])
                x = state[layer, -1]
        logits.append(x @ W_softmax + b_softmax)
    return np.stack(logits, 1), state


def zero_state(model, rows=3, units=5, layers=2):
    return np.zeros((layers, 2 if model == "lstm" else 1, rows, units))


def cross_entropy(logits, y):
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    return -np.log(np.take_along_axis(p, y[..., None], -1)).mean()


def windows(seed, shape=(3, 4)):
    """Return an X and a y that have nothing to do with each other."""
    return np.random.RandomState(seed).randint(10, size=(2, *shape))


def values(run):
    return [np.array(w, float) for w in run.sess.run(run.trainable_vars)]


def gradients(run, feed):
    """Return the gradients, and their norm, in which embeddings count row by row."""
    with run.sess.graph.as_default():
        rows = run.tf.gradients(run.total_loss, run.trainable_vars)
        whole = [run.tf.convert_to_tensor(g) for g in rows]
        return run.sess.run([whole, run.tf.global_norm(rows)], feed)


@each_network
def test_losses_states_and_gradients_are_those_of_the_equations(trained, model):
    run = trained(model)
    weights, state, known = values(run), None, zero_state(model)
    for seed in range(3):
        X, y = windows(seed)
        before = known
        loss, state = run.step(X, y, state)
        logits, known = equations(model, weights, X, known)
        assert loss == pytest.approx(cross_entropy(logits, y), abs=1e-5)
        flat = np.array(run.tf.nest.flatten(state)).reshape(known.shape)
        np.testing.assert_allclose(flat, known, atol=1e-5)

    start = run.tf.nest.flatten(run.initial_state)
    feed = dict(zip(start, before.reshape(-1, 3, 5)))
    feed.update({run.X: X, run.y: y})
    found, _ = gradients(run, feed)
    for which, w in enumerate(weights):
        for idx in np.random.RandomState(which).choice(w.size, 3, replace=False):
            slope = 0
            for way in (1e-5, -1e-5):
                w.flat[idx] += way
                slope += cross_entropy(equations(model, weights, X, before)[0], y) / way
                w.flat[idx] -= way
            assert np.ravel(found[which])[idx] == pytest.approx(slope / 2, abs=1e-5)


@each_network
def test_the_prime_is_read_and_at_temperature_0_the_likeliest_written(trained, model):
    run = trained(model)
    weights, state = values(run), zero_state(model, rows=1)
    chars = [run.vocabulary.index(char) for char in "bca"]
    for i in range(2 + 500):
        logits, state = equations(model, weights, np.array([[chars[i]]]), state)
        if i >= 2:
            chars.append(logits[0, 0].argmax())
    known = "".join(run.vocabulary[idx] for idx in chars)
    assert run.written == run.sample() == known
    operations = len(run.sess.graph.get_operations())
    assert run.sample(20) == known[:23]
    assert len(run.sess.graph.get_operations()) == operations  # no new ones


def test_training_is_adam_with_gradients_cut_to_a_norm(trained):
    run = trained("gru --max_gradient_norm 0.02 --average_decay 0.9")
    with run.sess.graph.as_default():
        run.sess.run(run.tf.global_variables_initializer())
    weights = averages = values(run)
    m = v = [np.zeros_like(w) for w in weights]
    for step in range(1, 6):
        X, y = windows(step)
        g, norm = gradients(run, {run.X: X, run.y: y})
        assert norm > 0.02
        g = [g * 0.02 / norm for g in g]
        decay = min(0.9, step / (9 + step))
        averages = [decay * a + (1 - decay) * w for a, w in zip(averages, weights)]
        m = [0.9 * m + 0.1 * g for m, g in zip(m, g)]
        v = [0.999 * v + 0.001 * g * g for v, g in zip(v, g)]
        rate = 0.01 / step * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        weights = [w - rate * m / (np.sqrt(v) + 1e-8) for w, m, v in zip(weights, m, v)]
        run.step(X, y, None, 0.01 / step)
        for found, known in zip(values(run), weights):
            np.testing.assert_allclose(found, known, atol=1e-4)
    run.swap_averages()
    for found, known in zip(values(run), averages):
        np.testing.assert_allclose(found, known, atol=1e-4)
    assert not np.allclose(weights[0], averages[0], atol=1e-3)
    run.swap_averages()
    np.testing.assert_allclose(values(run)[0], weights[0], atol=1e-4)


def test_numpy_equals_section_IV_and_so_the_equations(trained):
    run = trained("manual --num_layers 1 --batch_size 1 --num_steps 9")
    numbers = np.random.RandomState(0)
    for w in run.weights:
        w[:] = numbers.normal(0, 0.5, w.shape)
    X, y = windows(1, (1, 9))
    hprev = numbers.uniform(-1, 1, (5, 1))
    loss, xs, hs, ps = run.forward_pass(X[0], y[0], hprev)
    found = run.backward_pass(y[0], xs, hs, ps)
    Wxh, Whh, Why, bh, by = (w.T for w in run.weights)
    for variable, w in zip(run.trainable_vars, [Wxh, Whh, bh, Why, by]):
        variable.load(w.reshape(variable.shape), run.sess)
    feed = {run.X: X, run.y: y, run.initial_state[0]: hprev.T}
    state, known = run.sess.run([run.final_state, run.total_loss], feed)
    assert known == pytest.approx(loss / 9, abs=1e-5)
    np.testing.assert_allclose(state[0], hs[8].T, atol=1e-5)
    for a, b in zip(gradients(run, feed)[0], [found[i] for i in (0, 1, 3, 2, 4)]):
        np.testing.assert_allclose(a, b.T.reshape(a.shape) / 9, atol=1e-5)


def test_numpy_learns_by_adagrad_and_validates_from_where_training_has_arrived(run):
    flags = "--num_epochs 1 --num_hidden_units 6 --data text.txt --plot p.png"
    names = run("char_rnn.py", flags + " --model numpy --learning_rate 1e-9")
    assert not names.tf.global_variables()
    state, losses = None, []
    for X, y in names.generate_batch(names.training):  # the weights have hardly moved
        _, state = names.numpy_step(X, y, state, 0)
    for X, y in names.generate_batch(names.validation):
        loss, state = names.numpy_step(X, y, state, 0)
        losses.append(loss)
    assert names.validation_loss == pytest.approx(np.mean(losses), abs=1e-9)

    X, y = windows(2, (1, 25))
    for w, mem in zip(names.weights, names.memory):
        w *= 300  # for gradients above 5
        mem[:] = 0
    for _ in range(2):
        before = [(w.copy(), mem.copy()) for w, mem in zip(names.weights, names.memory)]
        loss, xs, hs, ps = names.forward_pass(X[0], y[0], np.zeros((6, 1)))
        all_dw = names.backward_pass(y[0], xs, hs, ps)
        assert max(np.abs(dw).max() for dw in all_dw) > 5
        assert names.numpy_step(X, y, None, 0.1)[0] == pytest.approx(loss / 25)
        for (w, mem), new, dw in zip(before, names.weights, all_dw):
            dw = np.clip(dw, -5, 5)
            known = w - 0.1 * dw / np.sqrt(mem + dw * dw + 1e-8)
            np.testing.assert_allclose(new, known, atol=1e-12)


@pytest.mark.parametrize("model", ["numpy", "gru"])
@pytest.mark.parametrize("top_k, limit", [(4, 16.27), (1000, 27.88)])
def test_characters_are_drawn_as_often_as_softmax_says(run, model, top_k, limit):
    """The limits are chi-square's at 0.001 for 3 and for 9 degrees of freedom."""
    flags = "--num_epochs 1 --num_steps 5 --batch_size 1 --num_layers 1 --plot p.png"
    names = run("char_rnn.py", flags + f" --data text.txt --temperature 0.7"
                f" --model {model} --top_k {top_k}")
    b = np.linspace(-1, 1, 10)
    if model == "numpy":
        names.Why[:], names.by[:] = 0, b[:, None]
    else:
        for w in names.trainable_vars:
            w.load(np.zeros(w.shape), names.sess)
        names.trainable_vars[-1].load(b, names.sess)
    chars = names.sample(4000)[1:]
    p = np.exp(b / 0.7) * (b >= np.sort(b)[-min(top_k, 10)])
    expected = 4000 * p / p.sum()
    counts = np.array([chars.count(char) for char in names.vocabulary])
    assert counts[expected == 0].sum() == 0
    counts, expected = counts[expected > 0], expected[expected > 0]
    assert np.sum((counts - expected) ** 2 / expected) < limit


def test_windows_tile_the_text_and_counting_counts_it(trained):
    batches = list(trained("gru").generate_batch(np.arange(101)))  # 3 rows of 33
    X = np.hstack([X for X, _ in batches])
    assert X.shape == (3, 32)
    np.testing.assert_array_equal(X, [np.arange(i, i + 32) for i in (0, 33, 66)])
    np.testing.assert_array_equal(np.hstack([y for _, y in batches]), X + 1)

    first, last = TEXT[:540], TEXT[540:]
    ones = collections.Counter(first)
    twos = collections.Counter(zip(first, first[1:]))
    starts = collections.Counter(first[:-1])
    p1 = [(ones[c] + 1) / (540 + 10) for c in last]
    p2 = [(twos[a, b] + 1) / (starts[a] + 10) for a, b in zip(last, last[1:])]
    known = [np.log(10), -np.log(p1).mean(), -np.log(p2).mean()]
    assert list(trained("gru").baselines.values()) == pytest.approx(known)


def test_5000_characters_a_mark_and_windows_line_ends(run, tmp_path):
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 5000))) + "😀\n"
    (tmp_path / "text.txt").write_bytes(
        b"\xef\xbb\xbf" + (letters * 2).replace("\n", "\r\n").encode())
    names = run("char_rnn.py", TINY + "--model manual")
    assert names.vocabulary == "".join(sorted(letters))
    assert "".join(names.vocabulary[i] for i in names.raw_data) == letters * 2


def test_shakespeare_is_downloaded_once(run, refused, serve, tmp_path, capsys):
    """The script is a copy in which the address and the digest are others."""
    url, asked = serve
    (tmp_path / "served" / "input.txt").write_bytes(TEXT.encode())
    with open(SCRIPT, encoding="utf-8") as f:
        script = f.read()
    sha256 = hashlib.sha256(TEXT.encode()).hexdigest()
    for name, value in [("url", url[:-1]), ("sha256", sha256)]:
        script = re.sub(f"^{name} = .*$", f'{name} = "{value}"', script, flags=re.M)
    (tmp_path / "copy.py").write_text(script, encoding="utf-8")
    flags = ["--data", "shakespeare", "--prime", "Ω", "--num_steps", "2"]
    with pytest.raises(SystemExit):
        run(str(tmp_path / "copy.py"), flags)
    assert (tmp_path / "data" / "shakespeare.txt").read_bytes() == TEXT.encode()
    capsys.readouterr()
    assert "--prime: {'Ω'} not in the text" in refused(str(tmp_path / "copy.py"), flags)
    assert asked == ["/input.txt"]


# --- Training ---
def test_dropout_hides_in_training_only_and_is_the_same_twice(run):
    flags = TINY + "--model lstm --dropout 0.3 --input_dropout 0.1"
    first, second = run("char_rnn.py", flags), run("char_rnn.py", flags)
    assert first.curves == second.curves
    assert first.written == second.written
    X, y = windows(0)
    weights = values(second)
    known = equations("lstm", weights, X, zero_state("lstm"))[0]
    for _ in range(2):
        assert second.step(X, y)[0] == pytest.approx(cross_entropy(known, y), abs=1e-5)
    assert len({float(second.step(X, y, None, 1e-9)[0]) for _ in range(4)}) == 4


def test_the_validation_is_of_every_window_with_averages_and_rates_decay(trained):
    run = trained("rnn --average_decay 0.9 --num_epochs 2 --decay_rate 0.5")
    assert run.rate == run.learning_rate / 2
    run.swap_averages()
    weights = values(run)
    rows = [run.validation[i : i + 19 * 3].reshape(3, 19)[:, :16] for i in (0, 1)]
    logits, _ = equations("rnn", weights, rows[0], zero_state("rnn"))
    known = cross_entropy(logits, rows[1])
    run.swap_averages()
    assert run.validation_loss == pytest.approx(known, abs=1e-5)
    assert run.curves["validation"][-1] == [2, run.validation_loss]
    assert run.curves["training"][-1] == [2, np.mean(run.loss_list[-20:])]


@pytest.mark.parametrize("flags", ["--num_steps 20", "--num_steps 150",
                                   "--num_steps 150 --average_decay 0.9"])
def test_what_is_not_finite_is_not_saved(run, tmp_path, flags):
    """150 steps a row are one batch: its loss is finite, the weights after it not."""
    (tmp_path / "text.txt").write_text(TEXT * 3)
    flags += " --data text.txt --plot p.png --batch_size 10 --learning_rate 1e39"
    with pytest.raises(SystemExit, match="try a smaller --learning_rate"):
        run("char_rnn.py", flags)
    assert os.listdir("char_rnn_1") == []


@pytest.mark.parametrize(
    "model, most",  # the worst of 5 seeds on both TensorFlows, and 0.08 nats
    [("numpy", 3.18), ("manual", 2.77), ("rnn", 2.6), ("gru", 2.74), ("lstm", 3.13)],
)
def test_it_learns_from_the_manual(run, tmp_path, model, most):
    """Counting single characters reaches 3.2 nats."""
    import pydoc_data.topics

    flags, length = "", 30000
    if model != "numpy":
        flags, length = "--num_hidden_units 64 --batch_size 20 --num_steps 20", 100000
    text = "\n".join(pydoc_data.topics.topics.values())[:length]
    (tmp_path / "text.txt").write_bytes(text.encode())
    flags += f" --data text.txt --plot p.png --num_epochs 1 --model {model}"
    assert run("char_rnn.py", flags).validation_loss < most


# --- Checkpoints ---
@pytest.mark.parametrize("model", ["lstm --average_decay .9", "manual --decay_rate 40"])
def test_going_on_equals_never_having_stopped_and_the_best_writes(run, capsys, model):
    """At decay_rate 40 updates get wilder: the last epoch is not the best."""
    flags = TINY + f"--model {model} --prime ab"
    whole = run("char_rnn.py", flags + " --num_epochs 3 --checkpoint_dir whole")
    texts = capsys.readouterr().out.split("Epoch ")[1:]
    run("char_rnn.py", flags)
    shutil.copy("whole/settings.json", "char_rnn_1")  # ahead of it, as after a kill
    parts = run("char_rnn.py", "--resume --num_epochs 3 --plot p.png --prime ab")
    assert (parts.first_epoch, parts.checkpoint_dir) == (1, "char_rnn_1")
    assert parts.curves == whole.curves
    assert parts.written == whole.written
    assert sorted(os.listdir("whole")) == sorted(os.listdir("char_rnn_1"))
    assert len(glob.glob("whole/*.index")) == 2
    shutil.move("char_rnn_1", "moved")
    os.remove("text.txt")
    losses = [loss for _, loss in whole.curves["validation"]]
    best = int(np.argmin(losses))
    assert best < 2 or model.startswith("lstm")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run("char_rnn.py", "--sample 500 --prime ab --checkpoint_dir moved")
    out = capsys.readouterr().out
    written = "".join("  | " + line for line in out.splitlines(True))
    assert texts[best].partition("\n")[2].startswith(written)


def test_a_run_never_touches_another_and_says_what_differs(run, refused, capsys):
    run("char_rnn.py", TINY)
    run("char_rnn.py", TINY + "--seed 2")
    assert sorted(glob.glob("char_rnn_*")) == ["char_rnn_1", "char_rnn_2"]
    os.mkdir("char_rnn_3")  # as of a run killed in its first epoch
    with open("other.txt", "w") as f:
        f.write("xyz" * 999)
    capsys.readouterr()
    for flags, words in [
        ("--sample 9 --num_hidden_units 6", "char_rnn_2 has --num_hidden_units 5"),
        ("--resume --model lstm --num_epochs 2", "char_rnn_2 has --model gru"),
        ("--sample 9 --model numpy", "char_rnn_2 has --model gru"),
        ("--resume", "1 epochs are done: give more as --num_epochs"),
        ("--sample 9 --prime abZ", "--prime: {'Z'} not in the text"),
        ("--resume --num_epochs 3 --data other.txt", "is not the text of char_rnn_2"),
        ("--data text.txt --checkpoint_dir char_rnn_1", "holds already a saved run"),
        ("--sample 9 --checkpoint_dir char_rnn_3", "char_rnn_3 holds no saved run"),
    ]:
        assert words in refused("char_rnn.py", flags)


def test_killed_at_any_moment_it_goes_on(start, run, capsys):
    flags, epochs = TINY + "--learning_rate 1e-6", [0]
    for _ in range(5):
        process = start("char_rnn.py", flags + " --num_epochs 100000")
        process.wait_for("Epoch")
        time.sleep(random.uniform(0, 0.5))
        process.kill()
        flags = "--resume --plot p.png"
        with open("char_rnn_1/newest") as f:
            epochs.append(int(re.search(r"newest-(\d+)", f.read()).group(1)))
        assert epochs[-1] > epochs[-2]
    with pytest.raises(SystemExit):
        run("char_rnn.py", "--sample 5")
    assert len(capsys.readouterr().out) == 7
