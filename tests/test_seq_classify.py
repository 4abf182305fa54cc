"""seq_classify.py against numpy, on its data, and as a person runs it.

What both seq scripts promise, above all of --data FILE.npz, is tested here for both.
"""
import gzip
import hashlib
import os
import re
import signal
import zipfile

import numpy as np
import pytest
from conftest import ROOT, load_tensorflow, numpy_cell
from PIL import Image

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


def random_weights(tf, sess):
    """Fill all trainable variables of the session's graph with numbers; return them."""
    numbers, weights = np.random.RandomState(0), []
    sess.run([v.initializer for v in sess.graph.get_collection("variables")])
    for variable in sess.graph.get_collection("trainable_variables"):
        weights.append(numbers.normal(0, 0.5, variable.shape.as_list()))
        variable.load(weights[-1], sess)
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


def make_arrays(label_axes=1):
    """Return sequences whose class is the place of the 1 in their first step.

    With two label axes, each step has a class, 0 in the first step and then the place
    of the 1 in the step before; every second sequence has three steps of padding.
    """
    arrays = {}
    for part, many in ("train", 300), ("test", 50):
        numbers = np.random.RandomState(many)
        x, y = numbers.uniform(0, 0.5, (many, 6, 4)), numbers.randint(4, size=many)
        x[np.arange(many), 0, y] = 1
        if label_axes == 2:
            y = numbers.randint(4, size=(many, 6))
            x[:, :-1] += np.eye(4)[y[:, 1:]]
            y[:, 0] = 0
            arrays["length_" + part] = np.where(np.arange(many) % 2, 3, 6)
        arrays["x_" + part], arrays["y_" + part] = x.astype(np.float32), y
    return arrays


@pytest.fixture
def arrays(tmp_path):
    """own.npz for seq_classify.py, see make_arrays."""
    arrays = make_arrays()
    np.savez(str(tmp_path / "own.npz"), **arrays)
    return arrays


def with_drawing_recorded(script, folder):
    """Write seq.py, a copy that keeps in DRAWN what it draws.

    An entry is (characters, fonts, distortion, noise).
    """
    with open(os.path.join(ROOT, script), encoding="utf-8") as file:
        text = file.read()
    line = "    paper = RendererAgg"
    assert text.count(line) == 1
    text = text.replace("def draw(characters", "DRAWN = []\n\n\ndef draw(characters")
    text = text.replace(line, "    DRAWN.append((list(characters), list(fonts),"
                        " distortion, noise))\n" + line)
    (folder / "seq.py").write_text(text, encoding="utf-8")
    return str(folder / "seq.py")


def arrays_of(script):
    return make_arrays(1 if script == "seq_classify.py" else 2)


# --- Against mathematics ---
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_network_prediction_and_loss_equal_numpys_of_the_real_steps(cell, run, arrays):
    seq = run("seq_classify.py", f"{OWN} --cell {cell}")
    x, y = arrays["x_test"][:7] - 0.5, arrays["y_test"][:7]
    with seq.tf.Session(graph=seq.loss.graph) as sess:
        *of_cells, kernel, bias = random_weights(seq.tf, sess)
        feed = {seq.data: x, seq.target: y}
        output, whole, reading, loss = sess.run(
            [seq.output, seq.prediction, seq.reading, seq.loss], feed)
        feed[seq.length] = LENGTHS
        parts, loss_of_parts = sess.run([seq.prediction, seq.loss], feed)
        huge = sess.run(seq.loss, {seq.logit: [[1000, 0, 0, 0]], seq.target: [2]})
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


def test_a_window_of_all_steps_is_no_window(run, arrays):
    whole, window = (run("seq_classify.py", OWN + more).losses
                     for more in ("", " --truncated_backprop_length 6"))
    assert whole == window


def test_dropout_is_the_share_dropped(run, arrays):
    seq = run("seq_classify.py", f"{OWN} --num_units 200 --num_layers 1")
    feed = {seq.data: arrays["x_test"]}
    with seq.tf.Session(graph=seq.loss.graph) as sess:
        random_weights(seq.tf, sess)
        whole = sess.run(seq.output, feed)
        assert (whole == sess.run(seq.output, {**feed, seq.dropout: 0})).all()
        dropped = sess.run(seq.output, {**feed, seq.dropout: 0.25})
    assert (whole != 0).all() and abs((dropped == 0).mean() - 0.25) < 0.02
    kept = dropped[:, 0] != 0  # a first step's outputs
    np.testing.assert_allclose(dropped[:, 0][kept] * 0.75, whole[:, 0][kept], 1e-5)


@pytest.mark.parametrize("more, reach", [("", 6), ("--truncated_backprop_length 2", 2)])
def test_lens_is_how_a_pixel_moves_the_lead_over_the_second(more, reach, run, arrays):
    seq = run("seq_classify.py", f"{OWN} --num_units 8 {more}")
    random_weights(seq.tf, seq.sess)
    lengths = np.full(7, 6) if more else LENGTHS

    def logit(x):
        return seq.sess.run(seq.logit, {seq.data: x, seq.length: lengths})

    x = arrays["x_test"][:7]
    pulls = seq.what_tips(x, lengths)
    everyone, (second, best) = np.arange(7), np.argsort(logit(x), axis=1).T[-2:]
    for step, feature in np.ndindex(6, 4):
        little = np.zeros((6, 4))
        little[step, feature] = 0.01
        slopes = (logit(x + little) - logit(x - little)) / 0.02
        slope = slopes[everyone, best] - slopes[everyone, second]
        is_seen = (step < lengths) & (step >= 6 - reach)
        assert (np.isnan(pulls[:, step, feature]) == ~is_seen).all()
        np.testing.assert_allclose(pulls[is_seen, step, feature], slope[is_seen],
                                   atol=3e-3)
        assert not slope[step >= lengths].any()


@each_seq_script
def test_the_lens_and_thoughts_drawn_are_of_what_is_shown(script, run):
    arrays = arrays_of(script)
    np.savez("own.npz", **arrays)
    seq = run(script, OWN + " --num_units 40 --num_batches 60 --learning_rate 0.01")
    if script == "seq_classify.py":
        shown = [seq.images[i].get_array() for i in range(2)]
        assert all(image.axes.get_ylim() == (5.5, -0.5) for image in seq.images)
        lengths = np.full(2, 6)
        assert (np.array(shown) == seq.x_test[seq.examples]).all()
        pulls = seq.what_tips(np.array(shown), lengths)
        for i in range(2):
            np.testing.assert_allclose(seq.lenses[i].get_array(), pulls[i], atol=1e-5)
            assert seq.lenses[i].cmap.name == "RdBu"  # blue: above 0
            assert np.allclose(seq.lenses[i].get_clim()[1], abs(pulls[i]).max())
            of_this, of_others = seq.strengths[i]
            by_row = np.sqrt((pulls[i] ** 2).sum(axis=1))
            np.testing.assert_allclose(of_this.get_xdata(), by_row, 1e-4)
            assert list(of_this.get_ydata()) == list(range(6))
            others = seq.what_tips(seq.x_test[:4], seq.length_test[:4])
            others = np.concatenate([pulls, others])
            np.testing.assert_allclose(of_others.get_xdata(), np.sqrt(
                (others**2).sum(axis=2)).mean(axis=0), 1e-4)
    else:
        x, n = seq.x_test[seq.shown], seq.length_test[seq.shown]
        expected = {offset: [] for offset in range(-3, 4)}
        for sequence, end in zip(x, n):
            middle = (end - 1) // 2
            gradient = seq.sess.run(seq.pull, {
                seq.data: [sequence], seq.length: [end], seq.asked: [middle]})[0]
            for offset in expected:
                if 0 <= middle + offset < end:
                    expected[offset].append(np.linalg.norm(gradient[middle + offset]))
        heights = [bar.get_height() for bar in seq.bars]
        places = [bar.get_x() + bar.get_width() / 2 for bar in seq.bars]
        np.testing.assert_allclose(places, list(expected), atol=1e-9)
        np.testing.assert_allclose(
            heights, [np.mean(norms or 0) for norms in expected.values()], rtol=1e-4)
        assert heights[3] > 0 and heights[2] > 0 and heights[4:] == [0, 0, 0]


# --- What is fed: of both scripts ---
@each_seq_script
def test_dropout_is_fed_in_training_alone_and_the_rate_decays(script, run, monkeypatch):
    np.savez("own.npz", **arrays_of(script))
    flags = f"{OWN} --learning_rate 0.01 --decay 0.5 --dropout 0.3"
    feeds = spy_on_feeds(monkeypatch)
    seq = run(script, flags)
    trained = [feed for feed in feeds if seq.target.name in feed]
    assert [feed[seq.decayed_rate.name] for feed in trained] == [0.01] * 3 + [0.005] * 3
    assert [feed[seq.dropout.name] for feed in trained] == [0.3] * 6
    assert sum(feed.get(seq.dropout.name, 0) != 0 for feed in feeds) == 6
    read = [len(feed[seq.data.name]) for feed in feeds
            if seq.data.name in feed and seq.length.name in feed
            and seq.target.name not in feed]
    assert sum(read) > 2 * 50  # the test, after each of two epochs


@each_seq_script
def test_batches_are_random_examples_of_all_with_their_labels(script, run, monkeypatch):
    arrays = arrays_of(script)
    np.savez("own.npz", **arrays)
    feeds = spy_on_feeds(monkeypatch)
    seq = run(script, OWN + " --num_batches 30")
    known = {x[:3].tobytes(): i for i, x in enumerate(arrays["x_train"])}
    found = set()
    for feed in feeds:
        if seq.target.name in feed:
            chosen = [known[x[:3].tobytes()] for x in feed[seq.data.name]]
            labels = feed[seq.target.name], arrays["y_train"][chosen]
            given, right = (np.reshape(y, (4, -1))[:, :3] for y in labels)
            assert (given == right).all()  # the first three are never padding
            found.update(chosen)
    assert len(found) > 150  # of 300, in 240 draws


def test_the_rows_before_the_window_have_dropout_and_leave_its_state(
    run, arrays, monkeypatch
):
    flags = OWN + " --truncated_backprop_length 2 --dropout 0.3"
    feeds = spy_on_feeds(monkeypatch)
    seq = run("seq_classify.py", flags)
    before = [feed for feed in feeds
              if feed.get(seq.dropout.name) and seq.target.name not in feed]
    window = [feed for feed in feeds if seq.target.name in feed]
    rows = {x.tobytes() for x in arrays["x_train"]}
    assert len(before) == len(window) == 6
    for of_before, of_window in zip(before, window):
        assert of_before[seq.dropout.name] == 0.3
        parts = [of_before[seq.data.name], of_window[seq.data.name]]
        assert parts[1].shape[1] == 2
        assert {x.tobytes() for x in np.concatenate(parts, axis=1)} <= rows
        for state in seq.tf.nest.flatten(seq.init_state):
            assert of_window[state.name].any()


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


def test_shift_moves_what_is_learned_from_and_not_the_test(run, monkeypatch):
    feeds = spy_on_feeds(monkeypatch)
    seq = run("seq_classify.py", SMALL + " --shift 1")
    known = {x.tobytes() for x in [*seq.x_train, *seq.x_test]}
    for is_trained in True, False:
        fed = [x for feed in feeds if (seq.target.name in feed) == is_trained
               and seq.length.name in feed for x in feed[seq.data.name]]
        share = np.mean([x.tobytes() in known for x in fed])
        assert share < 0.5 if is_trained else share == 1


# --- Data ---
def test_drawn_digits_are_many_in_their_fonts_and_beyond_a_linear_classifier(
    run, tmp_path
):
    seq = run(with_drawing_recorded("seq_classify.py", tmp_path), SMALL)
    assert (len(seq.x_train), len(seq.x_test)) == (10000, 2000)
    for (characters, fonts, *difficulty), y, own in zip(
            seq.DRAWN, [seq.y_train, seq.y_test], [seq.TRAIN_FONTS, seq.TEST_FONTS]):
        assert "".join(characters) == "".join(map(str, y))
        assert set(fonts) == set(own)
        assert difficulty == [0.25, 0.1]  # of the test as of the training
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


def test_mnist_is_downloaded_once_and_only_with_its_digest(
        run, serve, tmp_path, capsys):
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
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run(script, SMALL + " --data mnist")
    told = capsys.readouterr().err + str(ended.value)
    assert re.search("hash|SHA-256", told)


@each_seq_script
def test_ctrl_c_while_data_are_drawn_ends_in_one_line(script, start, tmp_path):
    """It comes between two lines of Python: old C code that loads fonts may lose it."""
    with open(os.path.join(ROOT, script), encoding="utf-8") as file:
        before, line, after = file.read().partition("    paper = RendererAgg")
    interrupt = "    os.kill(os.getpid(), signal.SIGINT)\n"
    text = before + interrupt + line + after
    (tmp_path / "seq.py").write_text(text, encoding="utf-8")
    status, _, err = start(str(tmp_path / "seq.py")).end()
    assert status in (1, -signal.SIGINT) and err.endswith("Interrupted")  # 1: on 3.7
    assert "Traceback" not in err
    assert os.listdir(str(tmp_path)) == ["seq.py"]


# --- What people bring: --data FILE.npz, of both scripts ---
@each_seq_script
def test_own_data_are_learned_and_the_answers_kept(script, run):
    arrays = arrays_of(script)
    np.savez("own.npz", names=list("abcd"), **arrays)
    seq = run(script, f"{LEARN} --predictions said.npz")
    assert seq.errors[-1] < 0.05
    assert seq.train_errors[-1] < 0.05
    with np.load("said.npz") as file:
        said = dict(file)
    y = arrays["y_test"]
    if script == "seq_label.py":
        padding = np.arange(6) >= arrays["length_test"][:, None]
        assert (said["length"] == arrays["length_test"]).all()
        y = np.where(padding, -1, y)
    assert said["answers"].shape == y.shape
    assert np.mean(said["answers"] != y) < 0.05
    np.testing.assert_allclose(said["probabilities"].sum(-1), 1, rtol=1e-5)
    assert said["names"].tolist() == list("abcd")


def test_lengths_choose_the_last_real_step(run, tmp_path):
    """Seeds 1 to 5 misread 1 to 10 %; where all 40 steps count, about half."""
    numbers = np.random.RandomState(0)
    arrays = {}
    for part, many in ("train", 2000), ("test", 200):
        x = numbers.uniform(0, 1, (many, 40, 1))
        length = numbers.randint(3, 13, size=many)
        arrays["y_" + part] = (x[np.arange(many), length - 1, 0] > 0.5).astype(int)
        x[np.arange(40) >= length[:, None]] = np.nan  # beyond it, anything may stand
        arrays["x_" + part], arrays["length_" + part] = x, length
    np.savez("own.npz", **arrays)
    assert run("seq_classify.py", LEARN).errors[-1] < 0.2


@each_seq_script
def test_labels_of_any_number_type_are_the_same_and_half_precision_too(
        script, run, capsys):
    losses = []
    for label_type in int, bool, float:
        arrays = arrays_of(script)
        for name in arrays:
            if name[0] == "y":
                arrays[name] = (arrays[name] > 1).astype(label_type)
            elif name[0] == "l" and label_type is float:
                arrays[name] = arrays[name].astype(np.uint8)
            elif name[0] == "x":
                arrays[name] = arrays[name].astype(np.float16)
        np.savez("own.npz", **arrays)
        losses.append(run(script, OWN + " --num_epochs 1").losses)
    assert losses[0] == losses[1] == losses[2]
    assert "Warning" not in capsys.readouterr().err


@each_seq_script
def test_what_is_beyond_a_true_length_has_no_influence(script, run, capsys):
    told = []
    for of_x, of_y in (0, 0), (np.nan, 255):
        arrays = arrays_of(script)
        for part in "train", "test":
            length = np.arange(len(arrays["x_" + part])) % 2 * 2 + 4
            beyond = np.arange(6) >= length[:, None]
            arrays["length_" + part] = length
            arrays["x_" + part][beyond] = of_x
            if script == "seq_label.py":
                arrays["y_" + part][beyond] = of_y
        np.savez("own.npz", names=list("abcd"), **arrays)
        losses = run(script, OWN + " --predictions said.npz").losses
        with np.load("said.npz") as said:
            assert said["probabilities"].shape[-1] == 4
            told.append((losses, said["answers"].tolist()))
    assert told[0] == told[1]


@each_seq_script
def test_parts_of_other_lengths_are_told_how_to_pad(script, refused):
    arrays = arrays_of(script)
    arrays["x_test"] = arrays["x_test"][:, :5]
    if script == "seq_label.py":
        arrays["y_test"] = arrays["y_test"][:, :5]
        arrays["length_test"] = np.minimum(arrays["length_test"], 5)
    np.savez("own.npz", **arrays)
    line = refused(script, "--data own.npz")
    assert ("x_test (50, 5, 4) does not fit x_train (300, 6, 4); the shorter steps can"
            " be padded with zeros: length_train, length_test tell the real") in line


@each_seq_script
def test_guessing_knows_the_shares_of_the_classes_and_no_more(script, run, capsys):
    """A rare class: to say the other always is 3 % wrong, and costs 0.2 nats."""
    arrays = arrays_of(script)
    for part in "train", "test":
        x, y = arrays["x_" + part], arrays["y_" + part]
        arrays["y_" + part] = np.random.RandomState(0).rand(*y.shape) < 0.03
        x[:] = np.random.RandomState(1).rand(*x.shape)
    np.savez("own.npz", names=["usual", "rare"], **arrays)
    seq = run(script, OWN)
    real = np.full(len(y), True) if y.ndim == 1 else seq.y_test >= 0
    share = np.mean(seq.y_train[seq.y_train >= 0])
    cost = -share * np.log(share) - (1 - share) * np.log(1 - share)
    line = seq.loss_axes.get_lines()[0]
    np.testing.assert_allclose(line.get_ydata(), cost, rtol=1e-5)
    error = np.mean(arrays["y_test"][real])
    told = capsys.readouterr().out
    assert f"Without reading, always usual: error {error:.1%}\n" in told
    line = seq.error_axes.get_lines()[0]
    np.testing.assert_allclose(line.get_ydata(), 100 * error)
    assert seq.blind_text.get_text() == " always usual"


@each_seq_script
def test_the_training_curve_is_of_all_kinds_of_examples(script, run):
    arrays = {}
    for part, many in ("train", 600), ("test", 50):
        y = np.repeat([0, 1], many)  # sorted by class
        x = np.random.RandomState(many).uniform(-1, 1, (2 * many, 2, 1))
        arrays["x_" + part], arrays["y_" + part] = x, y
        if script == "seq_label.py":
            arrays["y_" + part] = np.repeat(y[:, None], 2, axis=1)
    np.savez("own.npz", **arrays)
    seq = run(script, OWN)
    assert len(set(seq.sample)) == 500 and 0.4 < np.mean(seq.y_train[seq.sample]) < 0.6
    feed = {seq.data: seq.x_train[seq.sample]}
    answers = seq.sess.run(seq.prediction, feed).argmax(-1)
    assert seq.train_errors[-1] == np.mean(answers != seq.y_train[seq.sample])
    assert 0.35 < seq.train_errors[-1] < 0.65  # the first 500: all right, or all wrong


def spoiled(array, value):
    """Return a copy whose last number, which is real in all of them, is the value."""
    array = array.astype(np.result_type(array, type(value)))
    array[(-1,) + (0,) * (array.ndim - 1)] = value
    return array


@each_seq_script
@pytest.mark.parametrize("name, change, fault", [
    ("y_train", lambda y: spoiled(y, 0.5), "y_train has [0.5]"),
    ("y_test", lambda y: spoiled(y, -100), "y_test has [-100"),
    ("y_test", lambda y: spoiled(y, np.nan), "y_test has [nan]"),
    ("y_train", lambda y: spoiled(y, np.inf), "y_train has [inf]"),
    ("y_train", lambda y: y.astype(str), "y_train holds <U"),
    ("y_train", lambda y: y * 1j, "y_train holds complex"),
    ("y_train", lambda y: y * 0 + 3, "y_train has one class only"),
    ("y_train", lambda y: y * 1000, "y_train has 4 classes, and the highest is 3000:"),
    ("y_train", lambda y: y + 10000, "y_train has [1000"),
    ("y_train", lambda y: y[:-1], "y_train (299,"),
    ("y_test", lambda y: y[..., None, None], "y_test (50,"),
    ("y_test", None, "lacks y_test"),
    ("x_train", None, "lacks x_train"),
    ("x_train", lambda x: spoiled(x, np.nan), "x_train has NaN"),
    ("x_test", lambda x: spoiled(x, np.inf), "x_test has NaN, infinity"),
    ("x_test", lambda x: spoiled(x.astype(float), 1e300), "x_test has NaN, infinity"),
    ("x_train", lambda x: x * 1j, "x_train holds complex"),
    ("x_train", lambda x: x.astype(str), "x_train holds <U"),
    ("x_test", lambda x: x.astype(object), "Object arrays cannot be loaded when"
     " allow_pickle=False. Lists of different lengths? Pad them to one length, and tell"
     " by length_train, length_test [many] how many steps of each are real"),
    ("x_train", lambda x: x[:, 0], "x_train (300, 4) is not [many, steps, features]"),
    ("x_test", lambda x: x[:0], "x_test (0, 6, 4) is not [many, steps, features]"),
    ("x_train", lambda x: x[:, :0], "x_train (300, 0, 4) is not [many, st"),
    ("x_test", lambda x: x[:, :, :3], "x_test (50, 6, 3) does not fit x_train (300, 6"),
    ("length_test", lambda _: np.zeros(50), "length_test is not 50 whole numbers from"),
    ("length_train", lambda _: np.full(300, 7), "length_train is not 300 whole"),
    ("length_train", lambda _: np.full(300, -2), "length_train is not 300"),
    ("length_test", lambda _: np.full(49, 3), "length_test is not 50 wh"),
    ("names", lambda _: ["a", "b"], "names (2,) are not one for each of the classes 0"),
    ("xtrain", lambda _: [0], "has xtrain; known are length_test, length_train, names"),
])
@pytest.mark.filterwarnings("error::RuntimeWarning")  # it would be a second line
def test_bad_own_data_get_one_line(name, change, fault, script, refused):
    load_tensorflow()
    arrays = arrays_of(script)
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change(arrays.get(name))
    np.savez("bad.npz", **arrays)
    line = refused(script, "--data bad.npz --predictions said.npz")
    assert "--data bad.npz: " + fault in line


@each_seq_script
def test_what_is_no_npz_gets_one_line(script, refused, tmp_path):
    line = refused(script, "--data mnistt")
    assert "mnistt: is no other choice of --help, and no .npz file, as np.savez" in line
    assert "and no .npz file" in refused(script, f"--data {tmp_path}")
    np.save("a.npy", np.ones(3))
    assert "and no .npz file" in refused(script, "--data a.npy")
    with zipfile.ZipFile("text.npz", "w") as archive:
        archive.writestr("x_train", "hello")
    assert "lacks x_test, y_test, y_train" in refused(script, "--data text.npz")
    np.savez("broken.npz", **arrays_of(script))
    with open("broken.npz", "r+b") as file:
        file.seek(300)
        file.write(b"spoiled")
    assert "--data broken.npz: " in refused(script, "--data broken.npz")


@each_seq_script
@pytest.mark.parametrize("flags, fault", [
    ("--truncated_backprop_length 7", "above the 6 steps there are"),
    ("--shift 1", "--shift 1 is for images"),
    ("--predictions said.txt", "--predictions said.txt does not end in .npz"),
    ("--predictions own.npz/said.npz", "--predictions own.npz/said.npz: "),
    ("--predictions own.npz", "--predictions own.npz would overwrite --data"),
    ("--predictions ./own.npz", "--predictions ./own.npz would overwrite --data"),
])
def test_flags_that_own_data_do_not_fit_get_one_line(flags, fault, script, refused):
    np.savez("own.npz", **arrays_of(script))
    assert fault in refused(script, "--data own.npz " + flags)


def test_windows_need_one_length(refused):
    np.savez("own.npz", length_train=np.full(300, 3), **make_arrays())
    line = refused("seq_classify.py", "--data own.npz --truncated_backprop_length 2")
    assert "needs sequences of one length" in line


@each_seq_script
def test_large_numbers_get_a_warning_and_are_taken(script, run, capsys):
    arrays = arrays_of(script)
    for part in "x_train", "x_test":
        arrays[part] = (arrays[part] * 127).astype(np.uint8)
    np.savez("own.npz", **arrays)
    run(script, OWN)
    assert "x_train has " in capsys.readouterr().out


# --- As a person runs it ---
def test_it_learns_what_came_first(run, arrays):
    """Seeds 1 to 5 misread none of 50 sequences."""
    for seed in 1, 2:
        assert run("seq_classify.py", f"{LEARN} --seed {seed}").errors[-1] < 0.05


def test_prints_the_articles_line_and_shows_the_same(run, arrays, capsys):
    arrays["length_test"] = np.arange(50) % 5 + 2
    np.savez("own.npz", **arrays)
    seq = run("seq_classify.py", OWN)
    lines = re.findall(r"^Epoch  (\d) error (\S+)% loss (\S+), \d+ examples/s$",
                       capsys.readouterr().out, re.M)
    means = np.mean(np.reshape(seq.losses, (2, 3)), axis=1)
    assert lines == [(str(i + 1), f"{100 * seq.errors[i]:.1f}", f"{means[i]:.4f}")
                     for i in range(2)]
    y = arrays["y_test"]
    feed = {seq.data: arrays["x_test"], seq.length: arrays["length_test"]}
    probabilities = seq.sess.run(seq.prediction, feed)  # the session is still open
    assert (seq.answers == probabilities.argmax(axis=1)).all()
    assert seq.errors[-1] == np.mean(seq.answers != y)
    told = seq.headline.get_text()
    assert f"reads {seq.errors[-1]:.1%} of the test set wrong" in told
    assert seq.loss_line.get_ydata() == seq.losses
    for line, errors in (seq.test_line, seq.errors), (seq.train_line, seq.train_errors):
        np.testing.assert_allclose(line.get_ydata(), np.multiply(errors, 100))

    for i, color in enumerate(["green", "red"]):  # last right, first wrong
        example = np.flatnonzero((seq.answers == y) == (color == "green"))[[-1, 0][i]]
        end, title = arrays["length_test"][example], seq.images[i].axes.title
        assert (title.get_text(), title.get_color()) == (
            f"{y[example]}, read as {seq.answers[example]}", color)
        shown = seq.images[i].get_array()
        assert (shown[:end] == arrays["x_test"][example, :end]).all()
        thought = seq.thoughts[i].get_array()
        np.testing.assert_allclose(thought[end - 1], probabilities[example], 1e-5)
        for array in shown, thought, seq.lenses[i].get_array():
            assert np.ma.getmaskarray(array)[end:].all()
    pairs = list(zip(y, seq.answers))
    for pair in np.ndindex(4, 4):
        assert seq.count_texts[pair].get_text() == str(pairs.count(pair) or "")
        share = pairs.count(pair) / list(y).count(pair[0])  # of the row's true class
        assert seq.confusion.get_array()[pair] == pytest.approx(share**0.5)


def readmes_lines(script):
    """Return the blocks of Python code in the README's section on the script."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        section = file.read().split(f"## {script}")[1].split("\n## ")[0]
    section = re.sub("<details>.*?</details>", "", section, flags=re.S)
    return re.findall(r"```python\n(.*?)```", section, re.S)


def test_readmes_lines_read_an_image_in_the_session(run, capsys):
    seq = run("seq_classify.py", SMALL)
    image = np.uint8(255 * (1 - seq.x_test[7]))
    Image.fromarray(image).save("mine.png")
    of_image, _, halfway = readmes_lines("seq_classify.py")
    capsys.readouterr()
    exec(of_image, vars(seq))
    assert capsys.readouterr().out == f"{seq.answers[7]}\n"
    np.testing.assert_allclose(seq.mine, seq.x_test[7], atol=1 / 255)
    exec(halfway, vars(seq))
    readings = seq.sess.run(seq.reading, {seq.data: seq.x_test})[:, 13]
    wrong = np.mean(readings.argmax(axis=1) != seq.y_test)  # asked after 14 rows
    assert capsys.readouterr().out == f"{wrong}\n"


def test_readmes_lines_make_data_of_a_table(run):
    numbers, lines = np.random.RandomState(0), ["x,y,z,activity"]
    for block in range(300):
        activity = ["sit", "walk", "run"][block % 3]
        for t in range(50):
            x, y, z = numbers.normal(0, 0.1, 3)
            lines.append(f"{x},{y + (block % 3) * np.sin(t)},{z + 9.8},{activity}")
    with open("sensors.csv", "w") as file:
        file.write("\n".join(lines) + "\n")
    _, of_table, _ = readmes_lines("seq_classify.py")
    exec(of_table, {})
    seq = run("seq_classify.py", LEARN)
    assert seq.names.tolist() == ["run", "sit", "walk"]
    assert (len(seq.x_train), len(seq.x_test)) == (240, 60)
    assert seq.errors[-1] < 0.1  # seeds 1 to 5: none


def test_readmes_lines_make_data_of_tagged_words(run):
    numbers, sentences = np.random.RandomState(0), []
    for _ in range(400):
        words = numbers.choice(["running 2", "sung 2", "dogs 1", "cats 1", "the 0"],
                               size=numbers.randint(2, 7))
        sentences.append("\n".join(words))
    with open("tags.txt", "w") as file:
        file.write("\n\n".join(sentences) + "\n")
    (of_tags,) = readmes_lines("seq_label.py")
    exec(of_tags, {})
    seq = run("seq_label.py", LEARN)
    assert seq.names.tolist() == ["", "0", "1", "2"]
    assert (seq.x_train[seq.y_train == 3].sum(axis=1) >= 3).all()
    assert seq.errors[-1] < 0.1  # seeds 1 to 5: none
