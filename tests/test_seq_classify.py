"""seq_classify.py against numpy, on its data, and as a person runs it.

What both seq scripts promise, above all of --data FILE.npz, is tested here for both.
"""
import gzip
import hashlib
import itertools
import os
import re

import numpy as np
import pytest
from conftest import ROOT, load_tensorflow, numpy_cell
from matplotlib.cbook import is_math_text
from matplotlib.text import Text

SMALL = ("--num_epochs 2 --num_batches 3 --batch_size 4 --num_units 5 --num_layers 2"
         " --plot p.png")
OWN = SMALL + " --data own.npz"
LEARN = ("--data own.npz --plot p.png --num_epochs 3 --num_batches 60 --batch_size 20"
         " --num_units 20 --num_layers 1 --dropout 0.1 --learning_rate 0.01 --decay 1")
LENGTHS = np.array([6, 1, 3, 6, 2, 5, 4])
each_seq_script = pytest.mark.parametrize("script", ["seq_classify.py", "seq_label.py"])


# --- What test_seq_label.py uses, too ---
def numpy_layers(cell, sequence, weights):
    """Return the outputs of the second of two layers of 5 units for one sequence."""
    half = len(weights) // 2
    for layer in weights[:half], weights[half:]:
        state, outputs = np.zeros((2, 1, 5)), []
        for x in sequence:
            before = np.zeros((2, 1, 5)) if cell == "none" else state
            state = numpy_cell(cell.replace("none", "gru"), layer, x[None], before)
            outputs.append(state[-1][0])
        sequence = outputs
    return np.array(sequence)


def softmax(logit):
    return np.exp(logit) / np.exp(logit).sum(-1, keepdims=True)


def random_weights(seq):
    """Fill all trainable variables of the script with numbers; return them."""
    numbers, weights = np.random.RandomState(0), []
    for variable in seq.loss.graph.get_collection("trainable_variables"):
        weights.append(numbers.normal(0, 0.5, variable.shape.as_list()))
        variable.load(weights[-1], seq.sess)
    return weights


def slopes_of_lead(logit, x):
    """Return d (best logit - second) / d x by differences; logit: [many, classes]."""
    everyone, (second, best) = np.arange(len(x)), np.argsort(logit(x), axis=1).T[-2:]
    slopes = np.zeros(x.shape)
    for place in np.ndindex(x.shape[1:]):
        little = np.zeros(x.shape[1:])
        little[place] = 0.01
        moved = (logit(x + little) - logit(x - little)) / 0.02
        slopes[(everyone, *place)] = moved[everyone, best] - moved[everyone, second]
    return slopes


def spy_on_feeds(monkeypatch):
    """Return a list that gets the feed of each sess.run."""
    tf = load_tensorflow()
    real_run, feeds = tf.Session.run, []

    def spy(self, fetches, feed_dict=None, *rest):
        feeds.append(feed_dict or {})
        return real_run(self, fetches, feed_dict, *rest)

    monkeypatch.setattr(tf.Session, "run", spy)
    return feeds


def save_arrays(script="seq_classify.py", **more):
    """Write own.npz for the script, sorted by class; return its arrays.

    A class is the place of the 1 in the first step; in seq_label.py, where every second
    sequence has padding, of the 1 in the step before, and 0 in the first.
    """
    arrays = {}
    for part, many in ("train", 600), ("test", 60):
        numbers = np.random.RandomState(many)
        x, y = numbers.uniform(0, 0.5, (many, 6, 4)), np.arange(many) * 4 // many
        x[np.arange(many), 0, y] = 1
        if script == "seq_label.py":
            y = numbers.randint(4, size=(many, 6))
            x[:, :-1] += np.eye(4)[y[:, 1:]]
            y[:, 0] = 0
            arrays["length_" + part] = np.where(np.arange(many) % 2, 3, 6)
        arrays["x_" + part], arrays["y_" + part] = x.astype(np.float32), y
    arrays.update(more)
    np.savez("own.npz", **arrays)
    return arrays


# --- Against mathematics ---
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_network_prediction_and_loss_equal_numpys_of_the_real_steps(cell, run):
    arrays = save_arrays()
    seq = run("seq_classify.py", f"{OWN} --cell {cell}")
    x, y = arrays["x_test"][::9] - 0.5, arrays["y_test"][::9]
    *of_cells, kernel, bias = random_weights(seq)
    output = np.array([numpy_layers(cell, row, of_cells) for row in x])
    expected = softmax(output @ kernel + bias)
    for ends, more in (np.full(7, 6), {}), (LENGTHS, {seq.length: LENGTHS}):
        feed = {seq.data: x, seq.target: y, **more}
        reading, prediction, loss = seq.sess.run(
            [seq.reading, seq.prediction, seq.loss], feed)
        for i, end in enumerate(ends):
            np.testing.assert_allclose(reading[i, :end], expected[i, :end], atol=1e-5)
        last = expected[np.arange(7), ends - 1]
        np.testing.assert_allclose(prediction, last, atol=1e-5)
        costs = -np.log(last[np.arange(7), y])
        assert loss == pytest.approx(costs.mean(), abs=1e-5)
    huge = {seq.logit: [[1000, 0, 0, 0]], seq.target: [2]}
    assert seq.sess.run(seq.loss, huge) == 1000  # log(softmax) would be infinite


def test_windows_are_fed_the_state_that_the_rows_before_leave(run, monkeypatch):
    save_arrays()
    flags = OWN + " --cell lstm --dropout 0 --learning_rate 1e-9"  # no weight moves
    whole = run("seq_classify.py", flags).losses
    feeds = spy_on_feeds(monkeypatch)
    seq = run("seq_classify.py", flags + " --truncated_backprop_length 2")
    assert np.allclose(seq.losses, whole, atol=1e-6)
    trained = [i for i, feed in enumerate(feeds) if seq.target in feed]
    rows = {x.tobytes() for x in seq.x_train}
    for before, window in ((feeds[i - 1], feeds[i]) for i in trained):
        assert seq.dropout in before and seq.dropout in window
        parts = [before[seq.data], window[seq.data]]
        assert parts[1].shape[1] == 2  # so no gradient goes further
        assert {x.tobytes() for x in np.concatenate(parts, axis=1)} <= rows


@each_seq_script
def test_dropout_is_the_share_of_outputs_dropped(script, run):
    save_arrays(script)
    seq = run(script, OWN + " --num_units 200 --num_layers 1")
    random_weights(seq)
    whole, dropped = (seq.sess.run(seq.output, {
        seq.data: seq.x_test, seq.dropout: share}) for share in (0, 0.25))
    assert abs((dropped == 0).mean() - 0.25) < 0.03
    first, whole = dropped[:, 0], whole[:, 0]  # of steps without a past
    assert np.allclose(first[first != 0] * 0.75, whole[first != 0], 1e-5)


@each_seq_script
def test_training_is_the_same_whenever_one_looks(script, run, monkeypatch):
    save_arrays(script)
    losses = []
    for times in itertools.repeat(0.0), (2.0**i for i in itertools.count()):
        monkeypatch.setattr("time.perf_counter", times.__next__)
        losses.append(run(script, OWN + " --dropout 0.5").losses)
    assert losses[0] == losses[1]  # the second time it is always late: it looks often


# --- What is fed ---
@each_seq_script
def test_batches_are_random_examples_with_dropout_and_the_test_is_of_all(
        script, run, monkeypatch):
    """And --shift moves what is learned from by so many pixels."""
    save_arrays(script)
    feeds = spy_on_feeds(monkeypatch)
    flags = " --num_batches 30 --learning_rate 0.01 --decay 0.5 --dropout 0.3"
    is_classify = script == "seq_classify.py"
    seq = run(script, OWN + flags + " --shift 1" * is_classify)
    trained = [feed for feed in feeds if seq.target in feed]
    assert [feed[seq.decayed_rate] for feed in trained] == [0.01] * 30 + [0.005] * 30
    assert [feed[seq.dropout] for feed in feeds if seq.dropout in feed] == [0.3] * 60
    moves = set(itertools.product([-1, 0, 1], repeat=2)) if is_classify else {(0, 0)}
    known = {np.roll(x, move, axis=(0, 1)).tobytes(): (i, move)
             for i, x in enumerate(seq.x_train) for move in moves}
    found = []
    for feed in trained:
        found += [known[x.tobytes()] for x in feed[seq.data]]
        chosen = [i for i, _ in found[-4:]]
        assert (feed[seq.target] == seq.y_train[chosen]).all()
        assert (feed[seq.length] == seq.length_train[chosen]).all()
    assert {move for _, move in found} == moves
    assert len({i for i, _ in found}) > 180  # of 600, in 240 draws

    tested = {x.tobytes() for feed in feeds if seq.dropout not in feed
              for x in feed.get(seq.data, [])}
    assert {x.tobytes() for x in seq.x_test} <= tested


# --- Data ---
def test_drawn_digits_are_many_and_each_set_has_its_own_fonts(run):
    seq = run("seq_classify.py", SMALL + " --num_epochs 1")
    assert (len(seq.x_train), len(seq.x_test)) == (10000, 2000)
    assert set(seq.train_fonts) == set(seq.TRAIN_FONTS)
    assert set(seq.test_fonts) == set(seq.TEST_FONTS)
    fonts = seq.TRAIN_FONTS + seq.TEST_FONTS
    eights = {seq.print_character("8", font, 0).tobytes() for font in fonts}
    assert len(eights) == len(fonts)  # none is in both, or replaced by another
    printed = [np.ravel(seq.print_character(digit, "DejaVuSans", 0).resize((28, 28)))
               for digit in "0123456789"]
    for x, y in (seq.x_train, seq.y_train), (seq.x_test, seq.y_test):
        means = [x[y == digit].mean(axis=0).ravel() for digit in range(10)]
        alike = np.corrcoef(printed, means)[:10, 10:]
        assert (alike.argmax(axis=0) == range(10)).all()


def test_mnist_is_the_articles(run):
    if not os.path.exists(os.path.join(ROOT, "data", "train-images-idx3-ubyte.gz")):
        pytest.skip("skipped: needs data/train-images-idx3-ubyte.gz and its fellows")
    seq = run("seq_classify.py", SMALL + " --num_epochs 1 --data mnist")
    assert [*seq.y_train[:5], *seq.y_test[:5]] == [5, 0, 4, 1, 9, 7, 2, 1, 0, 4]
    means = [(len(x), round(float(x.mean()), 4)) for x in (seq.x_train, seq.x_test)]
    assert means == [(60000, 0.1307), (10000, 0.1325)]


def test_mnist_is_downloaded_once_and_only_with_its_digest(
        run, serve, tmp_path, monkeypatch, capsys):
    url, asked = serve
    with open(os.path.join(ROOT, "seq_classify.py"), encoding="utf-8") as file:
        text = re.sub(r'MNIST_URL = ".+"', f'MNIST_URL = "{url}"', file.read())
    y = np.arange(40, dtype=np.uint8) % 10
    x = np.arange(40 * 784).reshape(40, 28, 28).astype(np.uint8)
    names = re.findall(r'"(\S+ubyte\.gz)"', text)
    for name, digest in zip(names, re.findall(r'"(\w{64})"', text)):
        body = y if "labels" in name else np.append(y[:8], x)  # its header is longer
        packed = gzip.compress(b"8 bytes," + body.tobytes())
        (tmp_path / "served" / name).write_bytes(packed)
        text = text.replace(digest, hashlib.sha256(packed).hexdigest())
    script, flags = str(tmp_path / "seq.py"), SMALL + " --num_epochs 1 --data mnist"
    (tmp_path / "seq.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr("os.access", lambda *_: False)  # as if nothing could be written
    for _ in range(2):
        seq = run(script, flags)
        assert asked == ["/" + name for name in names]
    assert (seq.y_test == y).all() and np.allclose(seq.x_test * 255, x)
    assert sorted(os.listdir("data")) == sorted(names)

    (tmp_path / "data" / names[0]).write_bytes(gzip.compress(b"cut off"))
    for folder in "data", "served":
        (tmp_path / folder / names[3]).rename(tmp_path / f"{folder}.gz")
    with pytest.raises(SystemExit, match="2"):
        run(script, flags)
    assert asked[4:6] == ["/" + names[0], "/" + names[3]]
    line = capsys.readouterr().err.splitlines()[-1]
    assert "--data mnist: " in line and f"put {names[3]} into {tmp_path}" in line


# --- What people bring: --data FILE.npz, of both scripts ---
@each_seq_script
def test_own_data_are_learned_but_not_what_is_beyond_a_true_length(script, run):
    """Seeds 1 to 5 misread none of the test."""
    arrays = save_arrays(script, names=list("abcd"))
    for part in "train", "test":
        x, y = arrays["x_" + part].astype(np.float16), arrays["y_" + part].astype(float)
        length = arrays["length_" + part] = np.arange(len(x)) % 2 * 2 + 3
        beyond = np.arange(6) >= length[:, None]
        arrays["x_" + part] = np.where(beyond[:, :, None], np.nan, x)
        arrays["y_" + part] = np.where(beyond, 255, y) if y.ndim == 2 else y
    np.savez("own.npz", **arrays)
    seq = run(script, LEARN)
    assert seq.errors[-1] < 0.05
    assert len(set(seq.sample)) == 500  # of 600 that are sorted by class
    assert min(np.bincount(np.ravel(seq.y_train[seq.sample] + 1))[1:]) > 100
    answers = seq.predict(seq.x_train[seq.sample], seq.length_train[seq.sample])
    right = seq.y_train[seq.sample]
    wrong = (answers.argmax(-1) != right)[right >= 0]
    assert seq.train_errors[-1] == wrong.mean() < 0.05


@each_seq_script
def test_baselines_names_and_classes_that_are_never_learned_are_told(
        script, run, capsys):
    """And a name that is drawn is no markup, and not too long."""
    arrays = save_arrays(script)
    rare = np.random.RandomState(0).rand(*arrays["y_train"].shape) < 0.03
    arrays["y_train"][...] = rare
    arrays["y_test"][::2], arrays["y_test"][1::2] = 0, 3
    names = ["$$_a$b$ and so on", "$rare$", "not at all", "$tested$"]
    np.savez("own.npz", names=names, **arrays)
    seq = run(script, OWN)
    told = capsys.readouterr().out
    assert "In y_test only, so never learned: $tested$\n" in told
    share = np.mean(seq.y_train[seq.y_train >= 0])
    cost = -share * np.log(share) - (1 - share) * np.log(1 - share)
    error = np.mean(seq.y_test[seq.y_test >= 0] > 0)
    assert f"Guessing costs {cost:.4f} nats\n" in told
    assert f"Without reading, always {names[0]}: error {error:.1%}\n" in told
    for panel, height in ("loss", cost), ("error", 100 * error):
        assert np.allclose(seq.axes[panel].lines[0].get_ydata(), height)

    seq.picture.figure.canvas.draw()
    texts = [text.get_text() for text in seq.picture.figure.findobj(Text)]
    texts = [text for text in texts if "mathdefault" not in text]  # ticks of the loss
    assert any(text.startswith(r"always \$\$_a\$b") for text in texts)
    assert not any(is_math_text(text) or "and so on" in text for text in texts)


@each_seq_script
def test_bad_own_data_get_one_line(script, refused):
    arrays = save_arrays(script, length_train=np.full(600, 6))
    x, y, y_train = arrays["x_test"], arrays["y_test"], arrays["y_train"]
    for fault, changed in [
        ("xtrain, y_test, y_train are not those of --help", {"xtrain": [0]}),
        ("allow_pickle=False (see --help", {"x_test": x.astype(object)}),
        ("x_test (60, 5, 4) and y_test (60", {"x_test": x[:, :5]}),
        ("do not fit", {"y_test": y[:-1]}),
        ("length_test is not from 1 to 6", {"length_test": np.arange(60) % 7}),
        ("x_test is not finite", {"x_test": x + np.inf}),
        ("y_train has other labels than 0, 1, 2", {"y_train": y_train - 2}),
        ("1 classes", {"y_train": y_train * 0, "y_test": y * 0}),
        ("2 classes or names, for labels up to 3", {"names": ["a", "b"]}),
    ]:
        np.savez("own.npz", **{**arrays, **changed})
        line = refused(script, "--data own.npz")
        assert "--data own.npz: " in line and fault in line
    assert "--data mnistt: " in refused(script, "--data mnistt")
    if script == "seq_classify.py":
        save_arrays(length_train=np.full(600, 3))
        flags = "--data own.npz --truncated_backprop_length 2"
        assert "needs sequences of one length" in refused(script, flags)


# --- As a person runs it ---
def test_prints_the_articles_line_and_shows_two_of_the_test_set(run, capsys):
    save_arrays(length_test=np.arange(60) % 5 + 2)
    seq = run("seq_classify.py", LEARN + " --num_epochs 2 --num_batches 15")
    lines = re.findall(r"^Epoch  (\d) error (\S+)% loss (\S+)$",
                       capsys.readouterr().out, re.M)
    means = np.mean(np.reshape(seq.losses, (2, 15)), axis=1)
    assert lines == [(str(i + 1), f"{100 * seq.errors[i]:.1f}", f"{means[i]:.4f}")
                     for i in range(2)]
    y, ends = seq.y_test, seq.length_test
    answers = seq.predict(seq.x_test, ends).argmax(axis=1)
    assert seq.errors[-1] == np.mean(answers != y)
    told = seq.picture.figure.texts[0].get_text()
    assert f"reads {seq.errors[-1]:.1%} of the test set wrong" in told
    assert list(seq.loss_line.get_ydata()) == seq.losses
    for line, errors in (seq.test_line, seq.errors), (seq.train_line, seq.train_errors):
        np.testing.assert_allclose(line.get_ydata(), np.multiply(errors, 100))
    assert seq.train_errors != seq.errors

    def ask(of, x):
        return seq.sess.run(of, {seq.data: x, seq.length: ends[seq.shown]})

    x = seq.x_test[seq.shown]
    thoughts = ask(seq.reading, x)
    slopes = slopes_of_lead(lambda x: ask(seq.logit, x), x)
    for i, (example, color) in enumerate(zip(seq.shown, ["green", "red"])):
        title, end = seq.images[i].axes.title, ends[example]
        assert (answers[example] == y[example]) == (color == "green")
        assert (title.get_text(), title.get_color()) == (
            f"{y[example]}, read as {answers[example]}", color)
        drawn = seq.images[i], seq.thoughts[i], seq.lenses[i]
        image, thought, lens = (np.ma.filled(d.get_array(), np.nan) for d in drawn)
        assert (image[:end] == x[i, :end]).all() and np.isnan(image[end:]).all()
        np.testing.assert_allclose(thought[:end], thoughts[i, :end], atol=1e-5)
        assert np.isnan(thought[end:]).all()
        assert abs(lens).max() > 0.05
        np.testing.assert_allclose(lens, slopes[i], atol=3e-3)
        assert seq.lenses[i].cmap.name == "RdBu"  # blue: above 0
        np.testing.assert_allclose(seq.row_lines[i].get_xdata(),
                                   np.sqrt((slopes[i] ** 2).sum(axis=1)), atol=3e-3)
        assert list(seq.row_lines[i].get_ydata()) == list(range(6))
