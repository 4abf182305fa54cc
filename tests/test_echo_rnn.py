"""echo_rnn.py against numpy, against its article's claims, and as a person runs it."""
import fcntl
import os
import pty
import random
import re
import struct
import subprocess
import sys
import termios
import time

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import read_log

import echo_rnn

tf = echo_rnn.tf
LEARNED = 0.02  # nats, mean of the last 100 batches


@pytest.fixture
def losses(tmp_path, monkeypatch):
    """Return a function that trains with these flags and returns each batch's loss."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(echo_rnn.LivePicture, "save", lambda self: None)
    return lambda flags="": echo_rnn.main((flags + " --plot echo.png").split())


# --- Against mathematics ---
def numpy_states(x, state, W, b):
    """Return the states of a row's steps; input and state are multiplied apart."""
    states = []
    for x_t in x:
        state = np.tanh(x_t * W[0] + state @ W[1:] + b[0])
        states.append(state)
    return np.array(states)


def numpy_losses(x, y, state, W, b, W2, b2):
    """Return the cross-entropy of each of a row's steps, in nats."""
    logits = numpy_states(x, state, W, b) @ W2 + b2[0]
    return np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]


@pytest.fixture
def network():
    """A graph of 6 rows and 7 steps, weights of both signs, and one batch for it."""
    tf.reset_default_graph()
    random_numbers = np.random.RandomState(0)
    graph = echo_rnn.build_graph(7, 4, 3, 2, 6, 0.3, -1)
    weights = [
        random_numbers.normal(size=w.shape.as_list())
        for w in (graph.W, graph.b, graph.W2, graph.b2)
    ]
    x, y = random_numbers.randint(0, 2, (2, 6, 7))
    state = random_numbers.uniform(-1, 1, (6, 3))
    feed = {graph.batchX_placeholder: x, graph.batchY_placeholder: y,
            graph.init_state: state}
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for variable, value in zip((graph.W, graph.b, graph.W2, graph.b2), weights):
            variable.load(value, sess)
        yield graph, sess, feed, x, y, state, weights


def test_forward_pass_and_loss_equal_numpy(network):
    graph, sess, feed, x, y, state, weights = network
    W, b, W2, b2 = weights
    states, current_state, logits, predictions, total_loss = sess.run(
        [graph.states_series, graph.current_state, graph.logits_series,
         graph.predictions_series, graph.total_loss], feed)
    expected = np.array([numpy_states(*row, W, b) for row in zip(x, state)])
    np.testing.assert_allclose(states, expected.swapaxes(0, 1), atol=1e-5)
    np.testing.assert_allclose(current_state, expected[:, 4 - 1], atol=1e-5)  # stride 4
    expected = (expected @ W2 + b2).swapaxes(0, 1)  # [step, row, class]
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    expected = np.exp(expected) / np.exp(expected).sum(2, keepdims=True)
    np.testing.assert_allclose(predictions, expected, atol=1e-5)
    expected = np.mean([numpy_losses(*row, *weights) for row in zip(x, y, state)])
    np.testing.assert_allclose(total_loss, expected, atol=1e-5)


def test_one_product_of_the_concatenation_equals_the_sum_of_two(network):
    graph, sess, feed, x, _, state, (W, b, _, _) = network
    one = sess.run(tf.matmul(graph.input_and_state_concatenated, graph.W), feed)
    last_states = [numpy_states(*row, W, b)[-2] for row in zip(x, state)]
    two = x[:, -1:] @ W[:1] + last_states @ W[1:]
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_gradients_equal_finite_differences(network):
    graph, sess, feed, x, y, state, weights = network
    variables = [graph.W, graph.b, graph.W2, graph.b2]
    gradients = sess.run(tf.gradients(graph.total_loss, variables), feed)

    def total_loss():
        return np.mean([numpy_losses(*row, *weights) for row in zip(x, y, state)])

    for weight, gradient in zip(weights, gradients):
        for index in np.ndindex(*weight.shape):
            kept = weight[index]
            weight[index] = kept + 1e-5
            above = total_loss()
            weight[index] = kept - 1e-5
            below = total_loss()
            weight[index] = kept
            assert abs((above - below) / 2e-5 - gradient[index]) < 1e-5


def test_training_step_is_adagrads(network):
    graph, sess, feed, _, _, _, weights = network
    variables = [graph.W, graph.b, graph.W2, graph.b2]
    gradients = sess.run(tf.gradients(graph.total_loss, variables), feed)
    sess.run(graph.train_step, feed)
    for variable, weight, g in zip(variables, weights, gradients):
        expected = weight - 0.3 * g / np.sqrt(0.1 + g**2)  # TensorFlow starts at 0.1
        np.testing.assert_allclose(sess.run(variable), expected, atol=1e-5)


@pytest.mark.parametrize("stride", [7, 3, 1])
def test_each_batch_goes_on_from_the_state_at_its_first_step(losses, stride):
    """With weights that hardly move, each batch's loss is that of the uncut row."""
    found = losses(
        "--num_epochs 2 --total_series_length 300 --batch_size 3 --echo_step 2 --seed 5"
        f" --truncated_backprop_length 7 --stride {stride} --learning_rate 1e-6"
    ).reshape(2, -1)
    np.random.seed(5)
    W, b = np.random.uniform(-1, 1, (5, 4)), np.zeros((1, 4))
    W2, b2 = np.random.uniform(-1, 1, (4, 2)), np.zeros((1, 2))
    assert found.shape[1] == len(range(0, 100 - 7 + 1, stride))
    for epoch_losses in found:
        x, y = echo_rnn.generateData(300, 2, 2, 3)
        of_rows = [numpy_losses(*row, np.zeros(4), W, b, W2, b2) for row in zip(x, y)]
        of_steps = np.mean(of_rows, axis=0)
        expected = [of_steps[i : i + 7].mean() for i in range(0, 100 - 7 + 1, stride)]
        np.testing.assert_allclose(epoch_losses, expected, atol=1e-3)


def test_generateData_echoes_across_the_rows():
    x, y = echo_rnn.generateData(60, 3, 4, 5)
    assert x.shape == y.shape == (5, 12)
    assert set(x.ravel()) == {0, 1, 2}
    assert (y.ravel()[4:] == x.ravel()[:-4]).all()
    assert (y.ravel()[:4] == 0).all()


# --- The article's claims ---
def test_default_seed_starts_by_guessing_and_learns_within_3_epochs(losses):
    found = losses("--num_epochs 3")
    assert found[0] > 0.5
    assert found[-100:].mean() < LEARNED


def test_all_of_10_seeds_learn_within_3_epochs(losses):
    """Of 40 seeds, 39 had learned after 1 epoch and all after 2."""
    for seed in range(10):
        for num_epochs in (1, 3):  # the shorter run is the beginning of the longer one
            found = losses(f"--seed {seed} --num_epochs {num_epochs}")
            if found[-100:].mean() < LEARNED:
                break
        assert found[-100:].mean() < LEARNED, seed


def test_first_batch_of_an_epoch_costs_what_nobody_can_know(losses):
    """12 of its 75 echoes are of bits in another row: 12 / 75 · ln 2 on average."""
    first = []
    for seed in (1, 2, 3, 4, 5):
        by_epoch = losses(f"--seed {seed} --num_epochs 5").reshape(5, -1)
        learned = by_epoch[1:][by_epoch[:-1, -100:].mean(1) < LEARNED]
        assert learned[:, -100:].mean() < LEARNED
        first += list(learned[:, 0])
    assert len(first) >= 15  # of 20
    assert np.mean(first) >= 12 / 75 * np.log(2)


@pytest.mark.parametrize("length", [3, 4])
def test_it_learns_where_the_gradient_reaches_the_echoed_bit(losses, length):
    """3 steps back: over 6 seeds, 0.67 to 0.70 nats from 3 steps, 0.00 from 4."""
    for seed in (1, 2, 3, 4, 5):
        flags = f"--truncated_backprop_length {length} --seed {seed} --num_epochs 2"
        found = losses(flags)
        if length > 3:
            assert found[-1000:].mean() < LEARNED
        else:
            assert found[-1000:].mean() > 0.6


def test_same_seed_same_losses_and_another_seed_others(losses):
    flags = "--num_epochs 1 --total_series_length 5000 --seed "
    assert (losses(flags + "3") == losses(flags + "3")).all()
    assert (losses(flags + "3") != losses(flags + "4")).any()


def test_a_loss_that_is_not_finite_stops_the_run(losses, monkeypatch):
    infinite = lambda low, high, size: np.full(size, np.inf)  # noqa: E731
    monkeypatch.setattr(np.random, "uniform", infinite)
    with pytest.raises(SystemExit, match=r"epoch 0, step 0: try a smaller --learning"):
        losses("--num_epochs 1")


# --- The picture ---
@pytest.fixture
def plotted():
    """The artists in the second of 2 epochs of 1000 batches, of which 4 stand out."""
    plt.switch_backend("agg")
    figure = plt.figure()
    plot = echo_rnn.make_plot(figure, 2, 1000, 0.1109, 3, 2, 5)
    loss_list = np.full(1500, 0.01)
    loss_list[[0, 333, 777, 1000]] = 0.5, 0.3, 1e-5, 0.2
    batchX = np.array([[1, 0, 1]] * 5)
    batchY = np.array([[0, 1, 0]] * 5)
    zero, one = [0.9, 0.1], [0.2, 0.8]
    predictions_series = np.array([[zero] * 5, [zero] * 5, [one] * 5])
    plot(loss_list, predictions_series, batchX, batchY)
    yield figure.axes
    plt.close(figure)


def test_picture_tells_first_losses_apart_and_loses_none(plotted):
    curve, first = plotted[0].lines[-2:]
    assert first.get_xydata().tolist() == [[0, 0.5], [1000, 0.2]]
    heights = curve.get_ydata()
    assert len(heights) < 700
    assert (heights.min(), heights.max()) == (1e-5, 0.3)
    (left, right), (bottom, _) = plotted[0].get_xlim(), plotted[0].get_ylim()
    assert (left, right) == (0, 2000)
    assert bottom < 1e-5
    assert plotted[0].get_yscale() == "log"


def test_picture_has_edge_aligned_bars_of_each_series(plotted):
    assert len(plotted) == 6
    for panel in plotted[1:]:
        bars = {bar.get_facecolor()[:3]: bar.get_data() for bar in panel.patches}
        for color, heights in [
            ("blue", [1, 0, 1]), ("red", [0, 0.5, 0]), ("green", [0, 0, 0.3])
        ]:
            values, edges, _ = bars[matplotlib.colors.to_rgb(color)]
            assert values.tolist() == heights
            assert edges.tolist() == [0, 1, 2, 3]
        assert panel.get_xlabel() == "time step"


def test_picture_of_fewer_series(losses):
    losses("--num_epochs 1 --batch_size 2 --total_series_length 2000")


def is_whole_png(path):
    with open(str(path), "rb") as f:
        content = f.read()
    return content[:8] == b"\x89PNG\r\n\x1a\n" and content[-8:-4] == b"IEND"


def test_picture_is_whole_whenever_one_looks(run, tmp_path):
    started = run("echo_rnn.py", "--num_epochs 10 --plot p.png")
    started.wait_for("Step 0")
    seen = set()
    while started.process.poll() is None:
        if (tmp_path / "p.png").exists():
            assert is_whole_png(tmp_path / "p.png")
            seen.add(os.stat(str(tmp_path / "p.png")).st_mtime)
        time.sleep(0.01)
    assert len(seen) > 1
    assert os.listdir(str(tmp_path)) == ["p.png"]


def test_without_a_display_the_picture_goes_to_a_file(run, tmp_path):
    for backend in ({}, {"MPLBACKEND": "TkAgg"}):
        flags = "--num_epochs 1 --total_series_length 1000"
        status, out, err = run("echo_rnn.py", flags, **backend).end()
        assert (status, err) == (0, "")
        assert out.endswith("Picture in echo_rnn.png\n")
        assert is_whole_png(tmp_path / "echo_rnn.png")
        (tmp_path / "echo_rnn.png").unlink()


def test_logdir_holds_the_losses_and_a_graph_that_reads_like_the_article(losses):
    found = losses("--num_epochs 1 --total_series_length 1000 --logdir logs")
    logged, scopes = read_log(tf, "logs")
    assert logged == found.tolist()
    assert {"Variables_and_placeholders", "Unpacking", "Forward_pass",
            "Calculating_loss"} <= scopes


# --- As a person runs it ---
@pytest.mark.parametrize(
    "flags, words",
    [(f"--{name} {value}", f"--{name}: '{value}' is not allowed")
     for name in ("num_epochs", "total_series_length", "truncated_backprop_length",
                  "stride", "state_size", "num_classes", "echo_step", "batch_size",
                  "learning_rate", "seed")
     for value in ("0", "-1", "x", "nan", "1e400") if (name, value) != ("seed", "0")]
    + [
        ("--batch_size 7", "7 does not divide --total_series_length 50000"),
        ("--truncated_backprop_length 10001", "10001 is over 10000, a row's length"),
        ("--echo_step 10000", "10000 is over 9999, the longest in a row"),
        ("--stride 16", "16 is over 15, a batch's length"),
        ("--lowest_weight 2", "2.0 is over 1, the highest weight"),
        ("--lowest_weight x", "--lowest_weight: 'x' is not allowed"),
        ("--logdir old.png", "old.png"),
        ("--plot nowhere/p.png", "nowhere/p.png: No such file or directory"),
        ("--plot /proc/p.png", "/proc/p.png: No such file or directory"),
        ("--plot old.xyz", "'xyz' is not supported (supported formats:"),
        ("--plot old", "old"),
        ("--plot", "expected one argument"),
        ("--no_such_flag", "unrecognized arguments: --no_such_flag"),
        ("3", "unrecognized arguments: 3"),
    ],
)  # fmt: skip
def test_bad_flags_get_one_line_and_change_nothing(flags, words, refused):
    assert words in refused(echo_rnn.main, flags.split())


def test_a_picture_that_cannot_be_renewed_ends_the_run_with_one_line(run, tmp_path):
    (tmp_path / "p.png").mkdir()
    status, _, err = run("echo_rnn.py", "--plot p.png").end()
    assert status == 1
    assert err == "No picture in p.png: Is a directory"
    assert os.listdir(str(tmp_path)) == ["p.png"]


def assert_ended_by_ctrl_c(started):
    status, out, err = started.end(60)
    assert (status, err) == (130, "")
    return out


@pytest.mark.parametrize("seconds", [0, 1, 2, 3])
def test_ctrl_c_before_training(run, tmp_path, seconds):
    started = run("echo_rnn.py")
    maps = f"/proc/{started.process.pid}/maps"
    if not os.path.exists(maps):
        pytest.skip("skipped: needs /proc")
    while "tensorflow" not in open(maps).read():
        time.sleep(0.01)
    time.sleep(random.uniform(seconds, seconds + 1))  # loading, building the graph
    started.interrupt()
    out = assert_ended_by_ctrl_c(started)
    assert "New data" in out or os.listdir(str(tmp_path)) == []


def test_ctrl_c_at_any_moment_keeps_the_picture(run, tmp_path):
    for seconds in [0, 0.1] + [random.uniform(0, 2) for _ in range(4)]:
        started = run("echo_rnn.py")
        started.wait_for("New data")
        time.sleep(seconds)
        started.interrupt()
        out = assert_ended_by_ctrl_c(started)
        if os.listdir(str(tmp_path)):  # nothing has been drawn in the first moment
            assert out.endswith("Picture in echo_rnn.png\n")
            assert is_whole_png(tmp_path / "echo_rnn.png")
            (tmp_path / "echo_rnn.png").unlink()
        assert os.listdir(str(tmp_path)) == []


def test_progress_bar_on_a_terminal_only(tmp_path):
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    script = os.path.abspath(echo_rnn.__file__)
    flags = "--num_epochs 2 --total_series_length 9000 --plot p.png".split()
    process = subprocess.Popen([sys.executable, script, *flags], cwd=str(tmp_path),
                               stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 1000)
        except OSError:  # the other side is closed
            break
    os.close(ours)
    assert process.wait() == 0
    assert re.search(rb"100%.*240/240 .*batch/s", shown), shown
    assert b"Step 100 Loss" in shown


# --- A real window ---
def on(display, *command):
    """Run a program on the display; return what it prints."""
    env = dict(os.environ, DISPLAY=display)
    return subprocess.run(command, env=env, stdout=subprocess.PIPE).stdout.decode()


def window_on(display):
    """Wait for the script's window; return its id."""
    for _ in range(300):
        found = on(display, "xdotool", "search", "--onlyvisible", "--name", "echo_rnn")
        if found:
            return found.split()[0]
        time.sleep(0.1)
    raise AssertionError("no window")


def test_window_opens_resizes_closes_and_training_goes_on(run, screen, tmp_path):
    started = run("echo_rnn.py", "--num_epochs 12", display=screen)
    window = window_on(screen)
    started.wait_for("Step 100")
    on(screen, "xdotool", "windowsize", "--sync", window, "900", "700")
    started.wait_for("Step 300")
    geometry = on(screen, "xdotool", "getwindowgeometry", window)
    assert "900x700" in geometry
    on(screen, "wmctrl", "-i", "-c", window)
    status, out, err = started.end()
    assert (status, err) == (0, "")
    assert "New data, epoch 11" in out
    assert os.listdir(str(tmp_path)) == []


def test_window_stays_until_closed(run, screen):
    flags = "--num_epochs 1 --total_series_length 1000"
    started = run("echo_rnn.py", flags, display=screen)
    started.wait_for("Step 0")
    time.sleep(3)
    assert started.process.poll() is None
    on(screen, "wmctrl", "-i", "-c", window_on(screen))
    assert started.end(30)[0] == 0


@pytest.mark.parametrize("flags", ["", "--num_epochs 1 --total_series_length 1000"])
def test_ctrl_c_with_a_window_keeps_the_picture(run, screen, tmp_path, flags):
    started = run("echo_rnn.py", flags, display=screen)
    started.wait_for("Step 0")
    time.sleep(2)  # in training, or waiting for the window to be closed
    started.interrupt()
    out = assert_ended_by_ctrl_c(started)
    assert out.endswith("Picture in echo_rnn.png\n")
    assert is_whole_png(tmp_path / "echo_rnn.png")
