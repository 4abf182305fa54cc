"""Char-RNN: a recurrent network reads a text and learns to write on, letter by letter.

The three programs of "Recurrent Neural Networks (RNN) – Part 1: Basic RNN / Char-RNN"
by Goku Mohandas: III in numpy alone, IV in TensorFlow by hand, V with its RNN cells.
https://theneuralperspective.com/2016/10/04/05-recurrent-neural-networks-rnn-part-1-basic-rnn-char-rnn/

    python char_rnn.py                  # learns from Python's manual, in a window
    python char_rnn.py --data shakespeare --plot char_rnn.png   # no window, a file
    python char_rnn.py --sample 500     # write, with the last run's best network
    python char_rnn.py --score FILE     # how well it foresees a text; --plot P.png: why
    python char_rnn.py --resume --num_epochs 20   # learn on, bit for bit; --data OTHER

Expect a validation loss of 1.52 nats a character on tiny Shakespeare after 10 epochs,
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
import datetime  # noqa: F401 (numpy's C code, loading it, loses a Ctrl-C)
import glob
import hashlib
import io
import itertools
import json
import logging
import os
import pydoc_data.topics
import re
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
score_learning_rate = flag("score_learning_rate", 0.0, "learn from it meanwhile", 0)
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
        parser.error(f"{checkpoint_dir} holds no saved run: {error!r}" if checkpoint_dir
                     else "this folder holds no saved run: train first")

# %% Setup
# The article's constants, under its names. Each is a flag, too: --num_hidden_units 256.
model = flag("model", "gru", "numpy: section III; manual: IV; rnn, gru, lstm: V",
             choices=["numpy", "manual", "rnn", "gru", "lstm"])
III = model == "numpy"  # its sizes are others
num_epochs = flag("num_epochs", 10, "of the text, or of parts of a long one")
batch_size = flag("batch_size", 1 if III else 50, "rows of the text, read side by side")
num_steps = flag("num_steps", 25 if III else 50, "characters in a window of a row")
num_hidden_units = flag("num_hidden_units", 100 if III else 128, "in a layer's state")
num_layers = flag("num_layers", 1 if III else 2, "cells on top of each other")
learning_rate = flag("learning_rate", 0.1 if III else 0.002, "at first, or where a run"
                     " goes on", low=1e-9)
decay_rate = flag("decay_rate", 1.0 if III else 0.97, "factor on it an epoch", low=1e-9)
max_gradient_norm = flag("max_gradient_norm", 5.0, "longer ones are cut to it; in III"
                         " each number is", 1e-9)
# The article's is 0.5.
dropout = flag("dropout", 0.0, "part of each cell's outputs hidden in training", low=0)
temperature = flag("temperature", 1.0, "of writing; 0: the likeliest always", low=0)
prime = flag("prime", "", "what to write on from, the article's START_TOKEN; else the"
             " text's first word")
# Not the article's:
data = flag("data", "python", "or a FILE, or shakespeare, the article's, downloaded")
num_batches = flag("num_batches", 50000 if III else 2000, "of an epoch, at most: the"
                   " next epoch reads on in a longer text")
average_decay = flag("average_decay", 0.0, "validate with averaged weights", 0, 1)
top_k = flag("top_k", 0, "write one of so many likeliest characters only", low=0)
pattern = flag("pattern", r'"[^"\n]*"', "show the unit that follows this regular"
               " expression best")
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
if model == "numpy" and (
        batch_size > 1 or num_layers > 1 or average_decay or checkpoint_dir):
    parser.error("--model numpy has 1 row and 1 layer, no averages, no checkpoints")
if dropout > (0 if model in ("numpy", "manual") else 0.99):
    parser.error("--dropout is below 1, and 0 in III and IV")
if checkpoint_dir and not goes_on and os.path.exists(checkpoint_dir):
    parser.error(f"--checkpoint_dir {checkpoint_dir} is there already")
if "--resume" in argv and not is_training:
    parser.error("--resume learns on, --sample and --score do not")
if score_learning_rate and not score_file:
    parser.error("--score_learning_rate is for --score")
if plot_file and sample_length and not score_file:
    parser.error("--plot is for --score, or for a training")
if set("*?[") & set(checkpoint_dir):
    parser.error("TensorFlow cannot load from a --checkpoint_dir with * ? or [")
try:
    re.compile(pattern)
except re.error as error:
    parser.error(f"--pattern {pattern}: {error}")

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


# %% From TensorFlow 2.16 on, cells are in another package. Skip it at first.
try:
    _ = tf.nn.rnn_cell.GRUCell
except ImportError:
    sys.exit("TensorFlow's RNN cells need one more: python -m pip install tf_keras")

# %% II. Char-RNN
# To the network a text is a row of numbers. It is fed windows of it, X, and has to
# guess at each step the next character, y.
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
# Of a long text a ninth of what an epoch learns from is enough to validate with.
validation = validation[: max(1, num_batches // 9) * batch_size * num_steps + 1]


# In the article's section IV BATCH_SIZE is a row's length, here it is the rows.
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
if num_classes < 2:
    parser.error(f"--data {data}: of one character alone nothing can be learned")
prime = prime or (text.split(None, 1) or vocabulary)[0][:20]
if not set(prime) <= set(vocabulary):
    parser.error(f"--prime: {set(prime) - set(vocabulary)} not in the text")
del text  # of 100 million characters once is enough

if is_training and not goes_on:
    for name, ids in zip("Xy", next(generate_batch(training))):
        chars = "".join(vocabulary[idx] for idx in ids[0, :9])
        print(f"The first {name} begins with {chars!r}:", *ids[0, :9])

# %% III. Backpropagation
# The article's first program is numpy alone, with every gradient by hand. Its weights
# begin so small that it guesses evenly.
tf.reset_default_graph()  # to run cells again, begin with this one
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
# Each step makes a state hs of a character xs and the state before, and of it ps, the
# chances of what comes next. The gradients go the same way back.
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


if is_training and not goes_on:
    loss, *_ = forward_pass(training[:num_steps], training[1 : num_steps + 1], hprev)
    print(f"Before training, section III's network costs {loss / num_steps:.4f} nats a"
          f" character; guessing costs ln {num_classes} = {np.log(num_classes):.4f}")


# %% Learning and writing in numpy
# Adagrad takes small steps along what has often been steep. To write is to draw a
# character from ps and to read that next.
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
        logits[logits < np.sort(logits)[-top_k]] = -np.inf  # all but the likeliest
        p = np.exp((logits - logits.max()) / temperature)
        idx = random.choice(num_classes, p=p / p.sum())
        yield idx
        h = np.tanh(Wxh[:, [idx]] + Whh @ h + bh)


# %% IV. Char-RNN TF Implementation (no RNN abstractions)
# In the second program TensorFlow finds the gradients, and the cell is still written
# out: this for loop is the recurrence.
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
    inputs = tf.one_hot(X, num_classes)
    final_state, rnn_outputs = initial_state, []
    for rnn_input in tf.unstack(inputs, axis=1):
        final_state = rnn_cell(rnn_input, final_state)
        rnn_outputs.append(final_state[-1])
    outputs = tf.stack(rnn_outputs, axis=1)  # [batch_size, num_steps, num_hidden_units]
    logits = rnn_logits(outputs)

    def next_logits(char, state):
        """Return the logits of what follows the character, and the next state."""
        state = rnn_cell(tf.one_hot(char, num_classes), state)
        return rnn_logits(state[-1]), state


# %% V. TF RNN Library Implementation
# In the third one TensorFlow brings cell and loop: dynamic_rnn is section IV's for
# loop. Three kinds of cells are to be compared.
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
# From here on the programs of IV and V are one. Gradients that are too long are cut,
# since a single steep place could undo what was learned.
averages = []  # of the weights
if model != "numpy":
    with tf.name_scope("Training"):
        # [batch_size, num_steps]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=y)
        total_loss = tf.reduce_mean(losses)
        trainable_vars = tf.trainable_variables()
        grads = tf.gradients(total_loss, trainable_vars)
        # The embeddings' gradients come row by row: whole, they count once in the norm.
        grads = [tf.convert_to_tensor(grad) for grad in grads]
        grads, _ = tf.clip_by_global_norm(grads, max_gradient_norm)
        global_step = tf.train.get_or_create_global_step()
        # With section IV's Adagrad 1e-4 hardly anything is learned: Adam is for both.
        optimizer = tf.train.AdamOptimizer(lr)
        averaging = []
        if average_decay:
            average = tf.train.ExponentialMovingAverage(average_decay, global_step)
            averaging = [average.apply(trainable_vars)]
            averages = [average.average(w) for w in trainable_vars]
        # Averages first, of the weights before the update. After it, some would be old:
        # what dynamic_rnn has once read of its cells' weights stays so in a run.
        with tf.control_dependencies(averaging):
            train_step = optimizer.apply_gradients(
                zip(grads, trainable_vars), global_step)
        saved_variables = [*trainable_vars, *averages, *optimizer.variables(),
                           global_step]

# %% Sampling
# It writes by a loop in the graph: a character is drawn, and is the next input. One run
# writes up to 2000 of them.
if model != "numpy":
    with tf.name_scope("Sampling"):
        given = tf.placeholder(tf.int32, [1, None])  # what comes next; -1: draw it
        offset = tf.placeholder(tf.int32, [])  # how many have been given before these
        hotness = tf.placeholder(tf.float32, [])  # the temperature
        likeliest = tf.placeholder(tf.int32, [])  # the top_k
        sampling_seed = tf.placeholder(tf.int32, [])

        def write(i, char, state, chars):
            """Read a character; the next one is the given one, or drawn."""
            logits, state = next_logits(char, state)
            logits = tf.cond(likeliest < num_classes, lambda: tf.where(
                logits < tf.nn.top_k(logits, likeliest).values[:, -1:],
                logits - np.inf, logits), lambda: logits)
            drawn = tf.random.stateless_categorical(
                logits / hotness, 1, [sampling_seed, offset + i], tf.int32)[0]
            next_char = given[:, i]
            char = tf.where(next_char < 0, drawn, next_char)
            return i + 1, char, state, chars.write(i, char)

        last_char = tf.placeholder(tf.int32, [1])
        last_state = tf.nest.map_structure(
            lambda state: tf.zeros([1, num_hidden_units]), initial_state)
        number = tf.shape(given)[1]
        chars = tf.TensorArray(tf.int32, number, element_shape=[1])
        _, _, next_state, chars = tf.while_loop(
            lambda i, *_: i < number, write, [0, last_char, last_state, chars])
        written = chars.concat()

# %% Session
# Until here TensorFlow has computed nothing: a session holds the values of the
# variables, and computes what it is asked for.
too_large = ("Out of memory: try a smaller --batch_size, --num_steps,"
             " --num_hidden_units or --num_layers")
if model != "numpy":
    # Two operations at a time, each in one thread: small ones lose by being split.
    config = tf.ConfigProto(intra_op_parallelism_threads=1,
                            inter_op_parallelism_threads=2)
    sess = tf.Session(config=config)
    try:
        sess.run(tf.global_variables_initializer())
    except tf.errors.OpError:  # of several kinds; nothing else can fail here
        sys.exit(too_large)


# %% Learning from a batch, whichever the program
# step learns, and returns the state that the next batch is to begin with. As that is
# numbers, no gradient goes back beyond it.
def feed(batch_X, batch_y, state):
    """Return what to feed; state: None stands for zeros, which an epoch begins with."""
    feed_dict = {X: batch_X, y: batch_y}
    if state is not None:
        feed_dict[initial_state] = state
    return feed_dict


def step(batch_X, batch_y, state, rate):
    """Learn from a batch; return its loss in nats a character and the last state."""
    if model == "numpy":
        hprev[:] = 0 if state is None else state
        loss, hprev[:] = numpy_learn(batch_X[0], batch_y[0], hprev.copy(), rate)
        return loss / num_steps, hprev
    feed_dict = feed(batch_X, batch_y, state)
    feed_dict.update({lr: rate, dropout_rate: dropout})
    return sess.run([total_loss, final_state, train_step], feed_dict)[:2]


def evaluate(batch_X, batch_y, state, rate=0):
    """Return the loss of each character, [rows, num_steps], and the last state.

    rate: learn from them, too, once they have cost what they cost, without dropout.
    III begins where the training has arrived.
    """
    if model == "numpy":
        h = hprev if state is None else state
        _, _, hs, ps = forward_pass(batch_X[0], batch_y[0], h)
        chances = [ps[t][target, 0] for t, target in enumerate(batch_y[0])]
        return -np.log([chances]), hs[num_steps - 1]
    feed_dict = feed(batch_X, batch_y, state)
    if not rate:
        return sess.run([losses, final_state], feed_dict)
    feed_dict[lr] = rate
    return sess.run([losses, final_state, train_step], feed_dict)[:2]


# %% Validating and writing, whichever the program
# score measures a text, sample writes one: what to play with after a training.
def score(ids, rate=0):
    """Yield the nats of all characters of a text but the first, window by window.

    It is read in rows side by side. Each begins 100 characters or more before its own;
    those only the row above counts. By then so little is left of a state of zeros that
    the rest costs what it would in a single row. With a rate evaluate learns from each
    window once it is scored, and there is a single row.
    """
    faded = -(-100 // num_steps) * num_steps
    rows = 1 if rate else min(batch_size, len(ids) // (2 * faded) + 1)
    own = -(-(len(ids) - 1 - faded) // rows)  # characters that only this row counts
    state = None
    for start in range(0, faded + own, num_steps):
        steps = np.arange(start, start + num_steps)
        places = own * np.arange(rows)[:, None] + steps
        counted = (places < len(ids) - 1) & (steps < faded + own)
        if start < faded:
            counted[1:] = False
        places = np.minimum(places, len(ids) - 2)
        window_losses, state = evaluate(ids[places], ids[places + 1], state, rate)
        yield window_losses[counted]


def validate():
    """Return the loss of a part of the text of which nothing is learned."""
    validation_losses = []
    for window_losses in score(validation):
        validation_losses.append(window_losses)
        picture.flush_events()
    return np.mean(np.concatenate(validation_losses), dtype=float)


def get_weights():
    """Return a copy of what is learned so far; in III also of where it has arrived."""
    if model == "numpy":
        return [w.copy() for w in (*weights, hprev)]
    return sess.run(trainable_vars)


def set_weights(values):
    """Put such a copy, or the averages, in the weights' place."""
    if model == "numpy":
        for w, value in zip((*weights, hprev), values):
            w[:] = value
    else:
        # What each variable's load does, in a single run.
        initial_values = [w.initializer.inputs[1] for w in trainable_vars]
        sess.run([w.initializer for w in trainable_vars],
                 dict(zip(initial_values, values)))


def stream(num_chars, prime, temperature, top_k, seed):
    """Yield prime and so many characters more, piece by piece as they are written."""
    if not prime or set(prime) - set(vocabulary):
        raise ValueError(f"prime {prime!r} is not of the text's characters")
    ids = [char_to_idx[char] for char in prime]
    temperature = max(temperature, 1e-20)  # at 0 the likeliest, always
    top_k = min(top_k or num_classes, num_classes)
    if model == "numpy":
        written_ids = numpy_write(ids, num_chars, temperature, top_k, seed)
        yield prime + "".join(vocabulary[idx] for idx in written_ids)
        return
    yield prime[0]
    feed_dict = {last_char: ids[:1], hotness: temperature, likeliest: top_k,
                 sampling_seed: np.uint32(seed).astype(np.int32)}
    following = np.append(ids[1:], np.full(num_chars, -1)).astype(np.int32)
    for start in range(0, len(following), 2000):
        feed_dict.update({given: following[None, start : start + 2000], offset: start})
        ids, state = sess.run([written, next_state], feed_dict)
        feed_dict.update({last_char: ids[-1:], last_state: state})
        yield "".join(vocabulary[idx] for idx in ids)


sampling_seeds = np.random.RandomState(seed)


def sample(num_chars=500, prime=prime, temperature=temperature, top_k=top_k, seed=None):
    """Return prime and so many characters more; try sample(200, "KING").

    Each call writes another text; the same seed writes the same.
    """
    seed = sampling_seeds.randint(2**31) if seed is None else seed
    return "".join(stream(num_chars, prime, temperature, top_k, seed))


def write_samples():
    """Return what the network writes, by temperature; the same as --sample begins."""
    return {t: sample(300, temperature=t, seed=seed) for t in (0.5, 1.0)}


# %% What has it learned?
# One lens for all scripts: the length of d(an answer) / d(each input). The answer is
# here by how much the likeliest next character leads over the second likeliest.
if model != "numpy":
    with tf.name_scope("Looking_inside"):
        top_two = tf.nn.top_k(logits[:, -1], 2).values
        pull = tf.gradients(top_two[:, 0] - top_two[:, 1], inputs)[0]
        chances, guesses = tf.nn.top_k(tf.nn.softmax(logits), min(3, num_classes))


def numpy_read(batch_X, state):
    """Return the states [rows, steps, num_hidden_units] and logits of rows of text."""
    h, hs = np.zeros_like(bh) if state is None else state, []
    for chars in batch_X.T:
        h = np.tanh(Wxh[:, chars] + Whh @ h + bh)  # a column a row
        hs.append(h.T)
    hs = np.stack(hs, axis=1)
    return hs, hs @ Why.T + by.T


def numpy_pull(hs, logits):
    """Return d(lead) / d(each input): that lens by hand, as in backward_pass."""
    order = np.argsort(logits[:, -1])
    dh = Why[order[:, -1]] - Why[order[:, -2]]
    pulls = []
    for t in reversed(range(num_steps)):
        dhraw = (1 - hs[:, t] * hs[:, t]) * dh
        pulls.insert(0, dhraw @ Wxh)
        dh = dhraw @ Whh
    return np.stack(pulls, axis=1)


def lens(batch_X, state):
    """Return how much the last step's answer hangs on each input, [rows, num_steps]."""
    if model == "numpy":
        pulls = numpy_pull(*numpy_read(batch_X, state))
    else:
        pulls = sess.run(pull, feed(batch_X, batch_X, state))  # any y will do
    return np.linalg.norm(pulls, axis=2)


def read_windows(batch_X, batch_y, state):
    """Return losses, units, chances and names of what may come next, the last state.

    losses: [rows, num_steps], units: [rows, num_steps, num_hidden_units], of the last
    layer; chances and guesses: [rows, num_steps, 3], the likeliest first.
    """
    if model != "numpy":
        return sess.run([losses, outputs, chances, guesses, final_state],
                        feed(batch_X, batch_y, state))
    hs, logits = numpy_read(batch_X, state)
    p = np.exp(logits - logits.max(axis=2, keepdims=True))
    p /= p.sum(axis=2, keepdims=True)
    order = np.argsort(-p, axis=2)[:, :, :3]
    costs = -np.log(np.take_along_axis(p, batch_y[:, :, None], axis=2))
    return costs[:, :, 0], hs, np.take_along_axis(p, order, 2), order, hs[:, -1].T


def pieces(ids):
    """Return up to 50 pieces of a text, each of whole windows and one character more.

    They have 400 characters, or a window where that is longer.
    """
    rows = min(50, max(1, (len(ids) - 1) // max(400, num_steps)))
    apart = (len(ids) - 1) // rows
    length = max(1, min(400, apart) // num_steps) * num_steps
    return ids[apart * np.arange(rows)[:, None] + np.arange(length + 1)]


def look_inside(read_ids):
    """Return what the network makes of pieces of text, [rows, windows and one more].

    by_lag, by_read: [num_steps], how much an answer hangs on what was read so long ago,
    and the loss by characters read since zeros. seen: losses, units, chances, guesses.
    """
    lengths, first_losses, seen, state = [], [], [], None
    for start in range(0, read_ids.shape[1] - 1, num_steps):
        batch_X = read_ids[:, start : start + num_steps]
        batch_y = read_ids[:, start + 1 : start + num_steps + 1]
        lengths.append(lens(batch_X, state))
        # Once from zeros, for what memory is worth, once with the state carried.
        first_losses.append(read_windows(batch_X, batch_y, None)[0])
        *seen_here, state = read_windows(batch_X, batch_y, state)
        seen.append(seen_here)
        picture.flush_events()
    by_lag = np.mean(lengths, axis=(0, 1))[::-1]
    by_read = np.mean(first_losses, axis=(0, 1))
    return by_lag, by_read, [np.concatenate(part, axis=1) for part in zip(*seen)]


def follow(units, follows):
    """Return each unit's correlation with what is 1 or 0 at each of the places."""
    units = (units - units.mean(axis=(0, 1))) / (units.std(axis=(0, 1)) + 1e-9)
    follows = (follows - follows.mean()) / (follows.std() + 1e-9)
    return (units * follows[:, :, None]).mean(axis=(0, 1))


later = 8  # characters


def remember(units, chars):
    """Return how much of each unit's value is left some characters later.

    That is the correlation of then and now, without what the character just read tells
    of it. A unit that hardly moves in a piece counts as 0: it has nothing to remember.
    """
    if chars.shape[1] <= later:
        return np.zeros(units.shape[2])
    left = units.copy()
    for char in np.unique(chars):
        left[chars == char] -= left[chars == char].mean(axis=0)
    now, then = left[:, later:], left[:, :-later]
    products = np.sqrt((now**2).mean(axis=(0, 1)) * (then**2).mean(axis=(0, 1)))
    kept = (now * then).mean(axis=(0, 1)) / (products + 1e-9)
    return np.where(units.std(axis=1).mean(axis=0) < 0.3, 0, kept)


# %% Checkpoints. Skip it at first.
savers = {}
if model != "numpy":
    savers = {name: tf.train.Saver(saved_variables, max_to_keep=1,
                                   save_relative_paths=True)
              for name in ["best", "newest"]}


def claim(folder):
    """Return a lock on the folder, which ends with this process.

    OSError: another run has it, or the folder cannot be written to.
    """
    lock = open(os.path.join(folder, "lock"), "a")
    if os.name == "nt":
        import msvcrt
        msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def reason(error):
    """Return the line that says it: TensorFlow 2 has others above, both have below."""
    said = str(error).split("\n\t [[")[0].replace("\r\n", " ")  # as Windows ends lines
    return said.split("\n")[-1]


def restore(name):
    """Load the best or the newest network; return its checkpoint's path."""
    path = tf.train.latest_checkpoint(checkpoint_dir, name)
    try:
        savers[name].restore(sess, path or os.path.join(checkpoint_dir, name))
    except Exception as error:  # of many kinds, and many lines
        parser.error(f"the {name} network in {checkpoint_dir} cannot be loaded: "
                     + reason(error))
    return path


def restore_best():
    """Load the best network, with the weights that were validated; return its path."""
    path = restore("best")
    if averages:
        set_weights(sess.run(averages))
    return path


def remove_leftovers(paths):
    """Remove what a kill while a network was saved has left in the folder."""
    names = [os.path.basename(path) for path in paths]
    for file in glob.glob(os.path.join(checkpoint_dir, "*")):
        name = os.path.basename(file)
        is_old = re.match("(best|newest)-", name) and name.split(".")[0] not in names
        if is_old or ".tempstate" in name:
            with contextlib.suppress(OSError):  # on Windows: it is open elsewhere
                os.remove(file)


first_epoch, rate_epoch = 0, 0  # the learning rate is that of the rate_epoch
curves = {"training": [], "validation": []}  # of pairs, epoch and nats
text_sha256 = hashlib.sha256(raw_data).hexdigest()
is_same_text = saved.get("text") == text_sha256
run_dir, lock = "", None  # "": made when there is something to save
best_loss, best_weights, best_samples = np.inf, None, {}


def save(epoch, is_best):
    """Save flags, curves and the newest network, and as the best if it is that.

    A kill in between harms nothing: each file is whole before it takes its place.
    """
    global run_dir, lock
    if not run_dir:
        if checkpoint_dir and not goes_on:
            os.makedirs(checkpoint_dir)
            run_dir = checkpoint_dir
        else:
            run_dir = new_folder("char_rnn")
        print("Checkpoints in", run_dir)
        with contextlib.suppress(OSError):  # where there are no locks
            lock = claim(run_dir)
    settings = {"flags": dict(flags, prime=prime, learning_rate=learning_rate),
                "rate_epoch": rate_epoch, "curves": curves, "vocabulary": vocabulary,
                "text": text_sha256, "log_folder": log_folder}
    file = os.path.join(run_dir, "settings.json")
    with open(file + ".part", "w", encoding="utf-8") as f:
        json.dump(settings, f)
    os.replace(file + ".part", file)
    for name in ["best", "newest"] if is_best else ["newest"]:
        savers[name].save(sess, os.path.join(run_dir, name), epoch,
                          latest_filename=name, write_meta_graph=False)


# %% A saved run writes, foresees, or learns on. Skip it at first.
if not is_training:
    restore_best()
    # Ctrl-C is heard between two runs of the session: in the midst of one it may fail.
    stopped = []
    old_handler = signal.signal(signal.SIGINT, lambda *_: stopped.append(True))
    if score_file:
        looked_at, nats = encode(read_text(score_file), score_file), 0
        if len(looked_at) < 2:
            parser.error(f"--score {score_file}: there is nothing to foresee")
        if plot_file and len(looked_at) <= num_steps:
            parser.error(f"--score {score_file}: too short for a picture")
        weights_of_the_best = get_weights()
        for window_losses in tqdm(score(looked_at, score_learning_rate), "Score",
                                  leave=False, disable=None, unit=" windows"):
            nats += window_losses.sum(dtype=float) / (len(looked_at) - 1)
            if stopped:
                sys.exit()
        set_weights(weights_of_the_best)  # what it has learned here is forgotten
        print(f"{score_file}, {len(looked_at)} characters: {nats:.4f} nats a character,"
              f" {nats / np.log(2):.4f} bits, perplexity {np.exp(nats):.4f}")
        if score_learning_rate:
            print("It learned from each window once that was scored: not to be compared"
                  " with figures of networks that stay as they are")
    if sample_length:
        for piece in stream(sample_length, prime, temperature, top_k, seed):
            print(piece, end="")
            if stopped:
                break
        print()
    signal.signal(signal.SIGINT, old_handler)
    if not (score_file and plot_file):
        sys.exit()

if goes_on and is_training and is_same_text:
    try:
        lock = claim(checkpoint_dir)
        with open(os.path.join(checkpoint_dir, "settings.json"), encoding="utf-8") as f:
            saved = json.load(f)  # again: from here on nobody else writes it
    except OSError as error:
        parser.error(f"another run saves in {checkpoint_dir}, or nobody can:"
                     f" {error.strerror}. Wait for its end, or copy that folder")
if goes_on and is_training:
    paths = [restore_best()]
    restored_best = get_weights()
    restored_samples = write_samples()
    paths.append(restore("newest"))
    if is_same_text:
        run_dir = checkpoint_dir
        remove_leftovers(paths)
        for name, path in zip(["best", "newest"], paths):
            savers[name].recover_last_checkpoints([path])  # the next ones' places
        first_epoch = int(paths[1].rpartition("-")[2])
        for name in curves:  # of a run killed while it saved: ahead of its network
            curves[name] = [point for point in saved["curves"][name]
                            if point[0] <= first_epoch]
        best_loss = min(loss for _, loss in curves["validation"])
        best_weights, best_samples = restored_best, restored_samples
        rate_epoch, then = saved.get("rate_epoch", 0), saved["flags"]
        if learning_rate != then["learning_rate"]:
            rate_epoch = first_epoch
        elif decay_rate != then["decay_rate"]:  # the new one is for what comes
            learning_rate *= then["decay_rate"] ** (first_epoch - rate_epoch)
            rate_epoch = first_epoch
    if first_epoch >= num_epochs:
        parser.error(f"{first_epoch} epochs are done: give more as --num_epochs")

# %% What counting knows
# What loss is good? Guessing and counting need no network; what it is worth is how far
# it falls below pairs.
baselines = {}  # by name, in nats a character
if is_training:
    looked_at = validation
    first_chars, last_chars = training[: 10**6].tolist(), validation[: 10**6].tolist()
    singles = collections.Counter(first_chars[:-1])  # the last one begins no pair
    pairs = collections.Counter(zip(first_chars, first_chars[1:]))
    characters = len(first_chars) - 1 + num_classes  # one more of each: so all can be
    baselines = {
        "guessing": np.log(num_classes),
        "single characters": -np.mean([
            np.log((singles[a] + 1) / characters) for a in last_chars]),
        "pairs": -np.mean([
            np.log((pairs[a, b] + 1) / (singles[a] + num_classes))
            for a, b in zip(last_chars, last_chars[1:])]),
    }
    print(len(training), "characters to learn from,", len(validation),
          "to validate with")
    if parts > 1:
        print(f"Each epoch reads another of {parts} parts")
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
    and draw takes a fifth of the time at most, but for slow motion. After a Ctrl-C in
    the with block one more drawing is due, then is_due ends the block. (Python's own
    way, to raise at once, fails where Tk is calling us: it swallows the exception.)
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
        self.next_time = self.next_flush = 0
        self.end_of_slow_motion = self.start + 15
        self.interrupted = self.is_over = False
        self.output = None
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

    def flush_events(self):
        """Let the window do what was asked of it, 20 times a second."""
        if self.is_open() and time.perf_counter() > self.next_flush:
            self.figure.canvas.flush_events()
            self.next_flush = time.perf_counter() + 0.05

    def is_due(self, slow_motion=False):
        """Tell if it is time to draw: in slow motion always, where one can watch it."""
        self.flush_events()
        if self.is_over:
            raise KeyboardInterrupt
        self.is_over = self.interrupted  # what there is by now is drawn first
        self.start = time.perf_counter()
        self.is_slow = (slow_motion and self.start < self.end_of_slow_motion
                        and (self.notebook or self.is_open()))
        is_seen = self.is_open() or not self.window
        return (self.is_over or self.is_slow
                or is_seen and self.start > self.next_time)

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


def add_axes(left, width, title, xlabel, end):
    """Return axes in the upper half of the picture, from 0 to the end."""
    new_axes = picture.figure.add_axes([left, 0.51, width, 0.4], xlim=(0, end))
    new_axes.set_title(title, size=10)
    new_axes.set_xlabel(xlabel, size=8, labelpad=1)
    new_axes.tick_params(which="both", labelsize=8, pad=2)
    return new_axes


axes = add_axes(0.04, 0.25, "Loss, nats a character", "epoch", 1.02 * num_epochs)
lag_axes = add_axes(0.335, 0.085, "How far\nback it looks", "characters back",
                    num_steps)
read_axes = add_axes(0.45, 0.085, "What memory\nis worth", "read since zeros",
                     num_steps + 1)
letter_axes = add_axes(0.565, 0.085, "What a word\ntells", "letter of the word", 8.5)
axes.set_ylim(0, 1.05 * np.log(num_classes) + 0.1)
lag_axes.set_yscale("log")
lag_axes.yaxis.set_minor_formatter(plt.NullFormatter())
letter_axes.set_xticks([1, 3, 5, 7])
(training_line,) = axes.plot([], [], lw=1, label="training", zorder=3)
(validation_line,) = axes.plot([], [], "o-", ms=4, label="validation", zorder=4)
(lag_line,) = lag_axes.plot([], [])
(read_line,) = read_axes.plot([], [])
(letter_line,) = letter_axes.plot([], [], "o-", ms=3)
for (name, loss), style in zip(baselines.items(), ["--", "-.", ":"]):
    for each in axes, read_axes, letter_axes:
        each.axhline(loss, color="gray", ls=style, lw=1, label=f"{name}: {loss:.2f}")
axes.legend(loc="upper right", framealpha=1, fontsize=8)


def add_page(top, title):
    """Return a text in the upper right corner of the picture."""
    picture.figure.text(0.68, top, title, size=10)
    return picture.figure.text(0.68, top - 0.015, "", va="top", size=7,
                               family="monospace", parse_math=False)


sample_page = add_page(0.94, "It writes (temperature 0.5: safely)")
beginnings_page = add_page(0.71, "By and by (after so many epochs)")
beginnings = []  # of what it wrote by and by


def show_sample(text):
    lines = [textwrap.fill(line, 60) for line in text.splitlines()]
    sample_page.set_text("\n".join("\n".join(lines).split("\n")[:9]))


def show_samples(epochs):
    """Put on the pages what it writes now; return that, by temperature."""
    samples = write_samples()
    show_sample(samples[0.5])
    beginnings.append(f"{epochs:4.1f} {' '.join(samples[0.5].split())[:56]}")
    shown = sorted(set(np.linspace(0, len(beginnings) - 1, 10).astype(int)))
    beginnings_page.set_text("\n".join(beginnings[i] for i in shown))
    return samples


# %% Units over a text
# The famous picture of this field: what single units of the last layer follow. It is
# drawn of pieces of the text from which nothing is learned.
picture.figure.text(
    0.02, 0.012, "The unit is positive where a letter is red, negative where it is"
    " blue. Below: what may come next, the redder the likelier.",
    size=8, color="dimgray")
looked_ids = pieces(looked_at)  # of a row, some windows and one character more
looked_texts = ["".join(vocabulary[idx] for idx in row) for row in looked_ids]
in_pattern = np.zeros([len(looked_ids), looked_ids.shape[1] - 1])
letter_of_word = np.zeros(looked_ids.shape, int)  # 0: it is no letter
for row, text in enumerate(looked_texts):
    for match in re.finditer(pattern, text, re.M):
        in_pattern[row, match.start() : match.end()] = 1
    letter = 0
    for i, char in enumerate(text):
        letter = letter + 1 if char.isalpha() else 0
        letter_of_word[row, i] = letter
# Shown are the last whole lines of the piece in which the pattern comes most often.
shown_row = np.abs(np.diff(in_pattern[:, -300:])).sum(axis=1).argmax()
shown_lines = [match.span() for match in re.finditer(
    "[^\n]{1,78}", looked_texts[shown_row][:-1]) if match.group().strip()]
shown_lines = shown_lines[-5:-1] or shown_lines
signs = np.array([char if char.isprintable() else "·"
                  for char in vocabulary.replace("\n", "↵").replace("\t", "→")])
shown_text = "".join(signs[looked_ids[shown_row]])


class UnitPage:
    """Lines of text, each character on the color of a unit, above what may follow."""

    def __init__(self, left):
        self.axes = picture.figure.add_axes([left, 0.045, 0.47, 0.355])
        self.axes.set_axis_off()
        self.title = self.axes.set_title("", size=10, loc="left", parse_math=False)
        self.image = self.axes.imshow(np.ones([16, 78, 4]), aspect="auto",
                                      extent=(0, 78, 16, 0), interpolation="nearest")
        font = {"size": 8, "family": "monospace", "parse_math": False}
        self.rows = [self.axes.text(0, row + 0.77, "", **font) for row in range(16)]
        self.ruler = self.axes.text(0, 0, "m" * 78, alpha=0, **font)
        self.axes.set_axes_locator(self.locate)

    def locate(self, axes, renderer):
        """Return where the page is: as wide as its 78 characters, in any window."""
        width = self.ruler.get_window_extent(renderer).width
        place = axes.get_position(original=True)
        return place.from_bounds(place.x0, place.y0, width / picture.figure.bbox.width,
                                 place.height)

    def show(self, title, values, chances, next_signs):
        """values: [steps], of the unit; chances, next_signs: [steps, 3]."""
        self.title.set_text(title)
        colors = np.ones([16, 78, 4])
        for line, (start, end) in enumerate(shown_lines):
            top, columns = 4 * line, slice(end - start)
            self.rows[top].set_text(shown_text[start:end])
            colors[top, columns] = plt.cm.RdBu_r(0.5 + 0.4 * values[start:end])
            for rank in range(next_signs.shape[1]):
                below = top + 1 + rank
                self.rows[below].set_text("".join(next_signs[start:end, rank]))
                colors[below, columns] = plt.cm.Reds(0.7 * chances[start:end, rank])
        self.image.set_data(colors)


unit_pages = [UnitPage(0.02), UnitPage(0.51)]


def show_inside():
    """Show what the network makes of the text; return that, in sentences."""
    random_states = [generator.state.eval(sess) for generator in generators]
    by_lag, by_read, (costs, units, chances, guesses) = look_inside(looked_ids)
    for generator, random_state in zip(generators, random_states):
        generator.state.load(random_state, sess)  # to look changes no training
    letters = [i for i in range(1, 9) if (letter_of_word[:, 1:] == i).any()]
    by_letter = [costs[letter_of_word[:, 1:] == i].mean() for i in letters]
    for line, x, values in [(lag_line, range(num_steps), by_lag),
                            (read_line, range(1, num_steps + 1), by_read),
                            (letter_line, letters, by_letter)]:
        line.set_data(x, values)
        line.axes.relim()
        line.axes.autoscale_view(scalex=False)

    kept = remember(units, looked_ids[:, :-1])
    shown = [(unit, f"Unit {unit} remembers: {kept[unit]:.2f} of it is left after"
              f" {later} characters") for unit in np.argsort(-kept)[:2]]
    if in_pattern.any():
        correlations = follow(units, in_pattern)
        unit = np.abs(correlations).argmax()
        title = f"Unit {unit} follows {pattern} (correlation {correlations[unit]:.2f})"
        shown = [(unit, title), *(other for other in shown if other[0] != unit)]
    chances = chances[shown_row]
    next_signs = np.where(chances < 0.05, " ", signs[guesses[shown_row]])
    for page, (unit, title) in zip(unit_pages, shown):
        page.show(title, units[shown_row, :, unit], chances, next_signs)
    lags = [lag for lag in (0, 3, 10, 30) if lag < num_steps]
    told = ", ".join(f"{by_lag[lag]:.2g}" for lag in lags)
    sentences = [f"An answer hangs on what was read {', '.join(map(str, lags))} steps"
                 f" before by {told}", *(title for _, title in shown[:2])]
    if not in_pattern.any():
        sentences.append(f"{pattern} is nowhere in the text looked at")
    return sentences


def plot():
    training_line.set_data(*np.reshape(curves["training"], (-1, 2)).T)
    validation_line.set_data(*np.reshape(curves["validation"], (-1, 2)).T)
    late = [loss for curve in curves.values() for epochs, loss in curve if epochs > 0.5]
    if late:  # the fast beginning would hide the slow end
        late.append(baselines["pairs"] if is_training else nats)
        axes.set_ylim(0.97 * min(late), 1.03 * max(late))
    with np.errstate(invalid="ignore"):  # nan: at the next loss it ends
        sentences = show_inside()
    picture.draw()
    return sentences


def add_point(name, epochs, loss):
    curves[name].append([epochs, loss])
    log.add_point(name, loss, round(epochs * windows / parts))


if not is_training:  # --score FILE --plot P.png
    curves = saved["curves"]
    for each in axes, read_axes, letter_axes:
        each.axhline(nats, color="gray", lw=1, label=f"the text scored: {nats:.2f}")
    axes.legend(loc="upper right", framealpha=1, fontsize=8)
    show_samples(min(curves["validation"], key=lambda point: point[1])[0])
    with picture:
        sentences = plot()
    print(*sentences, sep="\n")
    sys.exit()


# %% What is kept. Skip it at first.
@contextlib.contextmanager
def tell_what_is_kept():
    """Say at the end, however it comes, what is kept of the training, and where."""
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError):
        sys.exit(too_large)
    finally:
        if best_weights:
            set_weights(best_weights)  # sample() writes with them, as --sample does
        if lock:
            lock.close()
        cause = "Ctrl-C: " if picture.interrupted else ""
        if model == "numpy":
            print(f"{cause}Section III saves no network")
        elif saved_epoch > 0 and os.path.isdir(run_dir):
            print(f"{cause}the network after epoch {saved_epoch} is in {run_dir}")
        else:
            print(f"{cause}no network was saved")


# %% Training
# The state goes from window to window, gradients do not. Look at when the loss passes
# what pairs cost, and at what is written meanwhile.
log_folder = saved.get("log_folder", "") if is_same_text else ""
if logdir and not (os.path.isdir(log_folder) and os.path.samefile(
        os.path.dirname(log_folder) or ".", logdir)):
    log_folder = new_folder(os.path.join(logdir, "char_rnn"))
log = EventLog(log_folder if logdir else "")
log.add(round(first_epoch * windows / parts) + 1,  # what a killed run had after it goes
        session_log=tf.SessionLog(status=tf.SessionLog.START))
saved_epoch = first_epoch
if goes_on and not is_same_text:
    print(f"The network of {checkpoint_dir} goes on with another text")
with picture, tell_what_is_kept():
    show_samples(first_epoch)
    for epoch in range(first_epoch, num_epochs):
        rate = learning_rate * decay_rate ** (epoch - rate_epoch)
        numbers = np.random.RandomState([seed, epoch])  # again the same after --resume
        for generator in generators:
            generator.state.load([0, 0, numbers.randint(2**31)], sess)
        # Not the article's: the windows are cut at another place each epoch.
        cut = numbers.randint(num_steps)
        batches = list(generate_batch(training[cut:][:length], epoch % parts, parts))
        loss_list, state = [], None  # an epoch begins with a state of zeros
        start = time.perf_counter()
        for input_X, input_y in tqdm(batches, f"Epoch {epoch + 1}", leave=False,
                                     disable=None):
            loss, state = step(input_X, input_y, state, rate)
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
        speed = len(batches) * batch_size * num_steps / (time.perf_counter() - start)

        newest_weights = validated_weights = get_weights()
        if averages:
            validated_weights = sess.run(averages)
            set_weights(validated_weights)
        validation_loss = validate()
        if not np.isfinite(validation_loss):
            sys.exit(f"Loss {validation_loss}: try a smaller --learning_rate")
        add_point("validation", epoch + 1, validation_loss)
        samples = show_samples(epoch + 1)
        is_best = validation_loss < best_loss
        if is_best:
            best_loss = validation_loss
            best_weights, best_samples = validated_weights, samples
        if averages:
            set_weights(newest_weights)
        if model != "numpy":
            try:
                save(epoch + 1, is_best)
                saved_epoch = epoch + 1
            except (OSError, tf.errors.OpError) as error:  # such as a full disk
                print("Not saved:", reason(error))

        if epoch == first_epoch and validation_loss < np.mean(loss_list):
            print("Validation begins below training, since that is the mean of an"
                  " epoch\nin which it learned, and this is measured at its end")
        print(f"Epoch {epoch + 1:2}  training {np.mean(loss_list):.4f} nats  validation"
              f" {validation_loss:.4f} nats  rate {rate:.3g}  {speed:.0f} characters/s")
        print("  |", " ".join(samples[0.5].split())[:72])
        if picture.is_due():
            plot()

    set_weights(best_weights)
    show_sample(best_samples[0.5])
    sentences = plot()
    print(*sentences, sep="\n")
    best_epoch = min(curves["validation"], key=lambda point: point[1])[0]
    for sampling_temperature, text in best_samples.items():
        print(f"After epoch {best_epoch}, at temperature {sampling_temperature}:")
        print(*("  | " + line for line in text.splitlines()), sep="\n")

# %% And today
# Large language models have taken recurrence back: in Qwen3.5 three layers of four,
# Gated DeltaNet, carry a state of fixed size from token to token, and each fourth looks
# back at all of them [1]. A Transformer's memory grows with the text, a state does not
# [2]; but what does not fit into it is gone, and at copying, networks without attention
# fall far behind [3]. There are gates in them as well: one lets the state fade, the
# delta rule overwrites a part of it [4]. The LSTM's own heir is xLSTM, with exponential
# gates and a matrix as its memory, trained with 7 billion weights [5]. All these read
# tokens, pieces of some four bytes [6]; H-Net learns by itself how to cut bytes into
# pieces [7].
#
# [1]: https://huggingface.co/docs/transformers/model_doc/qwen3_5
# [2]: https://huggingface.co/docs/transformers/cache_explanation
# [3]: https://arxiv.org/abs/2402.01032
# [4]: https://arxiv.org/abs/2412.06464
# [5]: https://github.com/NX-AI/xlstm
# [6]: https://github.com/openai/tiktoken
# [7]: https://arxiv.org/abs/2507.07955
