"""Char-RNN: a recurrent network reads a text and learns to write on, letter by letter.

The three programs of "Recurrent Neural Networks (RNN) – Part 1: Basic RNN / Char-RNN"
by Goku Mohandas: III in numpy alone, IV in TensorFlow by hand, V with its RNN cells.
https://theneuralperspective.com/2016/10/04/05-recurrent-neural-networks-rnn-part-1-basic-rnn-char-rnn/

    python char_rnn.py                  # learns from Python's manual, in a window
    python char_rnn.py --data shakespeare --plot char_rnn.png   # no window, a file
    python char_rnn.py --sample 500     # write, with the last run's best network
    python char_rnn.py --score FILE     # how well that network foresees a text
    python char_rnn.py --resume --num_epochs 20   # learn on, bit for bit; --data OTHER

Expect a validation loss of 1.53 nats a character on tiny Shakespeare after 10 epochs,
three minutes on 2 CPU cores; counted pairs of characters reach 2.48.
"""
# /// script
# requires-python = ">=3.9,<3.14"
# dependencies = ["tensorflow>=2.16,<3", "tf_keras>=2.16,<3", "matplotlib>=3.5", "tqdm"]
# ///
# %% Imports
import argparse
import collections
import contextlib
import glob
import hashlib
import io
import itertools
import json
import logging
import os
import pydoc_data.topics
import signal
import sys
import textwrap
import time
import warnings

sys.excepthook = lambda kind, *rest: (  # Ctrl-C is a line, wherever it comes
    print("Interrupted", file=sys.stderr) if kind is KeyboardInterrupt
    else sys.__excepthook__(kind, *rest))
if sys.stderr:
    print("TensorFlow loads", file=sys.stderr, flush=True)  # for up to 20 seconds

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # from 2.16 on the RNN cells are in tf_keras
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # 0 shows what the C++ core says
warnings.filterwarnings("ignore", "`tf.")  # version 1 is meant: no advice against it
logging.getLogger("tensorflow").addFilter(lambda said: said.levelno >= logging.ERROR)
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()
tf.enable_resource_variables()  # no update overtakes a read: the same numbers every run

# %% The same in every script: a constant is a flag. Skip it at first.
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
score_file = flag("score", "", "say how well the best foresees this file's text")
goes_on = "--resume" in argv or sample_length > 0 or score_file != ""
runs = sorted(glob.glob("char_rnn_[0-9]*/newest"), key=os.path.getmtime)
last_run = os.path.dirname(runs[-1]) if goes_on and runs else ""
checkpoint_dir = flag("checkpoint_dir", last_run, "where it saves, or has saved")
saved = {"flags": {}}
if goes_on:
    try:
        with open(os.path.join(checkpoint_dir, "settings.json"), encoding="utf-8") as f:
            saved = json.load(f)
        argv = [f"--{name}={value}" for name, value in saved["flags"].items()] + argv
    except Exception as error:  # no such file, half a file, or not one of ours
        parser.error(f"{checkpoint_dir or 'this folder'} holds no saved run: {error!r}")

# %% Setup
model = flag("model", "gru", "numpy: section III; manual: IV; rnn, gru, lstm: V",
             choices=["numpy", "manual", "rnn", "gru", "lstm"])
III = model == "numpy"  # its sizes are others
num_epochs = flag("num_epochs", 10, "of the text, or of parts of a long one")
batch_size = flag("batch_size", 1 if III else 50, "rows of the text, read side by side")
num_steps = flag("num_steps", 25 if III else 50, "characters in a window of a row")
num_hidden_units = flag("num_hidden_units", 100 if III else 128, "in a layer's state")
num_layers = flag("num_layers", 1 if III else 2, "cells on top of each other")
learning_rate = flag("learning_rate", 0.1 if III else 0.002, "at first", low=1e-9)
decay_rate = flag("decay_rate", 1.0 if III else 0.97, "factor on it an epoch", low=1e-9)
max_gradient_norm = flag("max_gradient_norm", 5.0, "longer ones are cut to it", 1e-9)
dropout = flag("dropout", 0.0, "part of each cell's outputs hidden in training", low=0)
temperature = flag("temperature", 1.0, "of writing; 0: the likeliest always", low=0)
prime = flag("prime", "", "what to write on from, the article's START_TOKEN; else the"
             " text's first word")
# Not the article's:
data = flag("data", "python", "or a FILE, or shakespeare, the article's, downloaded")
num_batches = flag("num_batches", 40000 if III else 2000, "of an epoch, at most: the"
                   " next epoch reads on in a longer text")
average_decay = flag("average_decay", 0.0, "validate with averaged weights", 0, 1)
top_k = flag("top_k", 0, "write one of so many likeliest characters only", low=0)
seed = flag("seed", 1, "the same seed gives the same numbers", low=0, high=2**32)
plot_file = flag("plot", "", "save the picture here and open no window")
logdir = flag("logdir", "", "write graph and losses here, for TensorBoard")

# %% Do the constants fit together? Skip it at first.
is_training = sample_length == 0 and score_file == ""
fixed = ["model", "num_hidden_units", "num_layers", "batch_size", "num_steps",
         "num_batches", "average_decay"]  # a run that goes on may change the others
restored = [*fixed, "num_epochs", "learning_rate", "decay_rate", "max_gradient_norm",
            "dropout", "data", "seed", "prime"]
flags = {name: globals()[name] for name in restored}
for name, value in saved["flags"].items():
    if name not in restored:
        parser.error(f"{checkpoint_dir} was saved by another version: it has --{name}")
    if name in fixed and flags[name] != value:
        parser.error(f"{checkpoint_dir} has --{name} {value}")
if goes_on and not {"vocabulary", "curves", "text"} <= set(saved):
    parser.error(f"{checkpoint_dir} was saved by another version, or is damaged")
if III and (batch_size > 1 or num_layers > 1 or average_decay or checkpoint_dir):
    parser.error("--model numpy has 1 row and 1 layer, no averages, no checkpoints")
if dropout > (0 if model in ("numpy", "manual") else 0.99):
    parser.error("--dropout is below 1, and 0 in III and IV")
if checkpoint_dir and not goes_on and os.path.exists(checkpoint_dir):
    parser.error(f"--checkpoint_dir {checkpoint_dir} is there already")
if set("*?[") & set(checkpoint_dir):
    parser.error("TensorFlow cannot load from a --checkpoint_dir with * ? or [")

# %% The same in every script: the end of the flags. Skip it at first.
# Closed (`>&-`) or not there (pythonw), they take what is printed all the same.
sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")
sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")
if hasattr(sys.stdout, "reconfigure"):  # not in a notebook, which needs none of this
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    if hasattr(signal, "SIGPIPE"):  # not on Windows
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends a run quietly
parser.add_argument("-h", "--help", action="help")
parser.parse_args(argv)  # refuses all others


def check_file(name, file, *endings):
    """End the run here if --name FILE cannot be written; make its folder if need be."""
    if endings and os.path.splitext(file)[1].lower() not in endings:
        parser.error(f"--{name} {file} does not end in {' or '.join(endings)}")
    try:
        os.makedirs(os.path.dirname(file) or ".", exist_ok=True)
        is_new = not os.path.exists(file)
        open(file, "ab").close()  # tells more than os.access, on Windows above all
        if is_new:
            os.remove(file)
    except OSError as error:
        parser.error(f"--{name} {file}: {error.strerror}")


if plot_file:
    check_file("plot", plot_file, ".png", ".jpg", ".pdf", ".svg")
if logdir:
    check_file("logdir", os.path.join(logdir, "events"))


# %% From TensorFlow 2.16 on, RNN cells are in a package of their own
try:
    _ = tf.nn.rnn_cell.GRUCell
except ImportError:
    sys.exit("TensorFlow's RNN cells need one more: python -m pip install tf_keras")

# %% II. Char-RNN
url = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare"
sha256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
folder = os.path.dirname(globals().get("__file__", "")) or "."


def read_text(name):
    """Return a file's text, in UTF-8; python's manual and shakespeare are known."""
    try:
        if name == "python":
            return "\n".join(pydoc_data.topics.topics.values())
        if name == "shakespeare":
            name = tf.keras.utils.get_file("shakespeare.txt", f"{url}/input.txt",
                file_hash=sha256, cache_dir=folder, cache_subdir="data")
        with open(name, encoding="utf-8-sig") as f:
            return f.read()
    except UnicodeDecodeError as error:
        parser.error(f"{name} is no text in UTF-8: {error}")
    except Exception as error:  # no such file, no network, …
        hint = ""
        if name == "shakespeare":
            hint = f"; put a copy into {folder}/data/shakespeare.txt"
        parser.error(f"{name} cannot be read: {error}{hint}")


def encode(text, name):
    """Return the indices of the text's characters, in the smallest type for them."""
    unknown = "".join(sorted(set(text) - set(vocabulary)))
    if unknown:
        parser.error(f"{name}: {unknown[:20]!r} is not in the vocabulary")
    return np.fromiter(map(char_to_idx.get, text), np.min_scalar_type(num_classes),
                       len(text))


# Sorted, the vocabulary is the same in every process.
if is_training:
    print("Reading", data)
text = read_text(data) if is_training else ""
vocabulary = saved.get("vocabulary") or "".join(sorted(set(text)))
char_to_idx = {char: idx for idx, char in enumerate(vocabulary)}
num_classes = len(vocabulary)
raw_data = encode(text, f"--data {data}")
training, validation = np.split(raw_data, [len(text) * 9 // 10])


def generate_batch(raw_data, part=0, parts=1):
    """Yield X and y, one character later: windows whose rows go on where they ended.

    X, y: [rows, num_steps]. Of a long text's windows only those of one of the parts.
    """
    rows = min(batch_size, (len(raw_data) - 1) // num_steps)
    row_length = (len(raw_data) - 1) // rows
    data_X = raw_data[: rows * row_length].reshape(rows, row_length)
    data_y = raw_data[1 : rows * row_length + 1].reshape(rows, row_length)
    windows = row_length // num_steps
    for i in range(windows * part // parts, windows * (part + 1) // parts):
        window = slice(i * num_steps, (i + 1) * num_steps)
        yield data_X[:, window], data_y[:, window]


length = len(training) - num_steps  # of what an epoch reads: each is cut anew
windows = (length - 1) // batch_size // num_steps
parts = max(1, -(-windows // num_batches))  # so many epochs read the text once
if is_training and (windows < 1 or len(validation) <= num_steps):
    parser.error(f"--data {data}: {len(text)} characters are too few for --batch_size"
                 f" {batch_size} --num_steps {num_steps}")
prime = prime or (text.split() or vocabulary)[0][:20]
if not set(prime) <= set(vocabulary):
    parser.error(f"--prime: {set(prime) - set(vocabulary)} not in the text")
del text  # of 100 million characters once is enough

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
hprev = np.zeros_like(bh)  # the state that the training has arrived at


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
def numpy_learn(inputs, targets, hprev, rate):
    """Learn by Adagrad; return the loss, summed over the steps, and the last state."""
    loss, xs, hs, ps = forward_pass(inputs, targets, hprev)
    for w, dw, mem in zip(weights, backward_pass(targets, xs, hs, ps), memory):
        dw = np.clip(dw, -max_gradient_norm, max_gradient_norm)
        mem += dw * dw
        w -= rate * dw / np.sqrt(mem + 1e-8)
    return loss, hs[len(inputs) - 1]


def numpy_write(prime_ids, num_chars, temperature, top_k, seed):
    """Yield the index of each of the characters that follow prime's.

    It begins where the training has arrived, as the article's does: the only row meets
    a state of zeros once an epoch, and some networks never learn to leave it.
    """
    random = np.random.RandomState(seed)
    h = hprev
    for idx in prime_ids:
        h = np.tanh(Wxh[:, [idx]] + Whh @ h + bh)
    for _ in range(num_chars):
        logits = (Why @ h + by).ravel()
        logits[logits < np.sort(logits)[-top_k]] = -np.inf  # [-0] is the least of all
        p = np.exp((logits - logits.max()) / temperature)
        idx = random.choice(num_classes, p=p / p.sum())
        yield idx
        h = np.tanh(Wxh[:, [idx]] + Whh @ h + bh)


# %% IV. Char-RNN TF Implementation (no RNN abstractions)
# In the article's later program BATCH_SIZE is a row's length, here it is the rows.
with tf.name_scope("Data_placeholders"):
    X = tf.placeholder(tf.int32, [None, num_steps])  # [batch_size, num_steps]
    y = tf.placeholder(tf.int32, [None, num_steps])  # [batch_size, num_steps]
    lr = tf.placeholder(tf.float32, [])
    dropout_rate = tf.placeholder_with_default(0.0, [])  # another in training only


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

    def next_logits(char, state):
        """Return the logits of what follows the character, and the next state."""
        state = rnn_cell(tf.one_hot(char, num_classes), state)
        return rnn_logits(state[-1]), state


# %% V. TF RNN Library Implementation
class Dropout(tf.nn.rnn_cell.DropoutWrapper):
    """Hide a part of a cell's outputs, drawn by a generator of this cell's own.

    TensorFlow's own dropout would draw other numbers after a --resume.
    """

    def __call__(self, inputs, state, scope=None):
        outputs, state = super().__call__(inputs, state, scope)
        drawn = self.generator.uniform(tf.shape(outputs))
        outputs *= tf.cast(drawn >= dropout_rate, tf.float32) / (1 - dropout_rate)
        with tf.control_dependencies([outputs]):  # no time step overtakes another
            return outputs, tf.nest.map_structure(tf.identity, state)


def rnn_inputs(input_data):
    """Return rows of W_input, the embeddings: what a product with one-hots gives."""
    with tf.variable_scope("rnn_inputs", reuse=tf.AUTO_REUSE):
        # From a narrower range than this, an LSTM above all starts far slower.
        W_input = tf.get_variable("W_input", [num_classes, num_hidden_units],
                                  initializer=tf.random_uniform_initializer(-1, 1))
    return tf.nn.embedding_lookup(W_input, input_data)


generators = []  # of random numbers, for dropout: one a layer
if model in ("rnn", "gru", "lstm"):
    rnn_cell_types = {"rnn": tf.nn.rnn_cell.BasicRNNCell, "gru": tf.nn.rnn_cell.GRUCell,
                      "lstm": tf.nn.rnn_cell.BasicLSTMCell}
    # The article's layers are one cell, repeated.
    cells = [rnn_cell_types[model](num_hidden_units) for _ in range(num_layers)]
    learning_cells = cells
    if dropout:
        learning_cells = [Dropout(single_cell) for single_cell in cells]
        for cell in learning_cells:
            cell.generator = tf.random.experimental.Generator.from_seed(seed)
            generators.append(cell.generator)
    learning_cell = tf.nn.rnn_cell.MultiRNNCell(learning_cells)
    initial_state = learning_cell.zero_state(tf.shape(X)[0], tf.float32)
    inputs = rnn_inputs(X)  # [batch_size, num_steps, num_hidden_units]
    outputs, final_state = tf.nn.dynamic_rnn(
        learning_cell, inputs, initial_state=initial_state)
    rnn_softmax = tf.layers.Dense(num_classes, name="softmax")
    logits = rnn_softmax(outputs)
    stacked_cell = tf.nn.rnn_cell.MultiRNNCell(cells)

    def next_logits(char, state):
        """Return the logits of what follows the character, and the next state."""
        outputs, state = stacked_cell(rnn_inputs(char), state)
        return rnn_softmax(outputs), state

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
        # With section IV's Adagrad 1e-4 hardly anything is learned: Adam is for both.
        optimizer = tf.train.AdamOptimizer(lr)
        averaging = []
        if average_decay:
            average = tf.train.ExponentialMovingAverage(average_decay, global_step)
            averaging = [average.apply(trainable_vars)]
        # Averages first, since dynamic_rnn reads its weights only once a step.
        with tf.control_dependencies(averaging):
            train_step = optimizer.apply_gradients(
                zip(grads, trainable_vars), global_step)
        saved_variables = [*trainable_vars, *optimizer.variables(), global_step]
        if average_decay:
            saved_variables += [average.average(w) for w in trainable_vars]

# %% Sampling
if model != "numpy":
    with tf.name_scope("Sampling"):
        first = tf.placeholder(tf.int32, [])  # of the characters to be read
        number = tf.placeholder(tf.int32, [])  # of them
        prime_ids = tf.placeholder(tf.int32, [None, 1])
        hotness = tf.placeholder(tf.float32, [])  # the temperature
        likeliest = tf.placeholder(tf.int32, [])  # the top_k
        sampling_seed = tf.placeholder(tf.int32, [])
        prime_length, end = tf.size(prime_ids), first + number

        def write(i, char, state, chars):
            """Read character i, write the next: prime's, as long as there is one."""
            logits, state = next_logits(char, state)
            logits = tf.cond(likeliest > 0, lambda: tf.where(
                logits < tf.nn.top_k(logits, likeliest).values[0, -1],
                logits - np.inf, logits), lambda: logits)
            logits /= hotness  # the article's section V divides the probabilities
            drawn = tf.random.stateless_categorical(
                logits, 1, [sampling_seed, i], tf.int32)[0]
            char = tf.cond(i + 1 < prime_length,
                           lambda: prime_ids[i + 1], lambda: drawn)
            return i + 1, char, state, chars.write(i - first, char)

        last_char = tf.placeholder(tf.int32, [1])
        last_state = tf.nest.map_structure(
            lambda state: tf.zeros([1, num_hidden_units]), initial_state)
        chars = tf.TensorArray(tf.int32, number, element_shape=[1])
        _, _, next_state, chars = tf.while_loop(
            lambda i, *_: i < end, write,
            [first, last_char, last_state, chars])
        written = chars.concat()

# %% Session
if model != "numpy":
    # Two operations at a time, each in one thread: so small ones lose by being split.
    config = tf.ConfigProto(intra_op_parallelism_threads=1,
                            inter_op_parallelism_threads=2)
    sess = tf.Session(config=config)
    sess.run(tf.global_variables_initializer())


# %% Learning, validating and writing, whichever the program
def step(batch_X, batch_y, state, rate):
    """Learn from a batch; return its loss in nats a character and the last state.

    state: None stands for zeros, which an epoch begins with.
    """
    if model == "numpy":
        hprev[:] = 0 if state is None else state
        loss, hprev[:] = numpy_learn(batch_X[0], batch_y[0], hprev.copy(), rate)
        return loss / num_steps, hprev
    feed_dict = {X: batch_X, y: batch_y, lr: rate, dropout_rate: dropout}
    if state is not None:
        feed_dict[initial_state] = state
    return sess.run([total_loss, final_state, train_step], feed_dict)[:2]


def evaluate(batch_X, batch_y, state):
    """Return the same as step, but learn nothing; in III it begins, too, with hprev."""
    if model == "numpy":
        h = hprev if state is None else state
        loss, _, hs, _ = forward_pass(batch_X[0], batch_y[0], h)
        return loss / num_steps, hs[num_steps - 1]
    feed_dict = {X: batch_X, y: batch_y}
    if state is not None:
        feed_dict[initial_state] = state
    return sess.run([total_loss, final_state], feed_dict)


def swap_averages():
    """Let the weights and their averages, if there are any, change places."""
    if average_decay:
        averages = [average.average(w) for w in trainable_vars]
        values = sess.run(averages + trainable_vars)
        for variable, value in zip(trainable_vars + averages, values):
            variable.load(value, sess)


def validate():
    """Return the loss of the text's last tenth, of which nothing is learned."""
    validation_losses, state = [], None
    # For the beginnings of long rows, a ninth of what is learned from, as in the text.
    batches = itertools.islice(generate_batch(validation), max(1, num_batches // 9))
    for batch_X, batch_y in batches:
        loss, state = evaluate(batch_X, batch_y, state)
        validation_losses.append(float(loss))
        picture.answer()
    return np.mean(validation_losses)


def stream(num_chars, prime, temperature, top_k, seed):
    """Yield prime and so many characters more, piece by piece as they are written."""
    ids = [char_to_idx[char] for char in prime]
    temperature = max(temperature, 1e-20)  # at 0 the likeliest, always
    top_k = min(top_k, num_classes)
    if model == "numpy":
        written_ids = numpy_write(ids, num_chars, temperature, top_k, seed)
        yield prime + "".join(vocabulary[idx] for idx in written_ids)
        return
    yield prime[0]
    feed_dict = {prime_ids: np.reshape(ids, (-1, 1)), last_char: ids[:1],
                 hotness: temperature, likeliest: top_k,
                 sampling_seed: np.uint32(seed).astype(np.int32)}
    total = len(prime) - 1 + num_chars
    for start in range(0, total, 2000):
        feed_dict.update({first: start, number: min(2000, total - start)})
        ids, state = sess.run([written, next_state], feed_dict)
        feed_dict.update({last_char: ids[-1:], last_state: state})
        yield "".join(vocabulary[idx] for idx in ids)


def sample(num_chars=500, prime=prime, temperature=temperature, top_k=top_k, seed=seed):
    """Return prime and so many characters more; try sample(200, "KING")."""
    return "".join(stream(num_chars, prime, temperature, top_k, seed))


def score(ids):
    """Yield the nats that window after window costs, the state carried.

    All characters but the first are foreseen.
    """
    state = None
    starts = range(0, len(ids) - 1, num_steps)
    for i in tqdm(starts, "Score", leave=False, disable=None):
        window = ids[i : i + num_steps + 1]
        characters = len(window) - 1
        window = np.pad(window, (0, num_steps - characters), "edge")[None]
        feed_dict = {X: window[:, :-1], y: window[:, 1:]}
        if state is not None:
            feed_dict[initial_state] = state
        window_losses, state = sess.run([losses, final_state], feed_dict)
        yield window_losses[0, :characters].sum(dtype=float)  # not what was padded


# %% Checkpoints
savers = {}
if model != "numpy":
    savers = {name: tf.train.Saver(saved_variables, max_to_keep=1,
                                   save_relative_paths=True)
              for name in ["best", "newest"]}


def restore(name):
    """Load the best or the newest network; return its checkpoint's path."""
    path = tf.train.latest_checkpoint(checkpoint_dir, name)
    try:
        savers[name].restore(sess, path or os.path.join(checkpoint_dir, name))
    except Exception as error:  # of many kinds, and many lines
        parser.error(f"the {name} network in {checkpoint_dir} cannot be loaded: "
                     + str(error).split("\n")[0])
    return path


if not is_training:
    restore("best")
    swap_averages()
    # Ctrl-C is heard between two runs of the session: in the midst of one it may fail.
    stopped = []
    old_handler = signal.signal(signal.SIGINT, lambda *_: stopped.append(True))
    if score_file:
        ids, nats = encode(read_text(score_file), score_file), 0
        if len(ids) < 2:
            parser.error(f"--score {score_file}: there is nothing to foresee")
        for window_nats in score(ids):
            nats += window_nats / (len(ids) - 1)
            if stopped:
                sys.exit()
        print(f"{score_file}, {len(ids)} characters: {nats:.4f} nats a character,"
              f" {nats / np.log(2):.4f} bits, perplexity {np.exp(nats):.4f}")
    if sample_length:
        for piece in stream(sample_length, prime, temperature, top_k, seed):
            print(piece, end="")
            if stopped:
                break
        print()
    signal.signal(signal.SIGINT, old_handler)
    sys.exit()

first_epoch = 0
curves = {"training": [], "validation": []}  # of pairs, epoch and nats
text_sha256 = hashlib.sha256(raw_data).hexdigest()
is_same_text = saved.get("text") == text_sha256
if goes_on:
    paths = {name: restore(name) for name in savers}  # at last the newest
    if is_same_text:
        first_epoch = int(paths["newest"].rpartition("-")[2])
        for name in savers:  # the next ones take the place of these
            savers[name].recover_last_checkpoints([paths[name]])
        for name in curves:  # of a run killed while it saved: ahead of its network
            curves[name] = [point for point in saved["curves"][name]
                            if point[0] <= first_epoch]
    if first_epoch >= num_epochs:
        parser.error(f"{first_epoch} epochs are done: give more as --num_epochs")


def save(epoch):
    """Save flags, curves and the newest network, and as the best if it is that.

    A kill in between harms nothing: each file is whole before it takes its place.
    """
    kept_flags = dict(flags, prime=prime)
    settings = {"flags": kept_flags, "curves": curves, "vocabulary": vocabulary,
                "text": text_sha256, "log_folder": log_folder}
    file = os.path.join(run_dir, "settings.json")
    with open(file + ".part", "w", encoding="utf-8") as f:
        json.dump(settings, f)
    os.replace(file + ".part", file)
    validation_losses = [loss for _, loss in curves["validation"]]
    best = validation_losses[-1] == min(validation_losses)
    for name in ["best", "newest"] if best else ["newest"]:
        savers[name].save(sess, os.path.join(run_dir, name), epoch,
                          latest_filename=name, write_meta_graph=False)


# %% What counting knows
first_chars, last_chars = training[: 10**6].tolist(), validation[: 10**6].tolist()
singles = collections.Counter(first_chars[:-1])  # the last one begins no pair
pairs = collections.Counter(zip(first_chars, first_chars[1:]))
characters = len(first_chars) - 1 + num_classes  # one more of each: none is impossible
baselines = {
    "guessing": np.log(num_classes),
    "single characters": -np.mean([
        np.log((singles[a] + 1) / characters) for a in last_chars]),
    "pairs": -np.mean([
        np.log((pairs[a, b] + 1) / (singles[a] + num_classes))
        for a, b in zip(last_chars, last_chars[1:])]),
}
print(len(training), "characters to learn from,", len(validation), "to validate with")
for name, loss in baselines.items():
    print(f"{name:18}{loss:.4f} nats a character")

# %% The same in every script: a file is written whole. Skip it at first.
failures = []  # what was told of files that could not be written


def tell_failure(file, error):
    """Say once why a file is not written: that is no reason to end the training."""
    reason = f"{file} is not written: {getattr(error, 'strerror', '') or error}"
    if reason not in failures:
        failures.append(reason)
        tqdm.write(reason)


def write_file(file, save, **content):
    """Write what save(f, **content) writes to a file f: whole, or not at all."""
    whole = io.BytesIO()
    save(whole, **content)
    try:
        with open(file + ".part", "wb") as f:
            f.write(whole.getbuffer())
        os.replace(file + ".part", file)
    except OSError as error:  # such as a full disk
        tell_failure(file, error)
        with contextlib.suppress(OSError):
            os.remove(file + ".part")


def new_folder(name):
    """Make name_1, or the first that is not there yet; return its name."""
    for number in itertools.count(1):
        with contextlib.suppress(FileExistsError):  # of two runs only one can make it
            os.makedirs(f"{name}_{number}")
            return f"{name}_{number}"


# %% The same in every script: curves for TensorBoard. Skip it at first.
class EventLog:
    """A file of events, written as they come; where folder is "", none is."""

    def __init__(self, folder):
        self.file = os.path.join(folder, f"events.out.tfevents.{time.time():.6f}")
        self.writer = tf.python_io.TFRecordWriter(self.file) if folder else None
        self.add(file_version="brain.Event:2")
        self.add(graph_def=tf.get_default_graph().as_graph_def().SerializeToString())

    def add(self, step=0, **content):
        if self.writer:
            event = tf.Event(wall_time=time.time(), step=step, **content)
            try:
                self.writer.write(event.SerializeToString())
                self.writer.flush()
            except tf.errors.OpError as error:
                tell_failure(self.file, error.message.split("; ")[-1])
                self.writer = None

    def add_point(self, curve, value, step):
        point = tf.Summary.Value(tag=curve, simple_value=value)
        self.add(step, summary=tf.Summary(value=[point]))


# %% The same in every script: a live picture. Skip it at first.
class LivePicture:
    """A figure that follows a training: in a window, in a notebook, or else in a file.

    Call is_due after each run of the session, plot if it says so, then draw. To plot
    and draw takes a fifth of the time at most, but for slow motion. Ctrl-C in the with
    block ends that block at the next is_due and keeps what there is. (Python's own way,
    to raise at once, fails where Tk is just calling us: it swallows the exception.)
    """

    def __init__(self, name, file, size):
        try:
            with plt.ioff():  # a notebook's own backend would show it here
                self.figure = (
                    plt.Figure(size) if file else plt.figure(name, size, clear=True))
        except ImportError as error:  # of what MPLBACKEND asks for
            sys.exit(f"No window: {error}. Try --plot FILE, which needs none")
        self.file = file or name + ".png"
        self.window = self.figure.canvas.required_interactive_framework
        self.notebook = "ipykernel" in sys.modules and not (file or self.window)
        if self.notebook:
            plt.close(self.figure)  # else it is shown where this cell ends, too

    def __enter__(self):
        self.start, self.is_slow = time.perf_counter(), False
        self.next_time = self.next_answer = 0
        self.end_of_slow_motion = self.start + 15
        self.interrupted, self.output = False, None
        self.old_handler = signal.signal(signal.SIGINT, self.interrupt)
        if self.window:
            plt.show(block=False)
        elif not self.notebook:
            print("Picture in", self.file)
        self.draw()
        return self

    def interrupt(self, *_):
        self.interrupted = True
        signal.signal(signal.SIGINT, self.old_handler)  # a second one does not wait

    def is_open(self):
        return self.window and plt.fignum_exists(self.figure.number)

    def answer(self):
        """Let the window do what was asked of it, 20 times a second."""
        if self.is_open() and time.perf_counter() > self.next_answer:
            self.figure.canvas.flush_events()
            self.next_answer = time.perf_counter() + 0.05

    def is_due(self, slow_motion=False):
        """Tell if it is time to draw: in slow motion always, where one can watch it."""
        self.answer()
        if self.interrupted:
            raise KeyboardInterrupt
        self.start = time.perf_counter()
        self.is_slow = (slow_motion and self.start < self.end_of_slow_motion
                        and (self.notebook or self.is_open()))
        is_seen = self.is_open() or not self.window
        return self.is_slow or is_seen and self.start > self.next_time

    def draw(self):
        if self.notebook:
            self.show()
        elif self.is_open():
            self.figure.canvas.draw()
            self.figure.canvas.flush_events()
        elif not self.window:
            self.save()
        seconds = time.perf_counter() - self.start
        self.next_time = self.start + 5 * seconds
        if self.is_slow:
            time.sleep(max(0, 0.07 - seconds))  # for the eye

    def show(self):
        from IPython.display import Image, display
        image = io.BytesIO()
        self.figure.savefig(image, format="png", dpi=100)
        if self.output:
            self.output.update(Image(image.getvalue()))
        else:
            self.output = display(Image(image.getvalue()), display_id=True)

    def save(self):
        kind = os.path.splitext(self.file)[1][1:]
        write_file(self.file, self.figure.savefig, format=kind, dpi=200)

    def __exit__(self, error, *_):
        was_open, self.is_slow = self.is_open(), False
        if self.notebook:  # once more, for consoles that know no updates
            self.output.update({"text/html": ""}, raw=True)
            self.output = None
        self.draw()
        if was_open and not error:
            print("Close the window, or press Ctrl-C, to end")
        while self.is_open() and not error and not self.interrupted:
            self.figure.canvas.start_event_loop(0.1)  # plt.show would not hear Ctrl-C
        signal.signal(signal.SIGINT, self.old_handler)
        if self.window and (error or self.interrupted or not was_open):
            print("Picture in", self.file)
            self.save()
        return error is KeyboardInterrupt


# %% Visualizing the training
warnings.filterwarnings("ignore", "Glyph")  # the font has not all letters there are
picture = LivePicture("char_rnn", plot_file, (12, 6.3))
axes = picture.figure.add_axes([0.05, 0.09, 0.42, 0.84], title="Loss, nats a character")
axes.set(xlim=(0, 1.02 * num_epochs), ylim=(0, 1.3 * baselines["guessing"] + 1))
axes.set_xlabel("epoch")
for (name, loss), style in zip(baselines.items(), ["--", "-.", ":"]):
    axes.axhline(loss, color="gray", ls=style, lw=1, label=f"{name}: {loss:.2f}")
(training_line,) = axes.plot([], [], lw=1, label="training")
(validation_line,) = axes.plot([], [], "o-", ms=4, label="validation")
axes.legend(loc="upper right", framealpha=1)
titles = ["It writes. Temperature 0.5: what is likely, likelier still",
          "Temperature 1.0: as likely as it has learned",
          "By and by, at temperature 0.5 (after so many epochs)"]
pages = []
for top, title in zip([0.95, 0.64, 0.33], titles):
    picture.figure.text(0.5, top, title, weight="bold", va="bottom")
    pages.append(picture.figure.text(0.5, top - 0.01, "", va="top", size=8,
                                     family="monospace"))
beginnings = []  # of what it wrote by and by


def show_samples(epochs):
    """Put on the pages what it writes now; return that, by temperature."""
    samples = {t: sample(300, temperature=t) for t in (0.5, 1.0)}
    beginnings.append(f"{epochs:4.1f} {' '.join(samples[0.5].split())[:60]}")
    shown = sorted(set(np.linspace(0, len(beginnings) - 1, 10).astype(int)))
    texts = [*samples.values(), "\n".join(beginnings[i] for i in shown)]
    for page, text in zip(pages, texts):
        lines = [textwrap.fill(line, 66) for line in text.splitlines()]
        lines = "\n".join(lines).split("\n")[:10]
        page.set_text("\n".join(lines).replace("$", r"\$"))
    return samples


def plot():
    training_line.set_data(*np.reshape(curves["training"], (-1, 2)).T)
    validation_line.set_data(*np.reshape(curves["validation"], (-1, 2)).T)
    picture.draw()


def add_point(name, epochs, loss):
    curves[name].append([epochs, loss])
    log.add_point(name, loss, round(epochs * windows / parts))


# %% A folder for the checkpoints
@contextlib.contextmanager
def kept():
    """Make the folder; say at the end, however it comes, what is kept in it."""
    global run_dir
    if model == "numpy":
        print("Section III saves no network")
        yield
        return
    run_dir = checkpoint_dir
    try:
        if goes_on and not is_same_text:
            print(f"The network of {checkpoint_dir} goes on with another text")
            run_dir = new_folder("char_rnn")
        elif not goes_on and checkpoint_dir:
            os.makedirs(run_dir)
        elif not goes_on:
            run_dir = new_folder("char_rnn")
    except OSError as error:
        parser.error(f"no folder for checkpoints: {error}")
    print("Checkpoints in", run_dir)
    try:
        yield
    finally:
        reason = "Ctrl-C: " if picture.interrupted else ""
        if saved_epoch > 0:
            print(f"{reason}the network after epoch {saved_epoch} is in {run_dir}")
        else:
            print(f"{reason}no network was saved")
            with contextlib.suppress(OSError):  # not empty, as of a full disk
                os.rmdir(run_dir)


# %% Training
log_folder = saved.get("log_folder", "") if is_same_text else ""
if logdir and not (os.path.dirname(log_folder) == os.path.normpath(logdir)
                   and os.path.isdir(log_folder)):
    log_folder = new_folder(os.path.join(logdir, "char_rnn"))
log = EventLog(log_folder if logdir else "")
log.add(round(first_epoch * windows / parts) + 1,  # what a killed run had after it goes
        session_log=tf.SessionLog(status=tf.SessionLog.START))
saved_epoch = first_epoch
with picture, kept():
    show_samples(first_epoch)
    for epoch in range(first_epoch, num_epochs):
        rate = learning_rate * decay_rate**epoch
        numbers = np.random.RandomState([seed, epoch])  # again the same after --resume
        for generator in generators:
            generator.state.load([0, 0, numbers.randint(2**31)], sess)
        # Not the article's: the windows are cut at another place each epoch.
        cut = numbers.randint(num_steps)
        batches = list(generate_batch(training[cut:][:length], epoch % parts, parts))
        loss_list, seconds, state = [], 0, None  # an epoch begins with a state of zeros
        for input_X, input_y in tqdm(batches, f"Epoch {epoch + 1}", leave=False,
                                     disable=None):
            start = time.perf_counter()
            loss, state = step(input_X, input_y, state, rate)
            seconds += time.perf_counter() - start
            if not np.isfinite(loss):
                sys.exit(f"Loss {loss}: try a smaller --learning_rate")
            loss_list.append(float(loss))
            epochs = epoch + len(loss_list) / len(batches)
            if epoch == first_epoch and len(loss_list) % (len(batches) // 10 + 1) == 0:
                # Much is learned now: let us see it. It fails if the next loss is nan.
                with contextlib.suppress(ValueError, tf.errors.InvalidArgumentError):
                    show_samples(epochs)
            if len(loss_list) % 20 == 0 or len(loss_list) == len(batches):
                add_point("training", epochs, np.mean(loss_list[-20:]))
            if picture.is_due():
                plot()

        swap_averages()
        validation_loss = validate()
        if not np.isfinite(validation_loss):
            sys.exit(f"Loss {validation_loss}: try a smaller --learning_rate")
        add_point("validation", epoch + 1, validation_loss)
        samples = show_samples(epoch + 1)
        swap_averages()
        if model != "numpy":
            try:
                save(epoch + 1)
                saved_epoch = epoch + 1
            except (OSError, tf.errors.OpError) as error:  # such as a full disk
                print("Not saved:", str(error).split("\n")[0])

        speed = len(loss_list) * batch_size * num_steps / seconds
        print(f"Epoch {epoch + 1:2}  training {np.mean(loss_list):.4f} nats  validation"
              f" {validation_loss:.4f} nats  {speed:.0f} characters/s")
        print("  |", " ".join(samples[0.5].split())[:72])
        if picture.is_due() or epoch == num_epochs - 1:
            plot()

    for sampling_temperature, text in samples.items():
        print(f"At temperature {sampling_temperature}:")
        print(textwrap.indent(text, "  | ", lambda line: True))
