"""char_rnn.py against numpy, finite differences and counting, and as it is run."""
import collections
import contextlib
import glob
import hashlib
import http.server
import json
import os
import random
import resource
import shutil
import sys
import threading
import time

import numpy as np
import pytest
from conftest import read_log

import char_rnn

tf = char_rnn.tf
pytestmark = [
    pytest.mark.filterwarnings("ignore:`tf"),
    pytest.mark.filterwarnings("ignore:Glyph"),
]
TENSORFLOW_MODELS = ["manual", "rnn", "gru", "lstm"]
each_model = pytest.mark.parametrize("model", TENSORFLOW_MODELS)
SMALL = "--num_epochs 2 --batch_size 4 --num_steps 5 --num_hidden_units 6"
TEXT = "".join(random.Random(0).choices("abcde fgh\n", k=600))


@pytest.fixture
def main(tmp_path, monkeypatch, capsys):
    """Return a function that runs the script in an empty folder, on a text of its own.

    It gives what main() returns. With stop_after=N, Ctrl-C comes in step N.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(char_rnn.LivePicture, "save", lambda self: None)
    (tmp_path / "text.txt").write_bytes(TEXT.encode())

    def start(flags, stop_after=None):
        left = [stop_after]

        def update(self, n=1):
            left[0] = left[0] and left[0] - 1
            if left[0] == 0:
                sys.exit(130)

        with monkeypatch.context() as patch, contextlib.ExitStack() as expecting:
            if stop_after:
                patch.setattr(char_rnn.Progress, "update", update)
                expecting.enter_context(pytest.raises(SystemExit))
            return char_rnn.main((flags + " --plot p.png").split())

    return start


def build(model, vocab_size=7, batch_size=3, num_steps=4, num_hidden_units=5, **more):
    settings = dict(
        num_layers=2, learning_rate=0.01, decay_rate=0.5, num_batches=2,
        max_gradient_norm=5.0, dropout=0, input_dropout=0, average_decay=0, seed=1,
    )
    return char_rnn.Model(
        model=model, vocab_size=vocab_size, batch_size=batch_size, num_steps=num_steps,
        num_hidden_units=num_hidden_units, **dict(settings, **more),
    )


def windows(seed=0, vocab_size=7, shape=(3, 4)):
    """Return an X and a y that have nothing to do with each other."""
    numbers = np.random.RandomState(seed)
    X, y = numbers.randint(vocab_size, size=(2, *shape))
    return X, y


# --- The data ---
@pytest.mark.parametrize("text", [TEXT, "дом, 家族 😀 e\u0301\n" * 9, "aaaaaaaa"])
def test_encode_and_back(text):
    vocabulary, ids = char_rnn.encode(text)
    assert "".join(vocabulary[i] for i in ids) == text
    assert list(vocabulary) == sorted(set(text))


@pytest.mark.parametrize("written", ["é\nb\n", "\ufeffé\nb\n", "é\r\nb\r\n"])
def test_marks_and_line_ends_are_read_away(tmp_path, written):
    (tmp_path / "t").write_bytes(written.encode())
    assert char_rnn.read_text(str(tmp_path / "t")) == "é\nb\n"


def test_a_byte_that_is_no_text_is_named(tmp_path):
    (tmp_path / "t").write_bytes(b"\xef\xbb\xbfabc" + "é".encode() * 200000 + b"\xff")
    with pytest.raises(ValueError, match="byte 400006 is not UTF-8"):
        char_rnn.read_text(str(tmp_path / "t"))


def test_the_default_text_needs_no_file():
    assert "The \"assert\" statement" in char_rnn.read_text("python")


@pytest.mark.parametrize("first", [0, 2])
def test_windows_go_on_where_the_last_ended(first):
    text = np.arange(101)
    row_length = 100 // 3
    batches = list(char_rnn.generate_batch(text, 3, 4, first))
    X = np.hstack([X for X, _ in batches])
    assert len(batches) == row_length // 4 - first
    for row in range(3):
        start = row * row_length + 4 * first
        np.testing.assert_array_equal(X[row], np.arange(start, start + X.shape[1]))
    np.testing.assert_array_equal(np.hstack([y for _, y in batches]), X + 1)


def test_what_counting_knows_equals_counting_by_hand():
    numbers = np.random.RandomState(0)
    training, validation = numbers.randint(5, size=400), numbers.randint(6, size=90)
    known = char_rnn.what_counting_knows(training, validation, 6)
    ones = collections.Counter(training)
    twos = collections.Counter(zip(training, training[1:]))
    p1 = [(ones[c] + 1) / (400 + 6) for c in validation]
    p2 = [(twos[a, b] + 1) / (ones[a] + 6) for a, b in zip(validation, validation[1:])]
    assert known["guessing"] == np.log(6)
    assert known["single characters"] == pytest.approx(-np.log(p1).mean())
    assert known["pairs"] == pytest.approx(-np.log(p2).mean())


def test_a_long_text_stays_within_the_memory(run, tmp_path):
    (tmp_path / "t").write_bytes("один два три, 😀\n".encode() * 4_000_000)  # 108 MB
    code = (
        "import sys, resource; sys.path.insert(0, sys.argv[1]); import char_rnn;"
        "ids = char_rnn.encode(char_rnn.read_text('t'))[1]; assert len(ids) == 64e6;"
        "print('MB', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    (tmp_path / "load.py").write_text(code)
    status, out, err = run(
        str(tmp_path / "load.py"), os.path.dirname(char_rnn.__file__)
    ).end()
    assert status == 0, err
    assert int(out.split()[1]) < 1500


# --- Against numpy ---
def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(model, weights, X, state):
    """Return logits [rows, steps, classes] and the state, from the equations.

    state: [layers, vectors of a layer, rows, units].
    """
    weights = list(weights)
    embedding = None if model == "manual" else weights.pop(0)
    W_softmax, b_softmax = weights[-2:]
    per_layer = {"manual": 3, "rnn": 2, "gru": 4, "lstm": 2}[model]
    logits, state = [], np.array(state, float)
    for chars in X.T:
        x = np.eye(len(b_softmax))[chars] if embedding is None else embedding[chars]
        for layer in range(2):
            w = weights[layer * per_layer : (layer + 1) * per_layer]
            if model == "manual":
                h = np.tanh(x @ w[0] + state[layer, 0] @ w[1] + w[2])
                state[layer] = [h]
            elif model == "rnn":
                h = np.tanh(np.hstack([x, state[layer, 0]]) @ w[0] + w[1])
                state[layer] = [h]
            elif model == "gru":
                old = state[layer, 0]
                r, u = np.split(sigmoid(np.hstack([x, old]) @ w[0] + w[1]), 2, axis=1)
                h = u * old + (1 - u) * np.tanh(np.hstack([x, r * old]) @ w[2] + w[3])
                state[layer] = [h]
            else:
                c, old = state[layer]
                i, j, f, o = np.split(np.hstack([x, old]) @ w[0] + w[1], 4, axis=1)
                c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(j)
                h = sigmoid(o) * np.tanh(c)
                state[layer] = [c, h]
            x = h
        logits.append(x @ W_softmax + b_softmax)
    return np.stack(logits, 1), state


def cross_entropy(logits, y):
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    return -np.log(np.take_along_axis(p, y[..., None], -1)).mean()


def start_state(model, rows=3, units=5):
    return np.zeros((2, 2 if model == "lstm" else 1, rows, units))


def as_array(state):
    flat = tf.nest.flatten(state)
    return np.array(flat).reshape(2, -1, *flat[0].shape)


@each_model
@pytest.mark.parametrize("learn", [True, False])
def test_losses_and_carried_states_equal_numpy(model, learn):
    network = build(model, learning_rate=0.0)
    weights = network.sess.run(tf.trainable_variables())
    state, known = None, start_state(model)
    for seed in range(3):
        X, y = windows(seed)
        loss, state = network.step(X, y, state, learn=learn)
        logits, known = reference(model, weights, X, known)
        assert loss == pytest.approx(cross_entropy(logits, y), abs=1e-5)
        np.testing.assert_allclose(as_array(state), known, atol=1e-5)


@each_model
def test_gradients_equal_finite_differences(model):
    network = build(model)
    (X, y), (_, state) = windows(), network.step(*windows(5))
    weights = network.sess.run(tf.trainable_variables())
    feed = {network.X: X, network.y: y, network.initial_state: state}
    found = network.sess.run([tf.convert_to_tensor(g) for g in network.gradients], feed)
    numbers = np.random.RandomState(0)
    for which, w in enumerate(weights):
        idx = numbers.randint(w.size)
        slope = 0
        for way in (1e-5, -1e-5):
            changed = [np.array(v, float) for v in weights]
            changed[which].flat[idx] += way
            logits, _ = reference(model, changed, X, as_array(state))
            slope += cross_entropy(logits, y) / way / 2
        assert found[which].flat[idx] == pytest.approx(slope, abs=1e-5)


def test_check_finds_numpy_manual_and_rnn_alike(main):
    differences = main("--check --data text.txt --num_steps 9 --num_hidden_units 8")
    assert len(differences) == 2 * 7 + 5
    assert max(differences.values()) < 1e-5
    assert max(differences.values()) > 0


def test_check_would_find_a_wrong_gradient(main, monkeypatch):
    right = char_rnn.NumpyModel.backward_pass

    def wrong(*args):
        return {**right(*args), "bh": right(*args)["bh"] * 1.01}

    monkeypatch.setattr(char_rnn.NumpyModel, "backward_pass", wrong)
    differences = main("--check --data text.txt --num_steps 9 --num_hidden_units 8")
    wrong = {name for name, found in differences.items() if found > 1e-5}
    assert wrong == {"manual bh", "rnn bh", "slopes bh"}


def test_numpy_learns_by_adagrad_from_clipped_gradients():
    network = char_rnn.NumpyModel(4, 3, 0.1, seed=0)
    network.weights["Why"] *= 1e4  # gradients over 5
    before = {name: w.copy() for name, w in network.weights.items()}
    X, y = windows(1, 4, (1, 30))
    memory = dict.fromkeys(before, 0)
    for _ in range(2):  # a first change is the learning rate, however long the gradient
        loss, xs, hs, ps = network.forward_pass(X[0], y[0], np.zeros((3, 1)))
        gradients = network.backward_pass(y[0], xs, hs, ps)
        assert max(np.abs(g).max() for g in gradients.values()) > 5
        assert network.step(X, y)[0] == pytest.approx(loss / 30)
        for name, w in network.weights.items():
            g = np.clip(gradients[name], -5, 5)
            memory[name] = memory[name] + g * g
            before[name] -= 0.1 * g / np.sqrt(memory[name] + 1e-8)
            np.testing.assert_allclose(w, before[name], atol=1e-12)


# --- Training ---
def test_the_learning_rate_decays_with_each_epoch():
    network = build("rnn", num_batches=2, decay_rate=0.5, learning_rate=0.01)
    before = network.sess.run(tf.trainable_variables()[-1])
    changes = []
    for _ in range(6):  # the first update of Adam is the learning rate itself
        network.step(*windows())
        after = network.sess.run(tf.trainable_variables()[-1])
        changes.append(np.abs(after - before).max())
        before = after
    np.testing.assert_allclose(changes, np.repeat([0.01, 0.005, 0.0025], 2), rtol=0.1)


def test_long_gradients_are_cut():
    network = build("gru", max_gradient_norm=1e-12)  # far below Adam's epsilon of 1e-8
    before = network.sess.run(tf.trainable_variables())
    network.step(*windows())
    for a, b in zip(before, network.sess.run(tf.trainable_variables())):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("rates", [{"dropout": 0.5}, {"input_dropout": 0.5}])
def test_dropout_is_on_in_training_only(rates):
    network = build("gru", learning_rate=0.0, **rates)
    weights = network.sess.run(tf.trainable_variables())
    X, y = windows()
    known = cross_entropy(reference("gru", weights, X, start_state("gru"))[0], y)
    for _ in range(3):
        assert network.step(X, y, learn=False)[0] == pytest.approx(known, abs=1e-5)
    assert len({network.step(X, y)[0] for _ in range(5)}) == 5


@each_model
def test_averaged_weights_are_what_reads_and_writes(model):
    network = build(model, average_decay=0.9)
    averages = network.sess.run(tf.trainable_variables())
    for step in range(1, 6):
        decay = min(0.9, step / (9 + step))
        averages = [
            decay * a + (1 - decay) * w
            for a, w in zip(averages, network.sess.run(tf.trainable_variables()))
        ]
        network.step(*windows(step))
    X, y = windows()
    known = cross_entropy(reference(model, averages, X, start_state(model))[0], y)
    assert network.step(X, y, learn=False)[0] == pytest.approx(known, abs=1e-5)
    written = network.sample([1, 2], 20, 0.0, 0, 0)
    assert list(written) == write_by_hand(model, averages, [1, 2], 20)


@pytest.mark.parametrize("model", ["numpy", "manual", "gru", "lstm --dropout 0.5"])
def test_same_seed_same_numbers(main, model):
    sizes = "--num_epochs 2 --num_hidden_units 6"
    if model != "numpy":
        sizes = SMALL
    flags = f"{sizes} --data text.txt --model {model}"
    first, second = main(flags), main(flags)
    assert first == second
    assert main(flags + " --seed 2")["training"] != first["training"]


def test_dropout_is_the_same_however_the_layers_overlap():
    def losses():
        network = build("gru", 30, 20, 40, 40, dropout=0.3, input_dropout=0.1)
        return [network.step(*windows(seed, 30, (20, 40)))[0] for seed in range(15)]

    assert losses() == losses()


def test_each_epoch_begins_with_a_state_of_zeros(main, monkeypatch):
    step, states = char_rnn.Model.step, []

    def watched(self, X, y, initial_state=None, learn=True):
        if learn:
            states.append(initial_state)
        return step(self, X, y, initial_state, learn)

    monkeypatch.setattr(char_rnn.Model, "step", watched)
    steps = main(SMALL + " --data text.txt")["step"]
    first = [idx for idx, state in enumerate(states) if state is None]
    assert first == [0, steps // 2]


# --- Sampling ---
def write_by_hand(model, weights, prime, length):
    """Return the likeliest characters, one after the other, from the equations."""
    chars, state = list(prime), start_state(model, rows=1)
    for i in range(len(prime) + length - 1):
        logits, state = reference(model, weights, np.array([[chars[i]]]), state)
        if i >= len(prime) - 1:
            chars.append(logits[0, 0].argmax())
    return chars[len(prime) :]


@each_model
def test_the_prime_is_read_and_cold_writing_takes_the_likeliest(model):
    network = build(model)
    for step in range(40):
        network.step(*windows(step % 3))
    weights = network.sess.run(tf.trainable_variables())
    for prime in ([3], [1, 2, 3, 4, 0]):
        found = network.sample(prime, 30, 0.0, 0, 0)
        assert list(found) == write_by_hand(model, weights, prime, 30)


@each_model
def test_writing_adds_nothing_to_the_graph_and_repeats_with_its_seed(model):
    network = build(model)
    operations = len(tf.get_default_graph().get_operations())
    texts = [tuple(network.sample([1], 50, 1.0, 0, seed)) for seed in (1, 2, 1)]
    assert texts[0] == texts[2] != texts[1]
    assert len(texts[0]) == 50
    assert len(tf.get_default_graph().get_operations()) == operations
    network.step(*windows())  # what was done before makes no difference
    assert len(tf.get_default_graph().get_operations()) == operations


LOGITS = np.array([[0.0, 1.0, -2.0, 3.0, 2.5]])


def softmax(logits):
    p = np.exp(logits - logits.max())
    return p / p.sum()


def frequencies(logits, temperature, top_k, count=4000):
    tf.reset_default_graph()
    seeds = tf.constant([[7, i] for i in range(count)])
    drawn = tf.map_fn(
        lambda seed: char_rnn.draw(
            tf.constant(logits / max(temperature, 1e-20), tf.float32),
            tf.constant(top_k), seed,
        ),
        seeds,
    )
    with tf.Session() as sess:
        return np.bincount(sess.run(drawn)[:, 0], minlength=logits.shape[1])


def chi_square(counts, p):
    expected = counts.sum() * p[p > 0]
    assert counts[p == 0].sum() == 0
    return ((counts[p > 0] - expected) ** 2 / expected).sum()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [0, 3, 99])
def test_drawn_frequencies_are_those_of_the_softmax(temperature, top_k):
    p = softmax(LOGITS[0] / temperature)
    if top_k == 3:
        p[[0, 2]] = 0
        p /= p.sum()
    counts = frequencies(LOGITS, temperature, top_k)
    assert chi_square(counts, p) < 23.5  # 4 degrees of freedom: 1 in 10,000 is over
    wrong = softmax(softmax(LOGITS[0]) / temperature)  # the article's way
    assert top_k == 3 or chi_square(counts, wrong) > 100


@each_model
def test_a_long_text_has_the_softmax_frequencies(model):
    network = build(model, vocab_size=5)
    W_softmax, b_softmax = tf.trainable_variables()[-2:]
    W_softmax.load(np.zeros((5, 5)), network.sess)
    b_softmax.load(LOGITS[0], network.sess)
    counts = np.bincount(network.sample([0, 1], 4000, 0.5, 0, 1), minlength=5)
    assert chi_square(counts, softmax(LOGITS[0] * 2)) < 23.5


def test_drawing_is_safe_at_any_temperature():
    for temperature in (0.0, 1e-20):
        counts = frequencies(LOGITS * 1e9, temperature, 0, 20)
        assert counts[3] == 20
    assert frequencies(LOGITS * 1e9, 1.0, 0, 20)[3] == 20
    assert (frequencies(LOGITS, 1e9, 0, 2000) > 300).all()


def test_numpy_writes_from_the_same_softmax():
    network = char_rnn.NumpyModel(5, 3, 0.1, seed=0)
    network.weights["Why"][:] = 0
    network.weights["by"][:, 0] = LOGITS[0]
    chars = network.sample([0, 1], 4000, 0.5, 0, seed=1)
    assert chi_square(np.bincount(chars, minlength=5), softmax(LOGITS[0] * 2)) < 23.5
    assert set(network.sample([0], 300, 1.0, 2, seed=1)) == {3, 4}
    assert set(network.sample([0], 30, 0.0, 0, seed=1)) == {3}
    assert network.sample([0], 30, 1.0, 0, 5) == network.sample([0], 30, 1.0, 0, 5)


# --- Checkpoints ---
def saved(folder, name="newest"):
    """Return the variables of a checkpoint by name."""
    path = tf.train.latest_checkpoint(folder, char_rnn.latest[name])
    reader = tf.train.load_checkpoint(path)
    return {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}


@pytest.mark.parametrize("model", [*TENSORFLOW_MODELS, "gru --average_decay 0.9"])
def test_stopping_and_going_on_equals_going_through(main, model):
    flags = f"{SMALL} --data text.txt --model {model}"
    whole = main(flags + " --checkpoint_dir whole")
    steps = whole["step"]
    assert steps == 2 * (539 // 4 // 5)
    main(flags + " --checkpoint_dir parts", stop_after=7)
    assert saved("parts")["global_step"] == 7
    main("--resume --checkpoint_dir parts", stop_after=steps // 2 - 7)  # an epoch's end
    assert main("--resume --checkpoint_dir parts") == whole
    assert sorted(os.listdir("whole")) == sorted(os.listdir("parts"))
    for name in ("newest", "best"):
        known, found = saved("whole", name), saved("parts", name)
        assert known.keys() == found.keys()
        for key in known:
            np.testing.assert_array_equal(known[key], found[key], key)


def test_more_epochs_can_be_added(main):
    main(SMALL + " --data text.txt")
    whole = main(SMALL + " --data text.txt --num_epochs 3")
    main("--resume --num_epochs 3 --checkpoint_dir char_rnn_1", stop_after=3)
    assert main("--resume --checkpoint_dir char_rnn_1") == whole  # to the end of those


def test_the_best_is_kept_beside_the_newest(main, monkeypatch):
    losses = iter([3.0, 1.5, 2.5])
    monkeypatch.setattr(char_rnn, "evaluate", lambda *args: next(losses))
    notes = main(SMALL + " --data text.txt --num_epochs 3")
    best = json.loads(saved("char_rnn_1", "best")["Checkpoint/notes"].decode())
    newest = json.loads(saved("char_rnn_1")["Checkpoint/notes"].decode())
    assert best["validation"][-1] == [2, 1.5]
    assert newest == notes
    files = os.listdir("char_rnn_1")
    assert len([name for name in files if name.startswith("newest-")]) == 2, files
    assert len([name for name in files if name.startswith("best-")]) == 2, files
    with_best = main("--sample 400")
    for name in glob.glob("char_rnn_1/best*"):
        os.remove(name)
    assert main("--sample 400") != with_best


def test_a_run_never_touches_another(main, capsys):
    for number in (1, 2):
        main(SMALL + " --data text.txt")
        assert f"Checkpoints in char_rnn_{number}\n" in capsys.readouterr().out
    os.rename("char_rnn_2", "char_rnn_10")
    main(SMALL + " --data text.txt --seed 3")
    assert sorted(saved("char_rnn_11")) == sorted(saved("char_rnn_1"))
    capsys.readouterr()
    text = main("--sample 40")
    assert text == main("--sample 40 --checkpoint_dir char_rnn_11")
    assert text != main("--sample 40 --checkpoint_dir char_rnn_1")
    assert capsys.readouterr().out.startswith(text + "\n")


@each_model
def test_a_moved_checkpoint_is_enough_to_write(main, tmp_path, monkeypatch, model):
    main(f"{SMALL} --data text.txt --model {model} --checkpoint_dir run")
    text = main("--sample 30 --prime abc --checkpoint_dir run --temperature 0.7")
    shutil.move("run", str(tmp_path / "elsewhere"))
    os.remove("text.txt")
    moved = str(tmp_path / "elsewhere")
    os.mkdir("empty")
    monkeypatch.chdir("empty")
    flags = "--sample 30 --prime abc --temperature 0.7 --checkpoint_dir "
    assert main(flags + moved) == text
    assert text.startswith("abc")
    assert len(text) == 33
    assert set(text) <= set(TEXT)
    assert main(flags + moved + " --seed 9") != text


def test_resume_says_what_differs(main, refused, tmp_path, capsys):
    main(SMALL + " --data text.txt")
    capsys.readouterr()
    err = refused(char_rnn.main, "--resume --num_layers 1 --batch_size 5".split())
    assert "--batch_size is 4 there, not 5, --num_layers is 2 there, not 1" in err
    (tmp_path / "other.txt").write_text(TEXT[::-1])
    err = refused(char_rnn.main, "--resume --data other.txt".split())
    assert "its text is not that of --data other.txt" in err
    err = refused(char_rnn.main, ["--checkpoint_dir", "char_rnn_1"])
    assert "char_rnn_1 holds a run: go on with --resume" in err
    err = refused(char_rnn.main, ["--sample", "9", "--prime", "abZ"])
    assert "'Z' is not in the text" in err


def test_resume_of_a_finished_run_says_so(main, capsys):
    main(SMALL + " --data text.txt")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main("--resume")
    assert ended.value.code == 2
    assert "2 epochs are done" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["cut", "missing", "settings"])
def test_an_unreadable_checkpoint_gets_one_line(main, capsys, how):
    main(SMALL + " --data text.txt")
    capsys.readouterr()
    for name in os.listdir("char_rnn_1"):
        path = os.path.join("char_rnn_1", name)
        if ".data" in name and how == "cut":
            os.truncate(path, 100)
        elif ".index" in name and how == "missing":
            os.remove(path)
        elif name == "settings.json" and how == "settings":
            os.truncate(path, 30)
    for flags in ("--sample 9", "--resume --num_epochs 5"):
        with pytest.raises(SystemExit) as ended:
            main(flags)
        out, err = capsys.readouterr()
        assert ended.value.code == 2
        assert "char_rnn_1" in err
        assert err.count("\n") == 1, err


def test_a_full_disk_leaves_the_checkpoint_before(main):
    main(SMALL + " --data text.txt")
    before = saved("char_rnn_1")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(SystemExit, match="Nothing saved, what was there before"):
            main("--resume --num_epochs 3")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    after = saved("char_rnn_1")
    assert all(np.all(before[key] == after[key]) for key in before)
    main("--resume --num_epochs 3")


def test_a_loss_that_is_no_number_stops_the_run(main, monkeypatch):
    main(SMALL + " --data text.txt --checkpoint_dir run")
    monkeypatch.setattr(char_rnn.Model, "step", lambda *args, **more: (np.nan, None))
    with pytest.raises(SystemExit) as ended:
        main("--resume --num_epochs 3 --checkpoint_dir run")
    assert str(ended.value) == (
        "Loss nan, epoch 3, step 0: try a smaller --learning_rate."
    )
    assert saved("run")["global_step"] == 2 * (539 // 4 // 5)


def test_killed_at_any_moment_it_goes_on(run, main):
    main(SMALL + " --data text.txt --num_epochs 1")
    before = saved("char_rnn_1")["global_step"]
    for _ in range(4):
        started = run("char_rnn.py", "--resume --num_epochs 100000 --plot p.png")
        started.wait_for("Epoch")
        time.sleep(random.uniform(0, 1))
        started.process.kill()
        started.process.communicate()
        after = saved("char_rnn_1")["global_step"]
        assert after >= before
        before = after
        assert len(main("--sample 5")) == 6
    assert before > 539 // 4 // 5


def test_ctrl_c_saves_first(run, main):
    before = 0
    for flags in (SMALL + " --data text.txt", "--resume"):
        started = run("char_rnn.py", flags + " --num_epochs 100000 --plot p.png")
        started.wait_for("Epoch")
        time.sleep(random.uniform(0, 1))
        started.interrupt()
        status, out, err = started.end(60)
        assert (status, err) == (130, "")
        assert out.endswith("Picture in p.png\n")
        notes = json.loads(saved("char_rnn_1")["Checkpoint/notes"].decode())
        assert saved("char_rnn_1")["global_step"] == notes["step"] > before
        assert notes["step"] % (539 // 4 // 5) == len(notes["losses"]) % (539 // 4 // 5)
        before = notes["step"]


def test_a_window_can_be_closed(run, main, screen):
    from test_echo_rnn import on

    started = run("char_rnn.py", SMALL + " --data text.txt --num_epochs 60",
                  display=screen)
    started.wait_for("Epoch  2")
    window = on(screen, "xdotool", "search", "--onlyvisible", "--name", "char_rnn")
    on(screen, "wmctrl", "-i", "-c", window.split()[0])
    status, out, err = started.end()
    assert (status, err) == (0, "")
    assert "Epoch 60" in out
    assert not os.path.exists("char_rnn.png")


# --- As it is run ---
def test_logdir_holds_the_curves_and_the_headings(main):
    notes = main(SMALL + " --data text.txt --logdir log")
    values, scopes = read_log(tf, "log")
    assert len(values) == notes["step"] + 2
    for _, loss in notes["validation"]:
        assert np.float32(loss) in np.float32(values)
    assert {"Data_placeholders", "Training", "Optimization", "Sampling"} <= scopes


@pytest.mark.parametrize(
    "flags, words",
    [
        ("--data nowhere.txt", "--data nowhere.txt: No such file or directory"),
        ("--data .", "--data .: Is a directory"),
        ("--data empty.txt", "--data empty.txt: 0 characters, at least 20 are needed"),
        ("--data one.txt", "--data one.txt: 1 characters, at least 20 are needed"),
        ("--data bytes.txt", "--data bytes.txt: byte 2 is not UTF-8"),
        ("--data short.txt", "200 characters are too few; --batch_size 9 --num_steps"),
        ("--data short.txt --num_steps 18", "--batch_size 9 --num_steps 18 would do"),
        ("--num_layers 0", "--num_layers: '0' is not allowed"),
        ("--dropout 1", "'1' is not allowed, only float from 0 to 0.99"),
        ("--temperature -1", "--temperature: '-1' is not allowed"),
        ("--model cnn", "invalid choice: 'cnn'"),
        ("--model numpy --resume", "--model numpy keeps no checkpoints"),
        ("--model numpy --sample 9", "--model numpy keeps no checkpoints"),
        ("--model numpy --num_layers 2", "--model numpy has one row and one layer"),
        ("--model manual --dropout 0.5", "--model manual has no dropout"),
        ("--prime Ω", "--prime: 'Ω' is not in the text"),
        ("--resume", "no folder char_rnn_1 or the like here: train first"),
        ("--sample 10", "no folder char_rnn_1 or the like here: train first"),
        ("--sample 0", "--sample: '0' is not allowed"),
        ("--sample 10 --checkpoint_dir old.png", "no run to be read in old.png"),
        ("--checkpoint_dir old.png", "old.png"),
        ("--logdir old.png", "old.png"),
        ("--plot nowhere/p.png", "nowhere/p.png: No such file or directory"),
    ],
)  # fmt: skip
def test_bad_flags_get_one_line_and_change_nothing(flags, words, refused, tmp_path):
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "one.txt").write_bytes(b"a")
    (tmp_path / "bytes.txt").write_bytes(b"ab\xff" * 30)
    (tmp_path / "short.txt").write_bytes(TEXT[:200].encode())
    assert words in refused(char_rnn.main, flags.split())


def test_an_empty_prime_is_refused(refused):
    assert "one character" in refused(char_rnn.main, ["--prime", ""])


@pytest.mark.parametrize("flags", ["--batch_size 9 --num_steps 19", "--model numpy"])
def test_what_would_do_does(main, tmp_path, flags):
    (tmp_path / "text.txt").write_bytes(TEXT[:200].encode())
    if "numpy" in flags:
        flags += " --num_steps 19"
    assert len(main(f"--data text.txt --num_epochs 1 {flags}")["validation"]) == 1


@pytest.fixture
def server(tmp_path):
    """Yield the address of a server of files that the test puts into the dict."""
    files = {"/good": TEXT.encode()}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = files.get(self.path)
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *args):
            pass

    serving = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()


@pytest.mark.parametrize("url, works", [("/good", True), ("/bad", False)])
def test_shakespeare_is_downloaded_once(server, main, tmp_path, monkeypatch, capsys,
                                        url, works):
    path = tmp_path / "data" / "shakespeare.txt"
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    monkeypatch.setattr(char_rnn, "shakespeare", (server + url, str(path), digest))
    flags = SMALL + " --data shakespeare"
    if works:
        first = main(flags)
        assert path.read_bytes() == TEXT.encode()
        monkeypatch.setattr(
            char_rnn, "shakespeare", ("http://127.0.0.1:1/", str(path), digest)
        )
        assert main(flags) == first
    else:
        with pytest.raises(SystemExit) as ended:
            main(flags)
        assert ended.value.code == 2
        err = capsys.readouterr().err
        assert server + url in err
        assert str(path) in err
        assert not path.exists()


# --- Learning ---
@pytest.mark.parametrize(
    "model, most",  # the worst of 5 seeds on both TensorFlows, and 0.08 nats
    [("numpy", 3.04), ("manual", 2.77), ("rnn", 2.6), ("gru", 2.74), ("lstm", 3.13)],
)  # fmt: skip
def test_it_learns_from_the_manual(main, tmp_path, model, most):
    """Counting single characters reaches 3.2 nats."""
    flags = f"--data text.txt --model {model} --num_epochs 1"
    length = 30000
    if model != "numpy":
        flags += " --num_hidden_units 64 --batch_size 20 --num_steps 20"
        length = 100000
    text = char_rnn.read_text("python")[:length]
    (tmp_path / "text.txt").write_bytes(text.encode())
    assert main(flags)["validation"][-1][1] < most


def test_numbers_of_an_epoch_are_printed(main, capsys):
    notes = main(SMALL + " --data text.txt")
    out = capsys.readouterr().out
    loss = notes["validation"][0][1]
    known = f"validation {loss:.4f} nats ({loss / np.log(2):.4f} bits)"
    assert known in next(line for line in out.splitlines() if "Epoch  1" in line)
    assert "540 characters to learn from, 60 to validate with" in out
    assert f"guessing          {np.log(10):.4f} nats ({np.log2(10):.4f} bits)" in out


def test_validation_is_of_every_window_and_without_learning(main):
    network = build("gru", vocab_size=10, batch_size=4, num_steps=5)
    text = np.random.RandomState(0).randint(10, size=60)
    weights = network.sess.run(tf.trainable_variables())
    rows = text[: 4 * 14].reshape(4, 14)[:, :10], text[1 : 4 * 14 + 1].reshape(4, 14)
    logits, _ = reference("gru", weights, rows[0], start_state("gru", rows=4))
    known = cross_entropy(logits, rows[1][:, :10])
    assert char_rnn.evaluate(network, text, 4, 5) == pytest.approx(known, abs=1e-5)
    for a, b in zip(weights, network.sess.run(tf.trainable_variables())):
        np.testing.assert_array_equal(a, b)
