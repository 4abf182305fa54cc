"""char_rnn_numpy.py beside char_rnn.py's section IV, and by finite differences."""
import os
import random
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, is_whole_png

SCRIPT = os.path.join(ROOT, "char_rnn_numpy.py")
TEXT = "".join(random.Random(0).choices("abcde fgh\n", k=1300))
FLAGS = "--data text.txt --plot p.png --num_epochs 1 --num_hidden_units 5 --num_steps 9"


@pytest.fixture(autouse=True)
def text(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)


def test_losses_states_and_gradients_are_those_of_section_iv(run, capsys):
    names = run("char_rnn_numpy.py", FLAGS)
    told = re.findall(r"^(\w+): gradient (\S+), by a finite difference (\S+)$",
                      capsys.readouterr().out, re.M)
    assert [name for name, *_ in told] == list(names.weights)
    for _, gradient, slope in told:
        assert float(gradient) == pytest.approx(float(slope), rel=1e-4) != 0

    manual = run("char_rnn.py", FLAGS + " --model manual --batch_size 1 --num_layers 1")
    numbers = np.random.RandomState(0)
    for w in names.weights.values():
        w[:] = numbers.normal(0, 0.5, w.shape)
    inputs, targets = numbers.randint(10, size=(2, 9))
    hprev = numbers.uniform(-1, 1, (5, 1))
    loss, xs, hs, ps = names.forward_pass(inputs, targets, hprev)
    dWxh, dWhh, dWhy, dbh, dby = names.backward_pass(targets, xs, hs, ps)

    variables = manual.trainable_vars  # W_input, W_hidden, b_hidden, softmax's two
    weights = [names.Wxh, names.Whh, names.bh, names.Why, names.by]
    for variable, w in zip(variables, weights):
        variable.load(w.T.reshape(variable.shape), manual.sess)
    with manual.sess.graph.as_default():
        grads = manual.tf.gradients(manual.total_loss, variables)
    feed = {manual.X: [inputs], manual.y: [targets], manual.initial_state[0]: hprev.T}
    known_loss, state, *known = manual.sess.run(
        [manual.total_loss, manual.final_state[0], *grads], feed)
    assert known_loss == pytest.approx(loss / 9, abs=1e-5)
    np.testing.assert_allclose(state, hs[8].T, atol=1e-5)
    for found, each in zip([dWxh, dWhh, dbh, dWhy, dby], known):
        np.testing.assert_allclose(found.T.reshape(each.shape) / 9, each, atol=1e-5)


def test_it_learns_by_adagrad_of_gradients_that_are_cut(run):
    """The whole training once more, each number of each weight by itself."""
    names = run("char_rnn_numpy.py", FLAGS + " --max_gradient 0.5 --num_epochs 2")
    last = run("char_rnn_numpy.py", FLAGS + " --learning_rate 1e-9")  # its functions
    assert names.loss_list[0] == last.loss_list[0]
    memory, losses = [np.zeros_like(w) for w in last.weights.values()], []
    for _ in range(2):
        h = np.zeros((5, 1))
        for start in range(0, 1300 - 9, 9):
            ids = last.raw_data[start : start + 10]
            loss, xs, hs, ps = last.forward_pass(ids[:9], ids[1:], h)
            h = hs[8]
            losses.append(loss / 9)
            grads = last.backward_pass(ids[1:], xs, hs, ps)
            for w, dw, total in zip(last.weights.values(), grads, memory):
                dw = np.minimum(np.maximum(dw, -0.5), 0.5)
                total += dw**2
                w -= 0.1 * dw / (total + 1e-8) ** 0.5
    assert names.loss_list == pytest.approx(losses, abs=1e-4)
    assert np.mean(losses[-100:]) < np.mean(losses[:20])

    means = [np.mean(names.loss_list[:100]), np.mean(names.loss_list[100:200])]
    guessing, curve = names.axes.lines
    assert guessing.get_ydata()[0] == pytest.approx(np.log(10))
    assert guessing.get_label() == "guessing: 2.30"
    np.testing.assert_array_equal(curve.get_data(), [[0.9, 1.8], means])
    shown = names.page.get_text().splitlines()
    for line, read, sample in zip(shown[1:3], [900, 1800], names.samples):
        assert line.split() == [str(read), *" ".join(sample.split())[:68].split()]
    written = " ".join(shown[5:]).split()
    assert written == names.samples[-1].split()[: len(written)] != []


def test_it_writes_on_from_a_state_what_is_drawn_by_softmax(run):
    names = run("char_rnn_numpy.py", FLAGS)
    for w in names.weights.values():
        w[:] = np.random.RandomState(w.size).normal(0, 1, w.shape)
    h = np.random.RandomState(1).uniform(-1, 1, (5, 1))
    names.Why[:] *= 1000  # the likeliest is as good as certain
    written, state = names.sample(40, h), h
    for char in written:
        assert char == names.vocabulary[(names.Why @ state + names.by).argmax()]
        x = np.eye(10)[:, [names.vocabulary.index(char)]]
        state = np.tanh(names.Wxh @ x + names.Whh @ state + names.bh)
    assert len(set(written)) > 2

    names.Why[:], b = 0, np.linspace(-1, 1, 10)
    names.by[:] = b[:, np.newaxis]
    drawn = np.random.RandomState(7).choice(10, 99, p=np.exp(b) / np.exp(b).sum())
    assert names.sample(99, h, seed=7) == "".join(names.vocabulary[i] for i in drawn)
    assert names.sample(99, h) != names.sample(99, h)


def test_it_needs_numpy_and_matplotlib_alone(tmp_path):
    """And of a user's text nothing is markup, or a warning."""
    (tmp_path / "text.txt").write_bytes("$a$ $$ \\x_ 中文字符 שלום 🙂\n".encode() * 90)
    program = (
        "import runpy, sys\n"
        "for name in 'tensorflow', 'tf_keras', 'tqdm': sys.modules[name] = None\n"
        f"sys.argv[0] = {SCRIPT!r}\n"
        f"runpy.run_path({SCRIPT!r}, run_name='__main__')\n")
    words = [sys.executable, "-W", "always", "-c", program, *FLAGS.split()]
    done = subprocess.run(words, cwd=str(tmp_path), capture_output=True)
    assert (done.returncode, b"lyph" in done.stderr) == (0, False), done.stderr
    assert is_whole_png(tmp_path / "p.png")


def test_a_text_that_cannot_be_read_gets_one_line(refused, tmp_path):
    (tmp_path / "bad").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "short").write_text("abc\n")
    for name, words in [("bad", "codec can't decode"), ("away", "[Errno 2] No such"),
                        ("short", "4 characters are too few")]:
        assert words in refused("char_rnn_numpy.py", f"--data {name}")
