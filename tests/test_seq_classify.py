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


# --- The network in numpy, sequence by sequence; test_seq_label.py uses it, too ---
def numpy_layers(cell, sequence, weights):
    """Return the outputs of the second of two layers of 5 units for one sequence."""
    half = len(weights) // 2
    for layer in weights[:half], weights[half:]:
        state, outputs = np.zeros((2, 1, 5)), []
        for x in sequence:
            if cell == "none":
                state = np.zeros((2, 1, 5))
            kind = "gru" if cell == "none" else cell
            state = numpy_cell(kind, layer, x[None], state)
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


def spy_on_feeds(monkeypatch):
    """Return a list that gets the feed of each sess.run: {name of a tensor: value}."""
    tf = load_tensorflow()
    real_run, feeds = tf.Session.run, []

    def spy(self, fetches, feed_dict=None, *rest):
        feeds.append({})
        for key, value in (feed_dict or {}).items():
            parts = tf.nest.flatten(value) if isinstance(key, tuple) else [value]
            for tensor, part in zip(tf.nest.flatten(key), parts):
                feeds[-1][tensor.name] = np.asarray(part)
        return real_run(self, fetches, feed_dict, *rest)

    monkeypatch.setattr(tf.Session, "run", spy)
    return feeds


def make_arrays(script):
    """Return sequences, sorted by class: the place of the 1 in their first step.

    Of seq_label.py each step has a class, 0 in the first step and then the place of the
    1 in the step before; every second sequence has three steps of padding.
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
    return arrays


def save_arrays(script="seq_classify.py", **more):
    """Write own.npz for the script, see make_arrays; return the arrays."""
    arrays = {**make_arrays(script), **more}
    np.savez("own.npz", **arrays)
    return arrays


@pytest.fixture
def arrays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return save_arrays()


def with_drawing_recorded(script, folder):
    """Write seq.py, a copy that keeps in DRAWN what it draws: draw's arguments."""
    with open(os.path.join(ROOT, script), encoding="utf-8") as file:
        text = file.read()
    line = "    images = np.random.normal(0, noise"
    assert text.count(line) == 1
    text = text.replace(line, "    DRAWN.append((list(characters), list(fonts),"
                        " distortion, noise))\n" + line)
    text = text.replace("\ndef draw(", "\nDRAWN = []\n\n\ndef draw(")
    (folder / "seq.py").write_text(text, encoding="utf-8")
    return str(folder / "seq.py")


# --- Against mathematics ---
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_network_prediction_and_loss_equal_numpys_of_the_real_steps(cell, run, arrays):
    seq = run("seq_classify.py", f"{OWN} --cell {cell}")
    x, y = arrays["x_test"][::9] - 0.5, arrays["y_test"][::9]
    *of_cells, kernel, bias = random_weights(seq)
    feed = {seq.data: x, seq.target: y}
    output, whole, reading, loss = seq.sess.run(
        [seq.output, seq.prediction, seq.reading, seq.loss], feed)
    feed[seq.length] = LENGTHS
    parts, loss_of_parts = seq.sess.run([seq.prediction, seq.loss], feed)
    huge = seq.sess.run(seq.loss, {seq.logit: [[1000, 0, 0, 0]], seq.target: [2]})
    expected = np.array([numpy_layers(cell, row, of_cells) for row in x])
    np.testing.assert_allclose(output, expected, atol=1e-5)
    expected = softmax(expected @ kernel + bias)
    np.testing.assert_allclose(reading, expected, atol=1e-5)
    everyone = np.arange(7)
    for ends, prediction, total in (6, whole, loss), (LENGTHS, parts, loss_of_parts):
        last = expected[everyone, ends - 1]
        np.testing.assert_allclose(prediction, last, atol=1e-5)
        assert total == pytest.approx(-np.log(last[everyone, y]).mean(), abs=1e-5)
    assert huge == 1000  # the logarithm of a probability would be infinite


def test_windows_are_fed_the_state_that_the_rows_before_leave(run, arrays, monkeypatch):
    flags = OWN + " --cell lstm --dropout {} --learning_rate 1e-9"  # no weight moves
    whole = run("seq_classify.py", flags.format(0)).losses
    feeds = spy_on_feeds(monkeypatch)
    flags += " --truncated_backprop_length 2"
    windows = run("seq_classify.py", flags.format(0)).losses
    np.testing.assert_allclose(windows, whole, atol=1e-6)

    feeds.clear()
    seq = run("seq_classify.py", flags.format(0.3))
    trained = [i for i, feed in enumerate(feeds) if seq.target.name in feed]
    rows = {x.tobytes() for x in arrays["x_train"]}
    assert len(trained) == 6
    for before, window in ((feeds[i - 1], feeds[i]) for i in trained):
        assert before[seq.dropout.name] == window[seq.dropout.name] == 0.3
        parts = [before[seq.data.name], window[seq.data.name]]
        assert parts[1].shape[1] == 2  # so no gradient goes further
        assert {x.tobytes() for x in np.concatenate(parts, axis=1)} <= rows


@each_seq_script
def test_dropout_is_the_share_dropped_of_what_is_read_from_either_end(script, run):
    save_arrays(script)
    both = " --bidirectional 1" if script == "seq_label.py" else ""
    seq = run(script, OWN + " --num_units 200 --num_layers 1" + both)
    random_weights(seq)
    whole, dropped = (seq.sess.run(seq.output, {
        seq.data: seq.x_test, seq.dropout: share}) for share in (0, 0.25))
    assert (whole != 0).all()
    for part in np.split(dropped, 2 if both else 1, axis=2):
        assert abs((part == 0).mean() - 0.25) < 0.03
    kept = dropped[:, 0, :200] != 0  # of a first step
    np.testing.assert_allclose(dropped[:, 0, :200][kept] * 0.75,
                               whole[:, 0, :200][kept], 1e-5)


@each_seq_script
def test_training_is_the_same_whenever_one_looks(script, run, monkeypatch):
    save_arrays(script)
    losses = []
    for times in itertools.repeat(0.0), (2.0**i for i in itertools.count()):
        monkeypatch.setattr("time.perf_counter", times.__next__)
        seq = run(script, OWN + " --dropout 0.5")
        losses.append(seq.losses)  # the second time it is always late: it looks often
    assert losses[0] == losses[1]


def test_lens_and_thoughts_drawn_are_of_what_is_shown(run, arrays):
    save_arrays(length_test=np.arange(60) % 5 + 2)
    seq = run("seq_classify.py", LEARN + " --num_epochs 1")
    shown = [*seq.examples, *range(20)]
    x, ends = seq.x_test[shown], seq.length_test[shown]

    def ask(of, x):
        return seq.sess.run(of, {seq.data: x, seq.length: ends})

    thoughts, logit = ask([seq.reading, seq.logit], x)
    everyone, (second, best) = np.arange(22), np.argsort(logit, axis=1).T[-2:]
    slopes = np.zeros(x.shape)  # of the lead, by every pixel
    for step, feature in np.ndindex(6, 4):
        little = np.zeros((6, 4))
        little[step, feature] = 0.01
        moved = (ask(seq.logit, x + little) - ask(seq.logit, x - little)) / 0.02
        slopes[:, step, feature] = moved[everyone, best] - moved[everyone, second]
    assert abs(slopes).max() > 0.1
    by_row = np.sqrt((slopes**2).sum(axis=2))
    for i, end in enumerate(ends[:2]):
        drawn = seq.images[i], seq.thoughts[i], seq.lenses[i]
        image, thought, lens = (np.ma.filled(d.get_array(), np.nan) for d in drawn)
        assert (image[:end] == x[i, :end]).all() and np.isnan(image[end:]).all()
        np.testing.assert_allclose(thought[:end], thoughts[i, :end], atol=1e-5)
        assert np.isnan(thought[end:]).all()
        np.testing.assert_allclose(lens, slopes[i], atol=3e-3)
        assert seq.lenses[i].cmap.name == "RdBu"  # blue: above 0
        assert seq.lenses[i].get_clim() == (-abs(lens).max(), abs(lens).max())
        assert {d.axes.get_ylim() for d in drawn} == {(5.5, -0.5)}
        of_this, of_all = seq.strengths[i]
        np.testing.assert_allclose(of_this.get_xdata(), by_row[i], atol=3e-3)
        np.testing.assert_allclose(of_all.get_xdata(), by_row.mean(axis=0), atol=3e-3)
        assert list(of_this.get_ydata()) == list(range(6))


# --- What is fed ---
@each_seq_script
def test_batches_are_random_examples_with_dropout_and_the_test_is_of_all(
        script, run, monkeypatch):
    arrays = save_arrays(script)
    feeds = spy_on_feeds(monkeypatch)
    seq = run(script, OWN + " --num_batches 30 --learning_rate 0.01 --decay 0.5"
              " --dropout 0.3")
    trained = [feed for feed in feeds if seq.target.name in feed]
    rates = [feed[seq.decayed_rate.name] for feed in trained]
    assert rates == [0.01] * 30 + [0.005] * 30
    assert {float(feed[seq.dropout.name]) for feed in trained} == {0.3}
    assert sum(seq.dropout.name in feed for feed in feeds) == 60
    known = {x[:3].tobytes(): i for i, x in enumerate(arrays["x_train"])}
    found = set()
    for feed in trained:
        chosen = [known[x[:3].tobytes()] for x in feed[seq.data.name]]
        labels = feed[seq.target.name], arrays["y_train"][chosen]
        given, right = (np.reshape(y, (4, -1))[:, :3] for y in labels)
        assert (given == right).all()  # the first three are never padding
        found.update(chosen)
    assert len(found) > 180  # of 600, in 240 draws

    tested = {x.tobytes() for feed in feeds if seq.dropout.name not in feed
              for x in feed.get(seq.data.name, [])}
    assert {x.tobytes() for x in seq.x_test} <= tested


def test_shift_moves_what_is_learned_from_by_so_many_pixels(run, arrays, monkeypatch):
    feeds = spy_on_feeds(monkeypatch)
    seq = run("seq_classify.py", OWN + " --shift 1 --num_batches 30")
    moves = {np.roll(x, move, axis=(0, 1)).tobytes(): move for x in seq.x_train
             for move in itertools.product([-1, 0, 1], repeat=2)}
    found = {moves[feed[seq.data.name][0].tobytes()]
             for feed in feeds if seq.target.name in feed}
    assert len(found) == 9


# --- Data ---
def test_drawn_digits_are_many_and_each_set_has_its_own_fonts(run, tmp_path):
    seq = run(with_drawing_recorded("seq_classify.py", tmp_path), SMALL)
    assert (len(seq.x_train), len(seq.x_test)) == (10000, 2000)
    assert not set(seq.TRAIN_FONTS) & set(seq.TEST_FONTS)
    for (characters, fonts, *_), y, own in zip(
            seq.DRAWN, [seq.y_train, seq.y_test], [seq.TRAIN_FONTS, seq.TEST_FONTS]):
        assert "".join(characters) == "".join(map(str, y))
        assert set(fonts) == set(own)
    fonts = seq.TRAIN_FONTS + seq.TEST_FONTS
    eights = {seq.print_character("8", font, 0).tobytes() for font in fonts}
    assert len(eights) == len(fonts)  # none is missing and replaced by another


def test_mnist_is_the_articles(run):
    if not os.path.exists(os.path.join(ROOT, "data", "train-images-idx3-ubyte.gz")):
        pytest.skip("skipped: needs data/train-images-idx3-ubyte.gz and its fellows")
    seq = run("seq_classify.py", SMALL + " --num_epochs 1 --data mnist")
    for x, y, many, mean, first in [
        (seq.x_train, seq.y_train, 60000, 0.13066, [5, 0, 4, 1, 9]),
        (seq.x_test, seq.y_test, 10000, 0.132515, [7, 2, 1, 0, 4]),
    ]:
        assert (x.shape, y[:5].tolist()) == ((many, 28, 28), first)
        assert x.mean() == pytest.approx(mean, abs=1e-5)


def test_mnist_is_downloaded_once_and_only_with_its_digest(
        run, serve, tmp_path, monkeypatch, capsys):
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
    script, flags = str(tmp_path / "seq.py"), SMALL + " --data mnist"
    (tmp_path / "seq.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr("os.access", lambda *_: False)  # as if nothing could be written
    for _ in range(2):
        seq = run(script, flags)
        assert asked == ["/" + name for name in names]
    assert (seq.y_test == y).all() and seq.x_train.dtype == np.float32
    np.testing.assert_allclose(seq.x_test * 255, x, rtol=1e-5)
    assert sorted(os.listdir("data")) == sorted(names)

    (tmp_path / "data" / names[0]).write_bytes(gzip.compress(b"cut off"))
    run(script, flags)
    assert asked[4:] == ["/" + names[0]]
    for folder in "data", "served":
        (tmp_path / folder / names[3]).rename(tmp_path / f"{folder}.gz")
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        run(script, flags)
    (line,) = capsys.readouterr().err.splitlines()
    assert "--data mnist: " in line and f"put {names[3]} into {tmp_path}" in line


# --- What people bring: --data FILE.npz, of both scripts ---
@each_seq_script
def test_own_data_are_learned_and_part_of_them_is_tested(script, run):
    """Seeds 1 to 5 misread none of the test."""
    arrays = save_arrays(script, names=list("abcd"))
    seq = run(script, LEARN)
    assert seq.errors[-1] < 0.05
    assert len(set(seq.sample)) == 500  # of 600 that are sorted by class
    if script == "seq_classify.py":
        assert min(np.bincount(arrays["y_train"][seq.sample])) > 100
    answers = seq.predict(seq.x_train[seq.sample], seq.length_train[seq.sample])
    right = seq.y_train[seq.sample]
    wrong = (answers.argmax(-1) != right)[right >= 0]
    assert seq.train_errors[-1] == wrong.mean() < 0.05


@each_seq_script
def test_number_types_and_what_is_beyond_a_true_length_have_no_influence(
        script, run, capsys):
    losses = []
    for label_type, beyond_x, beyond_y in (int, 0, 0), (float, np.nan, 255):
        arrays = make_arrays(script)
        for part in "train", "test":
            length = np.arange(len(arrays["x_" + part])) % 2 * 2 + 4
            beyond = np.arange(6) >= length[:, None]
            x = arrays["x_" + part].astype(np.float16)
            x[beyond] = beyond_x
            y = (arrays["y_" + part] > 1).astype(label_type)
            if script == "seq_label.py":
                y[beyond] = beyond_y
            arrays.update({"x_" + part: x, "y_" + part: y, "length_" + part: length})
        np.savez("own.npz", **arrays)
        losses.append(run(script, OWN).losses)
    assert losses[0] == losses[1]
    assert "Warning" not in capsys.readouterr().err


@each_seq_script
def test_baselines_names_and_classes_that_are_never_learned_are_told(
        script, run, capsys):
    """And a name that is drawn is no markup, and not too long."""
    arrays = make_arrays(script)
    rare = np.random.RandomState(0).rand(*arrays["y_train"].shape) < 0.03
    arrays["y_train"][...] = rare
    arrays["y_test"][...] = np.arange(60).reshape(-1, *[1] * (rare.ndim - 1)) % 2 * 3
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
    lines = [seq.axes[panel].lines[0] for panel in ("loss", "error")]
    for line, height in zip(lines, [cost, 100 * error]):
        np.testing.assert_allclose(line.get_ydata(), height, rtol=1e-5)
    assert lines[1].get_label().replace("\\", "") in "always $$_a$b$ and so on"

    seq.picture.figure.canvas.draw()
    texts = [text.get_text() for text in seq.picture.figure.findobj(Text)]
    texts = [text for text in texts if "mathdefault" not in text]  # ticks of the loss
    assert any("$" in text for text in texts)
    assert not any(is_math_text(text) or "and so on" in text for text in texts)


@each_seq_script
def test_bad_own_data_get_one_line(script, refused):
    arrays = save_arrays(script, length_train=np.full(600, 6))
    x, y, y_train = arrays["x_test"], arrays["y_test"], arrays["y_train"]
    first = np.arange(x.size).reshape(x.shape) == 0
    for fault, changed in [
        ("x_train, y_train are not those of --help", {"y_test": None}),
        ("xtrain, y_test, y_train are not those of --help", {"xtrain": [0]}),
        ("allow_pickle=False (see --help; lists must be padded to one length)",
         {"x_test": x.astype(object)}),
        ("x_test, float32 (60, 5, 4), is not numbers", {"x_test": x[:, :5]}),
        ("x_test, <U32 (60, 6, 4), is not", {"x_test": x.astype("U32")}),
        ("x_test, float32 (0, 6, 4), is not", {"x_test": x[:0]}),
        ("is not numbers (60", {"y_test": y[:-1]}),
        ("length_test is not 60 whole numbers from 1 to 6",
         {"length_test": np.arange(60) % 7}),
        ("x_test has NaN", {"x_test": np.where(first, np.inf, x)}),
        ("y_train has other labels than 0, 1, 2", {"y_train": y_train - 2}),
        ("y_train, <U", {"y_train": y_train.astype(str)}),
        ("y_train has 4 classes, and the highest is 3000", {"y_train": y_train * 1000}),
        ("y_train has 1 classes", {"y_train": y_train * 0 + 3}),
        ("the highest is 3: number", {"names": ["a", "b"]}),
    ]:
        bad = {**arrays, **changed}
        np.savez("own.npz", **{k: v for k, v in bad.items() if v is not None})
        line = refused(script, "--data own.npz")
        assert "--data own.npz: " in line and fault in line
    for name in "mnistt", "old.png", ".":
        assert f"--data {name}: " in refused(script, f"--data {name}")
    if script == "seq_classify.py":
        save_arrays(length_train=np.full(600, 3))
        flags = "--data own.npz --truncated_backprop_length 2"
        assert "needs sequences of one length" in refused(script, flags)


# --- As a person runs it ---
def test_prints_the_articles_line_and_shows_the_same(run, arrays, capsys):
    seq = run("seq_classify.py", OWN)
    lines = re.findall(r"^Epoch  (\d) error (\S+)% loss (\S+)$",
                       capsys.readouterr().out, re.M)
    means = np.mean(np.reshape(seq.losses, (2, 3)), axis=1)
    assert lines == [(str(i + 1), f"{100 * seq.errors[i]:.1f}", f"{means[i]:.4f}")
                     for i in range(2)]
    y = arrays["y_test"]
    answers = seq.predict(arrays["x_test"], np.full(60, 6)).argmax(axis=1)
    assert seq.errors[-1] == np.mean(answers != y)
    told = seq.picture.figure.texts[0].get_text()
    assert f"reads {seq.errors[-1]:.1%} of the test set wrong" in told
    assert list(seq.loss_line.get_ydata()) == seq.losses
    for line, errors in (seq.test_line, seq.errors), (seq.train_line, seq.train_errors):
        np.testing.assert_allclose(line.get_ydata(), np.multiply(errors, 100))
    for i, color in enumerate(["green", "red"]):  # one right, one wrong
        example, title = seq.examples[i], seq.images[i].axes.title
        assert (answers[example] == y[example]) == (color == "green")
        assert (title.get_text(), title.get_color()) == (
            f"{y[example]}, read as {answers[example]}", color)
    pairs = list(zip(y, answers))
    for row, column in np.ndindex(4, 4):
        count = pairs.count((row, column))
        assert seq.count_texts[row][column].get_text() == str(count or "")
        share = count / list(y).count(row)  # of the row's true class
        assert seq.confusion.get_array()[row, column] == pytest.approx(share**0.5)
