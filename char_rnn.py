"""Char-RNN: a recurrent network reads a text and learns to write on, letter by letter.

The three programs of "Recurrent Neural Networks (RNN) – Part 1: Basic RNN / Char-RNN"
by Goku Mohandas: III in numpy alone, IV in TensorFlow by hand, V with its RNN cells.
https://theneuralperspective.com/2016/10/04/05-recurrent-neural-networks-rnn-part-1-basic-rnn-char-rnn/

    python char_rnn.py                  # learns from Python's manual, in a window
    python char_rnn.py --data shakespeare --plot char_rnn.png   # no window, a file
    python char_rnn.py --sample 500     # write, with the last run's best network
    python char_rnn.py --resume --num_epochs 20   # learn on, from its newest network

A resumed run learns as if never stopped, bit for bit; but dropout draws other numbers.
Expect a validation loss of 1.53 nats a character on tiny Shakespeare after 10 epochs,
three minutes on 2 CPU cores; counted pairs of characters reach 2.48.
"""
# /// script
# requires-python = ">=3.9,<3.14"
# dependencies = ["tensorflow>=2.16,<3", "tf_keras>=2.16,<3", "matplotlib>=3.5", "tqdm"]
# ///
# %% Imports
import argparse
import contextlib
import glob
import json
import os
import pydoc_data.topics
import signal
import sys
import textwrap
import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # from 2.16 on the RNN cells are in tf_keras
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # 0 shows what the C++ core says
import tensorflow.compat.v1 as tf

warnings.filterwarnings("ignore", "`tf.")  # version 1 is meant: no advice against it
tf.logging.set_verbosity(tf.logging.ERROR)
tf.disable_v2_behavior()
tf.enable_resource_variables()  # no update overtakes a read: the same numbers every run

# %% The same in every script: a constant is a flag. Skip it at first.
if hasattr(sys.stdout, "reconfigure"):  # not in a notebook, which needs none of this
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    if hasattr(signal, "SIGPIPE"):  # not on Windows
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends a run quietly

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    usage=argparse.SUPPRESS, add_help=False, allow_abbrev=False,
    conflict_handler="resolve")  # cells can be run again
# The command line is ours if it runs this file, or standard input; a console's is not.
own_names = ["-", os.path.basename(globals().get("__file__", "-"))]
argv = sys.argv[1:] if os.path.basename(sys.argv[0]) in own_names else []


def flag(name, default, meaning, low=1, high=np.inf, choices=None):
    """Return --name of the command line, or the default; numbers are in [low, high)."""
    parser.add_argument(f"--{name}", type=type(default), default=default,
                        choices=choices, help=f"{meaning} (default: {default!r})")
    value = getattr(parser.parse_known_args(argv)[0], name)
    if type(value) is not str and not low <= value < high:
        parser.error(f"--{name} {value} is not in [{low}, {high})")
    return value


# %% A saved run to go on from, and its flags. Skip this, too, at first.
parser.add_argument("--resume", action="store_true", help="learn on from the newest")
sample_length = flag("sample", 0, "write so many characters with the best", low=0)
goes_on = "--resume" in argv or sample_length > 0
saved_runs = sorted(glob.glob("char_rnn_*/newest"), key=os.path.getmtime)
last_run = os.path.dirname(saved_runs[-1]) if goes_on and saved_runs else ""
checkpoint_dir = flag("checkpoint_dir", last_run, "where it saves, or has saved")
settings = {"flags": {}, "curves": {"training": [], "validation": []}}
if goes_on:
    if not os.path.exists(os.path.join(checkpoint_dir, "newest")):
        parser.error(f"{checkpoint_dir or 'this folder'} holds no saved run")
    with open(os.path.join(checkpoint_dir, "settings.json"), encoding="utf-8") as f:
        settings = json.load(f)
    saved_flags = [f"--{name}={value}" for name, value in settings["flags"].items()]
    argv = saved_flags + argv  # of a flag given twice, the last counts

# %% Setup
model = flag("model", "gru", "numpy: section III; manual: IV; rnn, gru, lstm: V",
             choices=["numpy", "manual", "rnn", "gru", "lstm"])
III = model == "numpy"  # its sizes are others
num_epochs = flag("num_epochs", 10, "how often the text is gone through")
batch_size = flag("batch_size", 1 if III else 50, "rows of the text, read side by side")
num_steps = flag("num_steps", 25 if III else 50, "characters in a window of a row")
num_hidden_units = flag("num_hidden_units", 100 if III else 128, "in a layer's state")
num_layers = flag("num_layers", 1 if III else 2, "cells on top of each other")
learning_rate = flag("learning_rate", 0.1 if III else 0.002, "at first", low=1e-9)
decay_rate = flag("decay_rate", 1.0 if III else 0.97, "factor on it an epoch", low=1e-9)
max_gradient_norm = flag("max_gradient_norm", 5.0, "longer ones are cut to it", 1e-9)
dropout = flag("dropout", 0.0, "part of each cell's outputs hidden in training", low=0)
temperature = flag("temperature", 1.0, "of writing; 0: the likeliest always", low=0)
prime = flag("prime", "", "what to write on from, the article's START_TOKEN")
# Not the article's:
data = flag("data", "python", "or a FILE, or shakespeare, the article's, downloaded")
input_dropout = flag("input_dropout", 0.0, "part of the embeddings hidden", low=0)
average_decay = flag("average_decay", 0.0, "validate with averaged weights", low=0)
top_k = flag("top_k", 0, "write one of so many likeliest characters only", low=0)
seed = flag("seed", 1, "the same seed gives the same numbers", low=0, high=2**32)
plot_file = flag("plot", "", "save the picture here and open no window")
logdir = flag("logdir", "", "write graph and losses here, for TensorBoard")

flags = vars(parser.parse_known_args(argv)[0])
restored = ["num_epochs", "data", "seed", "model", "batch_size", "num_steps",
            "num_hidden_units", "num_layers", "learning_rate", "decay_rate",
            "max_gradient_norm", "dropout", "input_dropout", "average_decay"]
for name in restored[3:]:  # the first three may be others now
    if settings["flags"].get(name, flags[name]) != flags[name]:
        parser.error(f"{checkpoint_dir} has --{name} {settings['flags'][name]}")
if III and (batch_size > 1 or num_layers > 1 or average_decay or checkpoint_dir):
    parser.error("--model numpy has 1 row and 1 layer, no averages, no checkpoints")
if max(dropout, input_dropout) > (0 if model in ("numpy", "manual") else 0.99):
    parser.error("--dropout and --input_dropout are below 1, and 0 in III and IV")

if not checkpoint_dir:
    number = 1
    while os.path.exists(f"char_rnn_{number}"):
        number += 1
    checkpoint_dir = f"char_rnn_{number}"
elif not goes_on and os.path.exists(os.path.join(checkpoint_dir, "newest")):
    parser.error(f"{checkpoint_dir} holds already a saved run")
settings_file = os.path.join(checkpoint_dir, "settings.json")

# %% The same in every script: the end of the flags. Skip it at first.
parser.add_argument("-h", "--help", action="help")
parser.parse_args(argv)  # refuses all others
if plot_file:
    if os.path.splitext(plot_file)[1].lower() not in [".png", ".jpg", ".pdf", ".svg"]:
        parser.error(f"--plot {plot_file} does not end in .png, .jpg, .pdf or .svg")
    if not os.access(os.path.dirname(plot_file) or ".", os.W_OK):
        parser.error(f"--plot {plot_file}: that folder cannot be written to")
if logdir:
    try:
        os.makedirs(logdir, exist_ok=True)
    except OSError as error:
        parser.error(f"--logdir {logdir}: {error.strerror}")

# %% II. Char-RNN
url = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare"
sha256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
if sample_length:  # needs no more of the text than which characters there are
    text = settings["vocabulary"]
elif data == "python":
    text = "\n".join(pydoc_data.topics.topics.values())
else:
    file = data if data != "shakespeare" else tf.keras.utils.get_file(
        "shakespeare.txt", f"{url}/input.txt", file_hash=sha256, cache_subdir="data",
        cache_dir=os.path.dirname(globals().get("__file__", "")) or ".")
    with open(file, encoding="utf-8-sig") as f:
        text = f.read()

vocabulary = "".join(sorted(set(text)))  # sorted: the same in every process
char_to_idx = {char: idx for idx, char in enumerate(vocabulary)}
num_classes = len(vocabulary)
raw_data = np.fromiter(map(char_to_idx.get, text), np.int32, len(text))
training, validation = np.split(raw_data, [len(text) * 9 // 10])
num_batches = (len(training) - 1) // batch_size // num_steps
if not sample_length and (num_batches < 1 or len(validation) <= num_steps):
    parser.error(f"--data {data}: {len(text)} characters are too few for --batch_size"
                 f" {batch_size} --num_steps {num_steps}")
if vocabulary != settings.get("vocabulary", vocabulary):
    parser.error(f"--data {data} is not the text of {checkpoint_dir}")
prime = prime or vocabulary[0]  # such as a line's end
if not set(prime) <= set(vocabulary):
    parser.error(f"--prime: {set(prime) - set(vocabulary)} not in the text")
prime_ids = [char_to_idx[char] for char in prime]

# %% III. Backpropagation
tf.reset_default_graph()  # from here on, cells can be run again as often as you like
np.random.seed(seed)
tf.set_random_seed(seed)
Wxh = np.random.randn(num_hidden_units, num_classes) * 0.01
Whh = np.random.randn(num_hidden_units, num_hidden_units) * 0.01
Why = np.random.randn(num_classes, num_hidden_units) * 0.01
bh, by = np.zeros((num_hidden_units, 1)), np.zeros((num_classes, 1))
weights = Wxh, Whh, Why, bh, by
memory = [np.zeros_like(w) for w in weights]  # the squares of their gradients, added up


# %% Forward pass
def forward_pass(inputs, targets, hprev):
    """Return the loss, summed over the steps, and xs, hs, ps: a column a step."""
    xs, hs, ps, loss = {}, {-1: hprev}, {}, 0
    for t in range(len(inputs)):
        xs[t] = np.zeros((num_classes, 1))
        xs[t][inputs[t]] = 1
        hs[t] = np.tanh(Wxh @ xs[t] + Whh @ hs[t - 1] + bh)
        ys = Why @ hs[t] + by
        ps[t] = np.exp(ys - ys.max())  # the article's exp(ys) overflows at 710
        ps[t] /= ps[t].sum()
        loss -= np.log(ps[t][targets[t], 0])
    return loss, xs, hs, ps


def backward_pass(targets, xs, hs, ps):
    """Return the gradients of that loss for each of the weights."""
    dWxh, dWhh, dWhy, dbh, dby = [np.zeros_like(w) for w in weights]
    dhnext = np.zeros_like(bh)
    for t in reversed(range(len(targets))):
        dy = np.copy(ps[t])
        dy[targets[t]] -= 1
        dWhy += dy @ hs[t].T
        dby += dy
        dh = Why.T @ dy + dhnext  # backprop into h
        dhraw = (1 - hs[t] * hs[t]) * dh  # backprop through the tanh
        dbh += dhraw
        dWxh += dhraw @ xs[t].T
        dWhh += dhraw @ hs[t - 1].T
        dhnext = Whh.T @ dhraw
    return dWxh, dWhh, dWhy, dbh, dby


# %% Learning and writing in numpy
def numpy_step(batch_X, batch_y, hprev, rate):
    """Return the loss in nats a character and the last state; learn by Adagrad."""
    hprev = np.zeros_like(bh) if hprev is None else hprev
    inputs, targets = batch_X[0], batch_y[0]  # the only row
    loss, xs, hs, ps = forward_pass(inputs, targets, hprev)
    if rate:
        for w, dw, mem in zip(weights, backward_pass(targets, xs, hs, ps), memory):
            dw = np.clip(dw, -max_gradient_norm, max_gradient_norm)
            mem += dw * dw
            w -= rate * dw / np.sqrt(mem + 1e-8)
    return loss / num_steps, hs[num_steps - 1]


def numpy_sample(length, h):
    """Return the indices of so many characters as follow those of prime."""
    random, chars = np.random.RandomState(seed), []
    for char in prime_ids:
        h = np.tanh(Wxh[:, [char]] + Whh @ h + bh)
    for _ in range(length):
        logits = (Why @ h + by).ravel()
        if top_k:
            logits[logits < np.sort(logits)[-min(top_k, num_classes)]] = -np.inf
        p = np.exp((logits - logits.max()) / max(temperature, 1e-20))
        chars.append(random.choice(num_classes, p=p / p.sum()))
        h = np.tanh(Wxh[:, [chars[-1]]] + Whh @ h + bh)
    return chars


# %% IV. Char-RNN TF Implementation (no RNN abstractions)
# In the article's later program BATCH_SIZE is a row's length, here it is the rows.
def generate_batch(raw_data):
    """Yield X and y, one character later: windows whose rows go on where they ended."""
    rows = min(batch_size, (len(raw_data) - 1) // num_steps)
    row_length = (len(raw_data) - 1) // rows
    data_X = raw_data[: rows * row_length].reshape(rows, row_length)
    data_y = raw_data[1 : rows * row_length + 1].reshape(rows, row_length)
    for i in range(0, row_length - num_steps + 1, num_steps):
        yield data_X[:, i : i + num_steps], data_y[:, i : i + num_steps]


with tf.name_scope("Data_placeholders"):
    X = tf.placeholder(tf.int32, [None, num_steps])  # [batch_size, num_steps]
    y = tf.placeholder(tf.int32, [None, num_steps])  # [batch_size, num_steps]
    lr = tf.placeholder_with_default(0.0, [])
    learning = tf.cast(lr > 0, tf.float32)  # 0: without an update, without dropout


def rnn_cell(rnn_input, state):
    """Return the next states of all layers; the article has one layer."""
    next_state = []
    for layer in range(num_layers):
        with tf.variable_scope(f"rnn_cell_{layer}", reuse=tf.AUTO_REUSE):
            W_input = tf.get_variable("W_input", [rnn_input.shape[1], num_hidden_units])
            W_hidden = tf.get_variable("W_hidden", [num_hidden_units, num_hidden_units])
            b_hidden = tf.get_variable("b_hidden", [num_hidden_units],
                                       initializer=tf.zeros_initializer())
        rnn_input = tf.tanh(rnn_input @ W_input + state[layer] @ W_hidden + b_hidden)
        next_state.append(rnn_input)  # and so it is the input of the layer above
    return tuple(next_state)


def rnn_logits(rnn_outputs):
    """Return what softmax turns into the probabilities of the next character."""
    with tf.variable_scope("softmax", reuse=tf.AUTO_REUSE):
        W_softmax = tf.get_variable("W_softmax", [num_hidden_units, num_classes])
        b_softmax = tf.get_variable("b_softmax", initializer=tf.zeros([num_classes]))
    return tf.tensordot(rnn_outputs, W_softmax, 1) + b_softmax


if model == "manual":
    zeros = tf.zeros([tf.shape(X)[0], num_hidden_units])
    initial_state = tuple(tf.identity(zeros) for _ in range(num_layers))
    final_state, rnn_outputs = initial_state, []
    for rnn_input in tf.unstack(tf.one_hot(X, num_classes), axis=1):
        final_state = rnn_cell(rnn_input, final_state)
        rnn_outputs.append(final_state[-1])
    logits = rnn_logits(tf.stack(rnn_outputs, axis=1))


# %% Dropout that is the same every run
class OrderedDropout(tf.nn.rnn_cell.DropoutWrapper):
    def __call__(self, inputs, state, scope=None):
        output, state = super().__call__(inputs, state, scope)
        with tf.control_dependencies([output]):  # no time step overtakes another
            return output, tf.nest.map_structure(tf.identity, state)


# %% V. TF RNN Library Implementation
def rnn_inputs(input_data):
    """Return rows of W_input, the embeddings: what a product with one-hots gives."""
    with tf.variable_scope("rnn_inputs", reuse=tf.AUTO_REUSE):
        # From a narrower range than this, an LSTM above all starts far slower.
        W_input = tf.get_variable("W_input", [num_classes, num_hidden_units],
                                  initializer=tf.random_uniform_initializer(-1, 1))
    return tf.nn.embedding_lookup(W_input, input_data)


if model in ("rnn", "gru", "lstm"):
    rnn_cell_types = {"rnn": tf.nn.rnn_cell.BasicRNNCell, "gru": tf.nn.rnn_cell.GRUCell,
                      "lstm": tf.nn.rnn_cell.BasicLSTMCell}
    cells = []
    for _ in range(num_layers):  # the article's layers are one cell, repeated
        single_cell = rnn_cell_types[model](num_hidden_units)
        if dropout:
            keep_prob = 1 - dropout * learning
            single_cell = OrderedDropout(single_cell, output_keep_prob=keep_prob)
        cells.append(single_cell)
    stacked_cell = tf.nn.rnn_cell.MultiRNNCell(cells)
    initial_state = stacked_cell.zero_state(tf.shape(X)[0], tf.float32)
    inputs = rnn_inputs(X)  # [batch_size, num_steps, num_hidden_units]
    if input_dropout:
        inputs = tf.nn.dropout(inputs, rate=input_dropout * learning)
    outputs, final_state = tf.nn.dynamic_rnn(
        stacked_cell, inputs, initial_state=initial_state)
    rnn_softmax = tf.layers.Dense(num_classes, name="softmax")
    logits = rnn_softmax(outputs)

# %% Loss and optimization
if model != "numpy":
    with tf.name_scope("Training"):
        # [batch_size, num_steps]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=y)
        total_loss = tf.reduce_mean(losses)
        trainable_vars = tf.trainable_variables()
        grads = tf.gradients(total_loss, trainable_vars)
        grads, _ = tf.clip_by_global_norm(grads, max_gradient_norm)
        global_step = tf.train.get_or_create_global_step()
        averaging = []
        if average_decay:
            average = tf.train.ExponentialMovingAverage(average_decay, global_step)
            averaging = [average.apply(trainable_vars)]
        # Averages first, since dynamic_rnn reads its weights only once a step. With
        # section IV's Adagrad 1e-4 hardly anything is learned: Adam is for both.
        with tf.control_dependencies(averaging):
            train_step = tf.train.AdamOptimizer(lr).apply_gradients(
                zip(grads, trainable_vars), global_step)


# %% Sampling
def write(i, char, state, chars):
    """Read a character, write the next one: prime's, as long as there is one."""
    if model == "manual":
        state = rnn_cell(tf.one_hot(char, num_classes), state)
        logits = rnn_logits(state[-1])
    else:
        outputs, state = stacked_cell(rnn_inputs(char), state)
        logits = rnn_softmax(outputs)
    logits /= max(temperature, 1e-20)  # section V's program divides probabilities
    if top_k:
        least = tf.nn.top_k(logits, min(top_k, num_classes)).values[0, -1]
        logits = tf.where(logits < least, logits - np.inf, logits)
    drawn = tf.random.stateless_categorical(logits, 1, [seed, i], tf.int32)[0]
    ids = tf.expand_dims(prime_ids, 1)
    char = tf.cond(i + 1 < len(prime), lambda: ids[i + 1], lambda: drawn)
    return i + 1, char, state, chars.write(i, char)


if model != "numpy":
    with tf.name_scope("Sampling"):
        length = tf.placeholder(tf.int32, [])  # of what follows prime's first
        zero_state = tf.nest.map_structure(
            lambda state: tf.zeros([1, num_hidden_units]), initial_state)
        chars = tf.TensorArray(tf.int32, length, element_shape=[1])
        *_, chars = tf.while_loop(lambda i, *_: i < length, write,
                                  [0, tf.constant(prime_ids[:1]), zero_state, chars])
        sampled = chars.concat()

# %% Session
if model != "numpy":
    # Two operations at a time, each in one thread: so small ones lose by being split.
    config = tf.ConfigProto(intra_op_parallelism_threads=1,
                            inter_op_parallelism_threads=2)
    sess = tf.Session(config=config)
    sess.run(tf.global_variables_initializer())


def step(batch_X, batch_y, state=None, rate=0.0):
    """Return the loss in nats a character and the last state; learn at that rate."""
    if model == "numpy":
        return numpy_step(batch_X, batch_y, state, rate)
    feed_dict = {X: batch_X, y: batch_y, lr: rate}
    if state is not None:  # else zeros
        feed_dict[initial_state] = state
    outputs = [total_loss, final_state, train_step if rate else total_loss]
    return sess.run(outputs, feed_dict)[:2]


def sample(num_chars=500):
    """Return prime and so many characters more."""
    if model == "numpy":
        ids = prime_ids[1:] + numpy_sample(num_chars, state)
    else:
        ids = sess.run(sampled, {length: len(prime) - 1 + num_chars})
    return prime[0] + "".join(vocabulary[idx] for idx in ids)


def swap_averages():
    """Let the weights and their averages, if there are any, change places."""
    if average_decay:
        averages = [average.average(w) for w in trainable_vars]
        values = sess.run(averages + trainable_vars)
        for variable, value in zip(trainable_vars + averages, values):
            variable.load(value, sess)


# %% Checkpoints
first_epoch = 0
curves = settings["curves"]  # lists of pairs, epoch and nats
if model != "numpy":
    savers = {name: tf.train.Saver(max_to_keep=1, save_relative_paths=True)
              for name in ["best", "newest"]}
if goes_on:
    for name, saver in savers.items():  # at last the newest
        path = tf.train.latest_checkpoint(checkpoint_dir, name)
        saver.restore(sess, path)
        saver.recover_last_checkpoints([path])  # which its next one replaces
        if sample_length:
            swap_averages()
            print(sample(sample_length))
            sys.exit()
    first_epoch = int(path.rpartition("-")[2])
for name, curve in curves.items():  # of a run killed while it saved: ahead of that
    curves[name] = [point for point in curve if point[0] <= first_epoch]
if first_epoch >= num_epochs:
    parser.error(f"{first_epoch} epochs are done: give more as --num_epochs")
if model != "numpy":
    os.makedirs(checkpoint_dir, exist_ok=True)
    print("Checkpoints in", checkpoint_dir)


def save(epoch):
    """Save the newest network and, if it is that, the best. A kill harms neither."""
    settings = {"flags": {name: flags[name] for name in restored},
                "vocabulary": vocabulary, "curves": curves}
    with open(settings_file + ".part", "w", encoding="utf-8") as f:
        json.dump(settings, f)
    os.replace(settings_file + ".part", settings_file)
    best = validation_loss == min(loss for _, loss in curves["validation"])
    for name in ["best", "newest"] if best else ["newest"]:
        savers[name].save(sess, os.path.join(checkpoint_dir, name), epoch,
                          latest_filename=name, write_meta_graph=False)


# %% What counting knows
first, last = training[: 10**7], validation[: 10**7]  # as good as all of a longer text
singles = np.bincount(first, minlength=num_classes) + 1  # so nothing is impossible
pairs = np.bincount(first[:-1] * num_classes + first[1:], minlength=num_classes**2) + 1
pairs = pairs.reshape(num_classes, num_classes)
baselines = {
    "guessing": np.log(num_classes),
    "single characters": -np.mean(np.log(singles[last] / singles.sum())),
    "pairs": -np.mean(np.log(pairs[last[:-1], last[1:]] / pairs.sum(1)[last[:-1]])),
}
print(len(training), "characters to learn from,", len(validation), "to validate with")
for name, loss in baselines.items():
    print(f"{name:18}{loss:.4f} nats a character")

# %% The same in every script: a live picture. Skip it at first.
class LivePicture:
    """A figure that follows a training: in a window, in a notebook, or else in a file.

    Drawing takes a fifth of the time at most, but for slow motion. Ctrl-C in its with
    block ends that block at the next redraw and keeps what there is. (Python's own way,
    to raise at once, fails where Tk is just calling us: it swallows the exception.)
    """

    def __init__(self, name, file, size):
        self.figure = plt.Figure(size) if file else plt.figure(name, size, clear=True)
        self.file = file or name + ".png"
        self.window = self.figure.canvas.required_interactive_framework
        inline = "inline" in plt.get_backend() and "ipykernel" in sys.modules
        self.notebook = inline and not file
        if self.notebook:
            plt.close(self.figure)  # else it is shown where this cell ends, too

    def __enter__(self):
        if self.notebook:
            from IPython.display import display
            self.output = display(self.figure, display_id=True)
        elif self.window:
            plt.show(block=False)
        else:
            print("Picture in", self.file)
            self.save()
        self.next_time, self.interrupted = 0, False
        self.old_handler = signal.signal(signal.SIGINT, self.interrupt)
        return self

    def interrupt(self, *_):
        self.interrupted = True
        signal.signal(signal.SIGINT, self.old_handler)  # a second one does not wait

    def is_open(self):
        return self.window and plt.fignum_exists(self.figure.number)

    def redraw(self, slow_motion=False):
        """Draw anew if it is time to; in slow motion always, where one can watch it."""
        if self.interrupted:
            raise KeyboardInterrupt
        slow_motion = slow_motion and (self.notebook or self.is_open())
        start = time.perf_counter()
        if slow_motion or start > self.next_time:
            self.draw()
            seconds = time.perf_counter() - start
            self.next_time = start + 5 * seconds
            if slow_motion:
                time.sleep(max(0, 0.07 - seconds))  # for the eye
        if self.is_open():
            self.figure.canvas.flush_events()

    def draw(self):
        if self.notebook:
            self.output.update(self.figure)
        elif self.is_open():
            self.figure.canvas.draw()
        elif not self.window:
            self.save()

    def save(self):
        try:
            self.figure.savefig(self.file)
        except OSError as error:  # such as a full disk: no reason to end the training
            warnings.warn(f"no picture in {self.file}: {error}", stacklevel=2)

    def __exit__(self, error, *_):
        self.draw()
        while self.is_open() and not error and not self.interrupted:
            self.figure.canvas.start_event_loop(0.1)  # plt.show would not hear Ctrl-C
        signal.signal(signal.SIGINT, self.old_handler)
        if self.window and (error or self.interrupted):
            print("Picture in", self.file)
            self.save()
        return error is KeyboardInterrupt


# %% Visualizing the training
warnings.filterwarnings("ignore", "Glyph")  # the font has not all letters there are
picture = LivePicture("char_rnn", plot_file, (11, 5.5))
axes = picture.figure.add_axes([0.06, 0.1, 0.45, 0.82], title="Loss, nats a character")
axes.set(xlim=(0, 1.02 * num_epochs), ylim=(0, 1.3 * baselines["guessing"] + 1))
axes.set_xlabel("epoch")
for (name, loss), style in zip(baselines.items(), ["--", "-.", ":"]):
    axes.axhline(loss, color="gray", ls=style, lw=1, label=f"{name}: {loss:.2f}")
(training_line,) = axes.plot([], [], lw=1, label="training")
(validation_line,) = axes.plot([], [], "o-", ms=4, label="validation")
axes.legend(loc="upper right", framealpha=1)
page = picture.figure.text(0.54, 0.92, "", va="top", family="monospace", size=9)


def plot(written):
    training_line.set_data(*np.reshape(curves["training"], (-1, 2)).T)
    validation_line.set_data(*np.reshape(curves["validation"], (-1, 2)).T)
    lines = [textwrap.fill(line, 62) for line in written.splitlines()]
    page.set_text("\n".join(["It writes:", "", *lines]).replace("$", r"\$"))
    picture.redraw()


def add_point(name, epochs, loss):
    curves[name].append([epochs, loss])
    if logdir:
        value = tf.Summary.Value(tag=name, simple_value=loss)
        log.add_summary(tf.Summary(value=[value]), round(epochs * num_batches))


# %% Training
log = tf.summary.FileWriter(logdir, X.graph) if logdir else contextlib.nullcontext()
written = ""
with picture, log:
    for epoch in range(first_epoch, num_epochs):
        loss_list, seconds, state = [], 0, None  # an epoch begins with a state of zeros
        rate = learning_rate * decay_rate**epoch
        batches = tqdm(generate_batch(training), f"Epoch {epoch + 1}", num_batches,
                       leave=False, disable=None)
        for input_X, input_y in batches:
            start = time.perf_counter()
            loss, state = step(input_X, input_y, state, rate)
            seconds += time.perf_counter() - start
            if not np.isfinite(loss):
                sys.exit(f"Loss {loss}: try a smaller --learning_rate")
            loss_list.append(float(loss))
            if len(loss_list) % 20 == 0 or len(loss_list) == num_batches:
                epochs = epoch + len(loss_list) / num_batches
                add_point("training", epochs, np.mean(loss_list[-20:]))
                plot(written)

        swap_averages()
        # numpy's only row meets zeros once an epoch, and learns little of what follows.
        state = state if model == "numpy" else None
        validation_losses = []
        for input_X, input_y in generate_batch(validation):
            loss, state = step(input_X, input_y, state)
            validation_losses.append(float(loss))
        validation_loss = np.mean(validation_losses)
        learned = weights if model == "numpy" else sess.run(tf.global_variables())
        if not all(np.all(np.isfinite(w)) for w in [validation_loss, *learned]):
            sys.exit("Weights are no numbers now: try a smaller --learning_rate")
        written = sample()
        swap_averages()
        add_point("validation", epoch + 1, validation_loss)
        if model != "numpy":
            save(epoch + 1)
        speed = len(loss_list) * batch_size * num_steps / seconds
        print(f"Epoch {epoch + 1:2}  training {np.mean(loss_list):.4f} nats  validation"
              f" {validation_loss:.4f} nats  {speed:.0f} characters/s")
        print(textwrap.indent(written, "  | ", lambda line: True))
        plot(written)
