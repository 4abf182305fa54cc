"""seq_classify.py against numpy, on its data, and as a person runs it."""
import gzip
import hashlib
import os
import re

import numpy as np
import pytest
from conftest import ROOT, numpy_cell

SMALL = ("--num_epochs 2 --num_batches 3 --batch_size 4 --num_units 5 --num_layers 2"
         " --plot p.png")
OWN = SMALL + " --data own.npz"
LEARN = ("--data own.npz --plot p.png --num_epochs 3 --num_batches 60 --batch_size 20"
         " --num_units 20 --num_layers 1 --dropout 0.1 --learning_rate 0.01")


# --- The network in numpy, sequence by sequence; test_seq_label.py uses it, too ---
def numpy_layers(cell, sequence, weights):
    """Return the outputs of the second of two layers of 5 units for one sequence."""
    half = len(weights) // 2
    for layer in weights[:half], weights[half:]:
        state, outputs = np.zeros((2, 1, 5)), []
        for x in sequence:
            state = numpy_cell(cell, layer, x[None], state)
            outputs.append(state[-1][0])
        sequence = outputs
    return np.array(sequence)


def softmax(logit):
    return np.exp(logit) / np.exp(logit).sum(-1, keepdims=True)


def random_weights(tf, sess):
    """Fill all trainable variables of the session's graph with numbers; return them."""
    numbers, weights = np.random.RandomState(0), []
    sess.run([v.initializer for v in sess.graph.get_collection("variables")])
    for variable in sess.graph.get_collection("trainable_variables"):
        weights.append(numbers.normal(0, 0.5, variable.shape.as_list()))
        variable.load(weights[-1], sess)
    return weights


@pytest.fixture
def arrays(tmp_path):
    """own.npz: sequences whose class is the place of the 1 in their first step."""
    arrays = {}
    for part, many in ("train", 300), ("test", 50):
        numbers = np.random.RandomState(many)
        x, y = numbers.uniform(0, 0.5, (many, 6, 4)), numbers.randint(4, size=many)
        x[np.arange(many), 0, y] = 1
        arrays["x_" + part], arrays["y_" + part] = x.astype(np.float32), y
    np.savez(str(tmp_path / "own.npz"), **arrays)
    return arrays


# --- Against mathematics ---
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_network_prediction_and_loss_equal_numpy(cell, run, arrays):
    seq = run("seq_classify.py", f"{OWN} --cell {cell}")
    x, y = arrays["x_test"][:7] - 0.5, arrays["y_test"][:7]
    with seq.tf.Session(graph=seq.loss.graph) as sess:
        *of_cells, kernel, bias = random_weights(seq.tf, sess)
        output, prediction, reading, loss = sess.run(
            [seq.output, seq.prediction, seq.reading, seq.loss],
            {seq.data: x, seq.target: y})
        huge = sess.run(seq.loss, {seq.logit: [[1000, 0, 0, 0]], seq.target: [2]})
    expected = np.array([numpy_layers(cell, row, of_cells) for row in x])
    np.testing.assert_allclose(output, expected, atol=1e-5)
    expected = softmax(expected @ kernel + bias)
    np.testing.assert_allclose(reading, expected, atol=1e-5)
    np.testing.assert_allclose(prediction, expected[:, -1], atol=1e-5)
    expected = -np.log(expected[np.arange(7), -1, y]).mean()
    np.testing.assert_allclose(loss, expected, atol=1e-5)
    assert huge == 1000  # the logarithm of a probability would be infinite


@pytest.mark.parametrize("cell, rate", [("gru", 1e-9), ("lstm", 0.1)])
def test_windows_and_their_states_are_the_whole_forward_pass(cell, rate, run, arrays):
    flags = f"{OWN} --cell {cell} --dropout 0 --learning_rate {rate}"
    whole = run("seq_classify.py", flags).losses
    windows = run("seq_classify.py", flags + " --truncated_backprop_length 2").losses
    np.testing.assert_allclose(windows[0], whole[0], atol=1e-6)
    if rate == 1e-9:  # the weights stay as they are
        np.testing.assert_allclose(windows, whole, atol=1e-6)
    else:  # another gradient
        assert abs(windows[-1] - whole[-1]) > 1e-4


def test_dropout_is_the_share_dropped_in_training_alone(run, arrays, monkeypatch):
    seq = run("seq_classify.py", f"{OWN} --num_units 200 --num_layers 1")
    feed, real_run, feeds = {seq.data: arrays["x_test"]}, seq.tf.Session.run, []
    with seq.tf.Session(graph=seq.loss.graph) as sess:
        random_weights(seq.tf, sess)
        whole = sess.run(seq.output, feed)
        assert (whole == sess.run(seq.output, {**feed, seq.dropout: 0})).all()
        dropped = sess.run(seq.output, {**feed, seq.dropout: 0.25})
    assert (whole != 0).all() and abs((dropped == 0).mean() - 0.25) < 0.02
    kept = dropped[:, 0] != 0  # a first step's outputs
    np.testing.assert_allclose(dropped[:, 0][kept] * 0.75, whole[:, 0][kept], 1e-5)

    def spy(self, fetches, feed_dict=None, *rest):
        feeds.append({key.name: value for key, value in (feed_dict or {}).items()})
        return real_run(self, fetches, feed_dict, *rest)

    monkeypatch.setattr(seq.tf.Session, "run", spy)
    run("seq_classify.py", f"{OWN} --learning_rate 0.01 --decay 0.5 --dropout 0.3")
    trained = [feed for feed in feeds if seq.target.name in feed]
    assert [feed[seq.rate.name] for feed in trained] == [0.01] * 3 + [0.005] * 3
    assert [feed[seq.dropout.name] for feed in trained] == [0.3] * 6
    assert sum(seq.dropout.name in feed for feed in feeds) == 6


def test_shift_images_moves_each_by_up_to_so_many_pixels(run, arrays):
    shift_images = run("seq_classify.py", OWN).shift_images
    images = np.zeros((2000, 5, 7), np.float32)
    images[:, 2, 3] = np.arange(1, 2001)
    moved = shift_images(images, 2)
    which, row, column = np.nonzero(moved)
    assert (which == np.arange(2000)).all()
    assert (moved[which, row, column] == np.arange(1, 2001)).all()
    assert set(zip(row, column)) == {(y, x) for y in range(5) for x in range(1, 6)}
    assert (shift_images(images, 0) == images).all()


# --- Data ---
def test_drawn_digits_are_many_and_not_to_be_read_by_a_linear_classifier(run):
    seq = run("seq_classify.py", SMALL)
    assert (len(seq.x_train), len(seq.x_test)) == (10000, 2000)
    fonts = seq.TRAIN_FONTS + seq.TEST_FONTS
    eights = {seq.outline("8", font).vertices.tobytes() for font in fonts}
    assert len(eights) == len(fonts)  # none is missing and replaced by another
    x_train, x_test = (np.append(x.reshape(-1, 784), np.ones((len(x), 1)), 1)
                       for x in (seq.x_train, seq.x_test))
    fit = np.linalg.solve(x_train.T @ x_train + 10 * np.eye(785),
                          x_train.T @ np.eye(10)[seq.y_train])
    assert np.mean((x_test @ fit).argmax(1) != seq.y_test) > 0.1
    assert np.mean((x_train @ fit).argmax(1) != seq.y_train) < 0.2  # labels are theirs


def test_mnist_is_the_articles(run):
    if not os.path.exists(os.path.join(ROOT, "data", "train-images-idx3-ubyte.gz")):
        pytest.skip("skipped: needs data/train-images-idx3-ubyte.gz and its fellows")
    seq = run("seq_classify.py", SMALL + " --data mnist")
    for x, y, many, mean, first in [
        (seq.x_train, seq.y_train, 60000, 0.13066, [5, 0, 4, 1, 9]),
        (seq.x_test, seq.y_test, 10000, 0.132515, [7, 2, 1, 0, 4]),
    ]:
        assert (x.shape, y[:5].tolist()) == ((many, 28, 28), first)
        assert x.mean() == pytest.approx(mean, abs=1e-5)


def test_mnist_is_downloaded_once_and_only_with_its_digest(run, serve, tmp_path):
    url, asked = serve
    with open(os.path.join(ROOT, "seq_classify.py"), encoding="utf-8") as file:
        text = re.sub(r'MNIST_URL = ".+"', f'MNIST_URL = "{url}"', file.read())
    y = np.arange(40, dtype=np.uint8) % 10
    x = np.arange(40 * 784).reshape(40, 28, 28).astype(np.uint8)
    names = re.findall(r'"(\S+ubyte\.gz)"', text)
    for name, digest in zip(names, re.findall(r'"(\w{64})"', text)):
        header, array = (b" " * 8, y) if "labels" in name else (b" " * 16, x)
        packed = gzip.compress(header + array.tobytes())
        (tmp_path / "served" / name).write_bytes(packed)
        text = text.replace(digest, hashlib.sha256(packed).hexdigest())
    (tmp_path / "seq.py").write_text(text, encoding="utf-8")
    script = str(tmp_path / "seq.py")
    for _ in range(2):
        seq = run(script, SMALL + " --data mnist")
        assert asked == ["/" + name for name in names]
    assert (seq.y_test == y).all() and seq.x_train.dtype == np.float32
    np.testing.assert_allclose(seq.x_test * 255, x, rtol=1e-5)
    assert sorted(os.listdir("data")) == sorted(names)

    for folder in "data", "served":
        (tmp_path / folder / names[0]).write_bytes(gzip.compress(b"other"))
    with pytest.raises((ValueError, SystemExit), match="hash|SHA-256"):
        run(script, SMALL + " --data mnist")


@pytest.mark.parametrize("name, shape", [
    ("x_train", (300, 6)), ("x_test", (50, 5, 4)), ("y_train", (299,)),
])
def test_npz_of_wrong_shapes_gets_one_line(name, shape, arrays, refused):
    np.savez("bad.npz", **{**arrays, name: np.ones(shape, int)})
    assert f"{name[0]} {shape}" in refused("seq_classify.py", "--data bad.npz")


def test_it_learns_what_came_first(run, arrays):
    """Seeds 1 to 5 misread none of 50 sequences."""
    for seed in 1, 2:
        assert run("seq_classify.py", f"{LEARN} --seed {seed}").errors[-1] < 0.05


def test_prints_the_articles_line_and_shows_the_same(run, arrays, capsys):
    seq = run("seq_classify.py", OWN)
    lines = re.findall(r"^Epoch  (\d) error (\S+)% loss (\S+), \d+ examples/s$",
                       capsys.readouterr().out, re.M)
    means = np.mean(np.reshape(seq.losses, (2, 3)), axis=1)
    assert lines == [(str(i + 1), f"{100 * seq.errors[i]:.1f}", f"{means[i]:.4f}")
                     for i in range(2)]
    assert seq.errors[-1] == np.mean(np.array(seq.guesses) != arrays["y_test"])
    loss, error, image, thoughts, confusion = seq.figure.axes
    assert loss.lines[-1].get_ydata() == seq.losses
    np.testing.assert_allclose(error.lines[0].get_ydata(), np.multiply(seq.errors, 100))
    assert (image.images[0].get_array() == arrays["x_test"][0].T).all()
    np.testing.assert_allclose(thoughts.images[0].get_array().sum(0), 1, rtol=1e-5)
    pairs = list(zip(arrays["y_test"], seq.guesses))
    for place, number in zip(np.ndindex(4, 4), confusion.texts):
        assert number.get_text() == str(pairs.count(place) or "")
