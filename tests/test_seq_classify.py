"""seq_classify.py against numpy, on its data, and as a person runs it."""
import functools
import gzip
import hashlib
import http.server
import os
import re
import shutil
import subprocess
import threading
import time

import numpy as np
import pytest
from conftest import ROOT, read_log

import seq_classify

tf = seq_classify.tf
pytestmark = pytest.mark.filterwarnings("ignore:`tf.")
each_cell = pytest.mark.parametrize("cell", ["gru", "lstm"])
LONGER = ("--num_epochs 3 --num_batches 60 --batch_size 20 --num_units 20"
          " --num_layers 1 --dropout 0 --learning_rate 0.01")
SAVE = seq_classify.LivePicture.save
SMALL = "--num_epochs 2 --num_batches 3 --batch_size 4 --num_units 5 --num_layers 2"


# --- The network in numpy, sequence by sequence; test_seq_label.py uses it, too ---
def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru_step(x, state, gates, gates_bias, candidate, candidate_bias):
    (h,) = state
    r, u = np.split(sigmoid(np.concatenate([x, h]) @ gates + gates_bias), 2)
    new = np.tanh(np.concatenate([x, r * h]) @ candidate + candidate_bias)
    return [u * h + (1 - u) * new]


def lstm_step(x, state, kernel, bias):
    c, h = state
    i, j, f, o = np.split(np.concatenate([x, h]) @ kernel + bias, 4)
    c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(j)
    return [c, sigmoid(o) * np.tanh(c)]


STEPS = {"gru": (gru_step, 1, 4), "lstm": (lstm_step, 2, 2)}  # state's, layer's arrays


def numpy_layers(cell, sequence, weights, states=None):
    """Return the last layer's outputs for one sequence, and all layers' last states."""
    step, parts, count = STEPS[cell]
    states = list(states or [])
    for layer in range(len(weights) // count):
        arrays = weights[layer * count : (layer + 1) * count]
        if layer == len(states):
            units = arrays[-1].size // parts**2  # an LSTM's bias is that of 4 gates
            states.append([np.zeros(units)] * parts)
        outputs = []
        for x in sequence:
            states[layer] = step(x, states[layer], *arrays)
            outputs.append(states[layer][-1])
        sequence = outputs
    return np.array(sequence), states


def cross_entropy(logit, target):
    return np.log(np.exp(logit).sum()) - logit[target]


def differences(loss, weights, step=1e-5):
    """Return the gradients of loss() by each of the weights, one number at a time."""
    gradients = []
    for weight in weights:
        gradients.append(np.zeros_like(weight))
        for index in np.ndindex(*weight.shape):
            kept = weight[index]
            weight[index] = kept + step
            above = loss()
            weight[index] = kept - step
            below = loss()
            weight[index] = kept
            gradients[-1][index] = (above - below) / (2 * step)
    return gradients


def load_random_weights(sess):
    """Fill all trainable variables with numbers of both signs; return them."""
    sess.run(tf.global_variables_initializer())
    numbers = np.random.RandomState(0)
    weights = []
    for variable in tf.trainable_variables():
        weights.append(numbers.normal(0, 0.5, variable.shape.as_list()))
        variable.load(weights[-1], sess)
    return weights


# --- What the tests run on ---
def remember_the_first(examples, seed):
    """Return sequences whose class is the place of the 1 in their first step."""
    numbers = np.random.RandomState(seed)
    x = numbers.uniform(0, 0.5, (examples, 6, 4)).astype(np.float32)
    y = numbers.randint(4, size=examples)
    x[np.arange(examples), 0, y] = 1
    return x, y


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """Work in a new folder that has own.npz, and write no pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(seq_classify.LivePicture, "save", lambda self: None)
    (x_train, y_train), (x_test, y_test) = (remember_the_first(n, n) for n in (300, 50))
    arrays = dict(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    np.savez("own.npz", **arrays)
    return arrays


@pytest.fixture
def found(in_folder):
    """Return a function that runs the script on own.npz and returns its finds."""
    return lambda flags=SMALL: seq_classify.main(
        (flags + " --data own.npz --plot p.png").split()
    )


# --- Against mathematics ---
@each_cell
def test_network_and_loss_equal_numpy(cell):
    tf.reset_default_graph()
    graph = seq_classify.build_graph(cell, 5, 2, 3, 4)
    numbers = np.random.RandomState(1)
    data, target = numbers.normal(size=(6, 7, 3)), numbers.randint(4, size=6)
    with tf.Session() as sess:
        weights = load_random_weights(sess)
        output, logit, prediction, reading, loss = sess.run(
            [graph.output, graph.logit, graph.prediction, graph.reading, graph.loss],
            {graph.data: data, graph.target: target},
        )
    *of_cells, kernel, bias = weights
    assert len(of_cells) == 2 * STEPS[cell][2]  # 2 layers, each with its own
    expected = np.array([numpy_layers(cell, row, of_cells)[0] for row in data])
    np.testing.assert_allclose(output, expected, atol=1e-5)
    logits = expected @ kernel + bias
    np.testing.assert_allclose(logit, logits[:, -1], atol=1e-5)
    assert (prediction == logits[:, -1].argmax(1)).all()
    softmax = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    np.testing.assert_allclose(reading, softmax, atol=1e-5)
    expected = np.mean([cross_entropy(*pair) for pair in zip(logits[:, -1], target)])
    np.testing.assert_allclose(loss, expected, atol=1e-5)


def test_dropout_is_the_share_that_is_dropped_and_testing_drops_none():
    tf.reset_default_graph()
    graph = seq_classify.build_graph("gru", 200, 1, 3, 4)
    with tf.Session() as sess:
        load_random_weights(sess)
        data = {graph.data: np.ones((20, 5, 3))}
        whole = sess.run(graph.output, data)
        dropped = sess.run(graph.output, {**data, graph.dropout: 0.25})
    assert (whole != 0).all()
    assert abs((dropped == 0).mean() - 0.25) < 0.02
    kept = dropped != 0
    assert abs((dropped[kept] / whole[kept]).mean() - 1 / 0.75) < 0.1


def test_loss_of_hopeless_logits_is_finite():
    tf.reset_default_graph()
    graph = seq_classify.build_graph("gru", 5, 1, 3, 4)
    with tf.Session() as sess:
        feed = {graph.logit: [[1000, 0, 0, 0]], graph.target: [2]}
        assert sess.run(graph.loss, feed) == 1000


@pytest.fixture
def gradient(found, monkeypatch):
    """Return a function: weights, and what one batch of gradient descent takes away."""
    monkeypatch.setattr(tf.train, "RMSPropOptimizer", tf.train.GradientDescentOptimizer)
    first = lambda many, *arrays: [a[:many].copy() for a in arrays]  # noqa: E731
    monkeypatch.setattr(seq_classify, "random_batch", first)

    def run(flags):
        flags = seq_classify.parse_flags(
            (flags + " --num_epochs 1 --num_batches 1 --dropout 0 --batch_size 3"
             " --num_units 3 --num_layers 2 --data own.npz --plot p.png").split()
        )
        weights = []
        for flags.learning_rate in 0.0, 100.0:
            weights.append(seq_classify.train(**vars(flags)).weights)
        return weights[0], [(a - b) / 100 for a, b in zip(*weights)]

    return run


@pytest.mark.parametrize("cell, window", [("gru", 6), ("gru", 2), ("lstm", 2)])
def test_gradient_ends_where_the_window_begins(cell, window, gradient, in_folder):
    flags = f"--cell {cell} --truncated_backprop_length {window}"
    weights, found = gradient(flags)
    weights = [weight.astype(float) for weight in weights]
    x, y = in_folder["x_train"][:3].astype(float), in_folder["y_train"][:3]
    before = [numpy_layers(cell, row[:-window], weights[:-2])[1] for row in x]

    def loss():
        losses = []
        for row, states, label in zip(x, before, y):
            output, _ = numpy_layers(cell, row[-window:], weights[:-2], states)
            losses.append(cross_entropy(output[-1] @ weights[-2] + weights[-1], label))
        return np.mean(losses)

    for expected, real in zip(differences(loss, weights), found):
        np.testing.assert_allclose(real, expected, atol=1e-6)
        assert np.abs(expected).max() > 5e-5


def test_a_window_of_all_rows_is_the_plain_run(found):
    plain, window = found(), found(f"{SMALL} --truncated_backprop_length 6")
    assert (plain.losses == window.losses).all()
    assert plain.errors == window.errors


def test_errors_and_confusion_are_those_of_the_last_weights(found, in_folder):
    results = found()
    *of_cells, kernel, bias = results.weights
    confusion = np.zeros((4, 4), int)
    for sequence, label in zip(in_folder["x_test"], in_folder["y_test"]):
        output, _ = numpy_layers("gru", sequence, of_cells)
        confusion[label, (output[-1] @ kernel + bias).argmax()] += 1
    assert (results.confusion == confusion).all()
    assert len(results.errors) == 2
    assert results.errors[-1] == 1 - np.trace(confusion) / 50


def test_rate_decays_epoch_by_epoch(found, monkeypatch):
    rates = []
    run = tf.Session.run

    def spy(self, fetches, feed_dict=None, *rest):
        for key, value in (feed_dict or {}).items():
            if getattr(key, "name", "").endswith("Sequence_Classification/"
                                                 "Placeholder_1:0"):
                rates.append(value)
        return run(self, fetches, feed_dict, *rest)

    monkeypatch.setattr(tf.Session, "run", spy)
    found(f"{SMALL} --learning_rate 0.01 --decay 0.5")
    assert rates == [0.01] * 3 + [0.005] * 3


def test_batches_keep_examples_whole():
    x, y = np.arange(100), np.arange(100) * 2
    np.random.seed(0)
    rows, labels = seq_classify.random_batch(5000, x, y)
    assert (labels == 2 * rows).all()
    assert set(rows) == set(range(100))


def test_shift_images_moves_each_by_up_to_so_many_pixels():
    images = np.zeros((2000, 5, 7), np.float32)
    images[:, 2, 3] = np.arange(1, 2001)
    np.random.seed(0)
    moved = seq_classify.shift_images(images, 2)
    assert moved.shape == images.shape
    which, row, column = np.nonzero(moved)
    assert (which == np.arange(2000)).all()
    assert (moved[which, row, column] == np.arange(1, 2001)).all()
    places = set(zip(row, column))
    assert places == {(y, x) for y in range(5) for x in range(1, 6)}


def test_parts_are_computed_in_order():
    tf.reset_default_graph()
    x = tf.placeholder(tf.float32, [None])
    values = np.arange(25.0)
    with seq_classify.Progress(disable=True) as progress, tf.Session() as sess:
        parts = seq_classify.compute_in_parts(sess, 2 * x, {x: values}, progress, 10)
    assert (parts == 2 * values).all()


# --- Data ---
@pytest.fixture(scope="module")
def drawn():
    np.random.seed(1)
    start = time.process_time()
    data = seq_classify.draw_digits()
    return data, time.process_time() - start


def test_digits_are_drawn_in_seconds_and_in_other_fonts_for_testing(drawn):
    (x_train, y_train, x_test, y_test), seconds = drawn
    assert seconds < 10
    assert x_train.shape == (10000, 28, 28) and x_test.shape == (2000, 28, 28)
    for x, y in (x_train, y_train), (x_test, y_test):
        assert (np.unique(y) == np.arange(10)).all()
        assert x.dtype == np.float32
        assert x.min() == 0 and x.max() == 1
        assert not (x[0] == x[1]).all()
    assert not set(seq_classify.TRAIN_FONTS) & set(seq_classify.TEST_FONTS)
    fonts = seq_classify.TRAIN_FONTS + seq_classify.TEST_FONTS
    eights = [seq_classify.draw_glyphs("8", font)[0] for font in fonts]
    for i, eight in enumerate(eights):
        assert 0.02 < eight.mean() < 0.5
        assert not any((eight == other).all() for other in eights[:i])


def test_a_linear_classifier_errs_on_more_than_a_tenth_of_the_digits(drawn):
    (x_train, y_train, x_test, y_test), _ = drawn
    x_train, x_test = (x.reshape(-1, 784) for x in (x_train, x_test))
    x_train, x_test = (np.append(x, np.ones((len(x), 1)), 1) for x in (x_train, x_test))
    fit = np.linalg.solve(x_train.T @ x_train + 10 * np.eye(785),
                          x_train.T @ np.eye(10)[y_train])
    assert np.mean((x_test @ fit).argmax(1) != y_test) > 0.1


def test_mnist_is_the_articles():
    if not os.path.exists(os.path.join(ROOT, "data", "train-images-idx3-ubyte.gz")):
        pytest.skip("skipped: needs data/train-images-idx3-ubyte.gz and its fellows")
    x_train, y_train, x_test, y_test = seq_classify.read_mnist()
    assert x_train.shape == (60000, 28, 28) and x_test.shape == (10000, 28, 28)
    assert abs(x_train.mean() - 0.13066) < 1e-5
    assert abs(x_test.mean() - 0.132515) < 1e-5
    assert y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert y_test[:5].tolist() == [7, 2, 1, 0, 4]


CONTENT = b"0123456789" * 300000


@pytest.fixture
def server():
    """Yield the address of a server: /whole, /short (breaks off), /slow, /missing."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/missing":
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            if self.path == "/whole":
                self.wfile.write(CONTENT)
            else:
                self.wfile.write(CONTENT[:2000000])
            if self.path == "/slow":
                time.sleep(20)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.shutdown, daemon=True).start()


DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_download_is_kept_and_not_fetched_again(server, tmp_path, capsys):
    path = str(tmp_path / "data" / "file")
    for url in server + "/whole", server + "/missing":
        assert seq_classify.download(url, path, DIGEST) == path
        with open(path, "rb") as file:
            assert file.read() == CONTENT
    assert os.listdir(str(tmp_path / "data")) == ["file"]
    assert capsys.readouterr() == ("", "")


def test_download_of_a_packed_file_can_be_checked_by_its_content(tmp_path):
    path = str(tmp_path / "file.gz")
    with gzip.open(path, "wb") as file:
        file.write(CONTENT)
    url = "http://127.0.0.1:1/"
    assert seq_classify.download(url, path, DIGEST, gzip.open) == path
    with pytest.raises(ValueError, match="SHA-256"):
        seq_classify.download(url, path, DIGEST)


@pytest.mark.parametrize("what", ["missing", "short", "whole"])
def test_download_that_fails_leaves_nothing(what, server, tmp_path):
    path = str(tmp_path / "data" / "file")
    digest = hashlib.sha256(b"other").hexdigest() if what == "whole" else DIGEST
    with pytest.raises(ValueError) as error:
        seq_classify.download(f"{server}/{what}", path, digest)
    assert f"copy of {server}/{what} belongs in {path}" in str(error.value)
    assert "\n" not in str(error.value)
    assert os.listdir(str(tmp_path / "data")) == []


def test_file_with_a_wrong_digest_is_left_as_it_is(server, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"precious")
    with pytest.raises(ValueError, match="not the file that was meant, by its SHA-256"):
        seq_classify.download(server + "/whole", str(path), DIGEST)
    assert path.read_bytes() == b"precious"


def test_ctrl_c_while_downloading_leaves_nothing(server, run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        f"import signal, sys; sys.path.insert(0, {ROOT!r}); import seq_classify\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(130)); print('go')\n"
        f"seq_classify.download('{server}/slow', 'data/file', '{DIGEST}')\n"
    )
    started = run(str(program))
    started.wait_for("go")
    data = tmp_path / "data"
    while not data.exists() or not os.listdir(str(data)):
        time.sleep(0.01)
    time.sleep(1)
    started.interrupt()
    status, out, err = started.end()
    assert (status, out, err) == (130, "", "")
    assert os.listdir(str(data)) == []


def test_main_tells_of_a_download_that_fails_in_one_line(run, tmp_path):
    shutil.copy(os.path.join(ROOT, "seq_classify.py"), str(tmp_path))
    script = str(tmp_path / "seq_classify.py")
    no_network = {"https_proxy": "http://127.0.0.1:1"}
    status, out, err = run(script, "--data mnist", **no_network).end()
    name = "train-images-idx3-ubyte.gz"
    assert (status, out) == (2, "")
    assert re.fullmatch(
        rf"seq_classify\.py: error: --data mnist: .+ A good copy of https://.+/{name}"
        rf" belongs in {tmp_path}/data/{name}", err)
    assert os.listdir(str(tmp_path / "data")) == []


@pytest.mark.parametrize(
    "change, words",
    [
        ({"y_test": None}, "no array 'y_test', only: x_train, y_train, x_test"),
        ({"x_train": np.ones((300, 6))},
         "x_train is float64 [300, 6], not numbers [examples to train, steps, featur"),
        ({"y_train": np.ones(300)},
         "y_train is float64 [300], not whole numbers [examples to train]"),
        ({"x_train": np.full((300, 6, 4), "a")}, "x_train is <U1 [300, 6, 4], not num"),
        ({"x_test": np.ones((50, 5, 4))},
         "x_test is float64 [50, 5, 4]: 5 steps, not 6 as before"),
        ({"x_test": np.ones((50, 6, 3))}, "3 features, not 4 as before"),
        ({"y_test": np.ones(49, int)}, "49 examples to test, not 50 as before"),
        ({"x_train": np.ones((0, 6, 4)), "y_train": np.ones(0, int)},
         "x_train is float64 [0, 6, 4], not numbers"),
        ({"x_test": np.ones((50, 6, 0))}, "x_test is float64 [50, 6, 0], not numbers"),
        ({"x_train": np.full((300, 6, 4), np.nan)}, "x_train has a value that is not"),
        ({"x_test": np.full((50, 6, 4), 1e300)}, "x_test has a value that is not"),
        ({"y_train": np.arange(300) - 1}, "label -1 is not one of 0 to 298"),
        ({"y_train": np.arange(300) * 100}, "label 10000 is not one of 0 to 9999"),
        ({"y_test": np.arange(50)}, "label 4 is not one of 0 to 3"),
        ({"x_train": np.array([{}] * 300)}, "Object arrays cannot be loaded"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_bad_npz_gets_one_line(change, words, in_folder, refused):
    in_folder.update(change)
    arrays = {k: array for k, array in in_folder.items() if array is not None}
    np.savez("bad.npz", **arrays)
    assert words in refused(seq_classify.main, ["--data", "bad.npz"])


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\3\4", "truncated", "npy"])
def test_broken_npz_gets_one_line(content, in_folder, refused):
    if content == "npy":
        np.save("array.npy", np.ones(3))
        os.rename("array.npy", "bad.npz")
    else:
        with open("own.npz", "rb") as file:
            whole = file.read()
        with open("bad.npz", "wb") as file:
            file.write(whole[:5000] if content == "truncated" else content)
    err = refused(seq_classify.main, ["--data", "bad.npz"])
    assert "error: --data bad.npz: " in err


# --- What it learns ---
def test_it_learns_what_came_first_over_5_seeds(found):
    for seed in (1, 2, 3, 4, 5):
        assert found(f"{LONGER} --seed {seed}").errors[-1] < 0.05, seed


def test_same_seed_same_numbers_and_another_seed_others(found):
    flags = "--num_epochs 2 --num_batches 10 --num_units 20 --shift 1 --seed "
    first, again, other = (found(flags + seed) for seed in "334")
    assert (first.losses == again.losses).all()
    assert first.errors == again.errors
    assert (first.losses != other.losses).any()


def test_a_loss_that_is_not_finite_stops_the_run(found, in_folder):
    flags = seq_classify.parse_flags(f"{SMALL} --data own.npz --plot p.png".split())
    flags.learning_rate = np.inf
    with pytest.raises(SystemExit, match=r"epoch 1, batch 2: try a smaller --learning"):
        seq_classify.train(**vars(flags))


# --- As a person runs it ---
@pytest.mark.parametrize(
    "flags, words",
    [(f"--{name} {value}", f"--{name}: '{value}' is not allowed")
     for name in ("num_epochs", "num_batches", "batch_size", "num_units", "num_layers",
                  "learning_rate", "decay", "truncated_backprop_length")
     for value in ("0", "-1", "x", "nan")]
    + [
        ("--dropout 1", "--dropout: '1' is not allowed, only float from 0 to 0.99"),
        ("--dropout -0.1", "--dropout: '-0.1' is not allowed"),
        ("--decay 1.1", "--decay: '1.1' is not allowed"),
        ("--shift -1", "--shift: '-1' is not allowed"),
        ("--seed -1", "--seed: '-1' is not allowed"),
        ("--cell none", "--cell: invalid choice: 'none'"),
        ("--data own.npz --truncated_backprop_length 4",
         "--truncated_backprop_length 4 does not divide 6, the rows of an image"),
        ("--data own.npz --truncated_backprop_length 12", "12 does not divide 6"),
        ("--data cifar", "--data cifar: neither drawn nor mnist nor a FILE.npz"),
        ("--data nowhere.npz", "--data nowhere.npz: No such file or directory"),
        ("--data own.npz --plot nowhere/p.png", "nowhere/p.png: No such file"),
        ("--logdir old.png", "old.png"),
        ("--no_such_flag", "unrecognized arguments: --no_such_flag"),
    ],
)  # fmt: skip
def test_bad_flags_get_one_line_and_change_nothing(
    flags, words, in_folder, refused, monkeypatch
):
    monkeypatch.setattr(seq_classify.LivePicture, "save", SAVE)
    assert words in refused(seq_classify.main, flags.split())


def test_prints_the_articles_line_and_logs_what_it_prints(found, capsys):
    results = found(f"{SMALL} --logdir logs")
    out = capsys.readouterr().out
    lines = re.findall(r"^Epoch  (\d) error (\S+)% loss (\S+), \d+ examples/s,"
                       r" \d+ s left$", out, re.M)
    assert [line[0] for line in lines] == ["1", "2"]
    for line, error, losses in zip(lines, results.errors, results.losses.reshape(2, 3)):
        assert line[1] == f"{100 * error:.1f}"
        assert line[2] == f"{losses.mean():.4f}"
    logged, scopes = read_log(tf, "logs")
    losses, errors = results.losses.astype(np.float32), np.float32(results.errors)
    assert logged == [*losses[:3], errors[0], *losses[3:], errors[1]]
    assert {"Defining_the_Network", "Simulating_Time_Steps",
            "Sequence_Classification"} <= scopes


def test_picture_shows_what_was_found(found, in_folder):
    results = found()
    loss, error, image, heat, confusion = results.picture.figure.axes
    assert loss.lines[-1].get_xdata().tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(loss.lines[-1].get_ydata(), results.losses)
    expected = np.transpose([[3, 6], np.multiply(results.errors, 100)])
    np.testing.assert_allclose(error.lines[-1].get_xydata(), expected)
    assert (image.images[0].get_array() == in_folder["x_test"][0].T).all()
    assert f"class {in_folder['y_test'][0]}," in image.get_title()
    assert heat.images[0].get_array().shape == (4, 6)
    np.testing.assert_allclose(heat.images[0].get_array().sum(0), 1, rtol=1e-5)
    assert heat.get_xlim() == image.get_xlim() == (0, 6)
    numbers = [text.get_text() for text in confusion.texts]
    assert numbers == [str(count or "") for count in results.confusion.ravel()]


@pytest.mark.parametrize("name", ["seq_classify", "seq_label"])
def test_ctrl_c_keeps_the_picture(name, run, tmp_path):
    flags = "--num_units 20 --num_layers 1 --num_batches 30 --num_epochs 500"
    started = run(name + ".py", flags)
    started.wait_for("Epoch  1 error")
    started.interrupt()
    status, out, err = started.end(60)
    assert (status, err) == (130, "")
    assert out.endswith(f"Picture in {name}.png\n")
    content = (tmp_path / f"{name}.png").read_bytes()
    assert content[:4] == b"\x89PNG" and content[-8:-4] == b"IEND"
    assert os.listdir(str(tmp_path)) == [f"{name}.png"]


@pytest.mark.parametrize("name", ["seq_classify", "seq_label"])
def test_training_goes_on_when_the_window_is_closed(name, run, screen, tmp_path):
    flags = "--num_units 20 --num_layers 1 --num_batches 60 --num_epochs 6"
    started = run(name + ".py", flags, display=screen)
    started.wait_for("Epoch  1 error")
    on_screen = functools.partial(subprocess.check_output, universal_newlines=True,
                                  env=dict(os.environ, DISPLAY=screen))
    window = on_screen(["xdotool", "search", "--onlyvisible", "--name", name])
    on_screen(["wmctrl", "-i", "-c", window.split()[0]])
    status, out, err = started.end()
    assert (status, err) == (0, "")
    assert "Epoch  6 error" in out
    assert os.listdir(str(tmp_path)) == []
