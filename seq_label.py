"""Sequence labelling: a recurrent network reads words letter by letter.

The second half of "Introduction to Recurrent Networks in TensorFlow" by Danijar Hafner,
https://danijar.com/introduction-to-recurrent-networks-in-tensorflow/. The article's own
lines are in the cells from Defining the Network to Sequence Labelling.

    python seq_label.py                            # drawn words, in a window
    python seq_label.py --data ocr --plot ocr.png  # no window, but a file

Expect 8 to 10 % of the drawn letters read wrong after half a minute on 2 CPU cores: 7
to 9 % in words that it has learned from, 11 to 13 % in new ones, some 30 % of all. With
--cell none, which forgets what came before, 13 to 15 %; with --bidirectional 1, which
knows what comes behind, 6 to 7 % (5 seeds, benchmarks/seeds.py --drawn). All fonts are
new to it. Drawn words are easier than handwriting: letters are cut out, and a font
draws each in its one way, turned and stretched less in the test than in training.
"""
# /// script
# requires-python = ">=3.9,<3.14"
# dependencies = ["tensorflow>=2.16,<3", "tf_keras>=2.16,<3", "matplotlib>=3.5", "tqdm"]
# ///
# %% Imports
import argparse
import contextlib
import datetime  # noqa: F401 (numpy's C code, loading it, loses a Ctrl-C)
import io
import itertools
import logging
import os
import signal
import sys
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


# %% Setup
# The constants of the article and of its "complete gist", under their names. Each is a
# flag, too: --num_layers 2.
num_units = flag("num_units", 200, "units of a layer")
num_layers = flag("num_layers", 1, "layers of cells, one on top of another; in the "
                  "article 3")
train_dropout = flag("dropout", 0.2, "share of a layer's outputs to drop; in the "
                     "article 0.5", 0, 1)
cell_type = flag("cell", "gru", "what the layers are made of; none: a gru that forgets",
                 choices=["gru", "lstm", "none"])
num_epochs = flag("num_epochs", 10, "how often to test what was learned")
num_batches = flag("num_batches", 100, "batches of an epoch")
batch_size = flag("batch_size", 50, "random words in a batch; in the article 10")
learning_rate = flag("learning_rate", 0.003, "of RMSProp, in the first epoch", low=1e-9)
# Not the article's:
decay = flag("decay", 0.75, "factor on the learning rate after each epoch; the article "
             "has none: 1", low=1e-9)
data_name = flag("data", "drawn", "drawn words, ocr: the article's handwriting, or a "
                 "FILE.npz with x_train, x_test [many, steps, features], best from -1 "
                 "to 1; y_train, y_test [many, steps], classes 0, 1, 2, … or -1: none; "
                 "where steps differ, length_train, length_test [many]; names of the "
                 "classes, if you like")
split = flag("split", "words", "test ocr on the last third: words never seen; folds: "
             "on one in ten, of words seen in the others", choices=["words", "folds"])
bidirectional = flag("bidirectional", 0, "1: as many layers again read from the end",
                     low=0, choices=[0, 1])
hidden_units = flag("hidden_units", 0, "units of a layer before the recurrence, which "
                    "sees one letter; 0: none", low=0)
truncated_backprop_length = flag("truncated_backprop_length", 0,
                                 "letters that a gradient reaches back; 0: all", low=0)
shift = flag("shift", 0, "move letters to learn by up to so many pixels", low=0)
seed = flag("seed", 1, "the same seed gives the same numbers", low=0, high=2**32)
plot_file = flag("plot", "", "save the picture here and open no window")
logdir = flag("logdir", "", "write graph and curves here, for TensorBoard")
predictions_file = flag("predictions", "", "keep here, in a FILE.npz, what the network "
                        "says of the test set: answer and probability of each class")

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


# %% Do the constants fit together? Skip it at first.
if bidirectional and cell_type == "none":
    parser.error("--bidirectional needs a --cell that remembers")
if truncated_backprop_length and (bidirectional or cell_type == "none"):
    parser.error("--truncated_backprop_length needs a --cell that reads one way")
if split == "folds" and data_name != "ocr":
    parser.error("--split folds needs --data ocr")
if predictions_file and os.path.abspath(predictions_file) == os.path.abspath(data_name):
    parser.error(f"--predictions {predictions_file} would overwrite --data")
if predictions_file:
    check_file("predictions", predictions_file, ".npz")

# %% From TensorFlow 2.16 on, cells are in another package. Skip it at first.
try:
    _ = tf.nn.rnn_cell.GRUCell
except ImportError:
    sys.exit("TensorFlow's RNN cells need one more: python -m pip install tf_keras")

# %% Your own data, read and checked. The same in both seq scripts. Skip it at first.
import zipfile
import zlib


def demand(is_so, fault):
    """End the run with one line on the fault unless it is so."""
    if not is_so:
        parser.error(f"--data {data_name}: {fault}")


def read_own(label_axes):
    """Return x, y, length to learn from, the same three to test, the classes' names.

    x: float32 [many, steps, features]. y: int of x's first label_axes axes, -1 where
    there is no label. length: int [many]. A fault ends the run.
    """
    demand(zipfile.is_zipfile(data_name),
           "is no other choice of --help, and no .npz file, as np.savez writes it")
    try:
        with np.load(data_name) as own_file:
            arrays = dict(own_file)
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        cure = ""
        if "Object arrays" in str(error):
            cure = (". Lists of different lengths? Pad them to one length, and tell by"
                    " length_train, length_test [many] how many steps of each are real")
        demand(False, f"{error}{cure}")
    needed = {"x_train", "y_train", "x_test", "y_test"}
    known = needed | {"length_train", "length_test", "names"}
    demand(needed <= set(arrays), f"lacks {', '.join(sorted(needed - set(arrays)))}")
    demand(set(arrays) <= known, f"has {', '.join(sorted(set(arrays) - known))};"
           f" known are {', '.join(sorted(known))}")
    for name, array in arrays.items():
        demand(array.dtype.kind in "biuf" or name == "names",
               f"{name} holds {array.dtype}, no real numbers")

    both = []
    for part in "train", "test":
        x, y = arrays["x_" + part], arrays["y_" + part]
        demand(x.ndim == 3 and x.size > 0,
               f"x_{part} {x.shape} is not [many, steps, features]")
        demand(y.shape == x.shape[:label_axes],
               f"y_{part} {y.shape} does not fit x_{part} {x.shape}")
        many, steps, _ = x.shape
        length = arrays.get("length_" + part, np.full(many, steps))
        demand(length.shape == (many,) and np.isin(length, np.arange(steps) + 1).all(),
               f"length_{part} is not {many} whole numbers from 1 to {steps}")

        is_real = np.arange(steps) < length[:, np.newaxis]  # beyond, anything may stand
        with np.errstate(over="ignore", invalid="ignore"):
            x = x.astype(np.float32)
            x[~is_real] = 0
            demand((np.abs(x) < 1e9).all(),
                   f"x_{part} has NaN, infinity or more than 1e9")
        if label_axes == 2:
            y = np.where(is_real, y.astype(float), -1)
            demand("length_" + part in arrays or (y[:, -1] != -1).all(),
                   f"y_{part} ends in -1: tell with length_{part} [many] how many steps"
                   " of each are real")
        lowest = -1 if label_axes == 2 else 0  # a step may have no label
        is_label = np.isin(y, np.arange(lowest, 10000))
        demand(is_label.all(), f"y_{part} has {y[~is_label][:1]}: wanted are whole"
               f" numbers from {lowest} to 9999")
        demand((y >= 0).any(), f"y_{part} has no label")
        both += [x, y.astype(int), length.astype(int)]

    x_train, y_train, _, x_test, y_test, _ = both
    demand(x_train.shape[1:] == x_test.shape[1:],
           f"x_test {x_test.shape} does not fit x_train {x_train.shape}; the shorter"
           " steps can be padded with zeros: length_train, length_test tell the real")
    num_classes = len(np.unique(y_train[y_train >= 0]))
    highest = max(y_train.max(), y_test.max())
    demand(num_classes > 1, "y_train has one class only")
    demand("names" in arrays or highest < 2 * num_classes,
           f"y_train has {num_classes} classes, and the highest is {highest}: number"
           " them 0, 1, 2, …; length_train, length_test tell where padding begins")
    names = arrays.get("names", np.arange(highest + 1)).astype(str)
    demand(names.ndim == 1 and len(names) > highest,
           f"names {names.shape} are not one for each of the classes 0 to {highest};"
           " length_train, length_test tell where padding begins")
    largest = np.abs(x_train).max()
    if largest > 10:
        print(f"x_train has {largest:g}: numbers from -1 to 1 or so are learned better")
    return (*both, names)


# %% Sizes of the data
# A word is read as a sequence: each of its letters is a time step, an image of 16 x 8
# pixels.
steps, height, width = 14, 16, 8  # no word has more than 14 letters, images of 16 x 8
features, names = height * width, list("abcdefghijklmnopqrstuvwxyz")
own_data = data_name not in ["drawn", "ocr"]
if own_data:
    print(f"Reading {data_name}")
    x_train, y_train, length_train, x_test, y_test, length_test, names = read_own(2)
    _, steps, features = x_train.shape
    if shift:
        parser.error(f"--shift {shift} is for images of letters")
if truncated_backprop_length > steps:
    parser.error(f"--truncated_backprop_length is above the {steps} steps there are")
if 2 * shift >= width:
    parser.error(f"--shift {shift} moves too much of {height} x {width} pixels out")
backprop_steps = truncated_backprop_length or steps
out_size = max(2, len(names))

# %% Dropout, the same with two threads. The same in both seq scripts. Skip it at first.
class OrderedDropout(tf.nn.rnn_cell.DropoutWrapper):
    def __call__(self, inputs, state, scope=None):
        output, state = super().__call__(inputs, state, scope)
        with tf.control_dependencies([output]):  # no time step overtakes another
            return output, tf.nest.map_structure(tf.identity, state)


# %% A cell that forgets, for --cell none
# To know what memory is worth, compare with a network that has none: the same one, but
# each letter is its first.
class ForgetfulCell(tf.nn.rnn_cell.GRUCell):
    """A GRU whose state stays zeros, as it was at first: each step is the first."""

    def __call__(self, inputs, state, scope=None):
        of_this_step, _ = super().__call__(inputs, state, scope)
        return of_this_step, state


# %% Defining the Network
# Layers of cells, each reading what the one below puts out. In training a part of those
# outputs is dropped, so that no unit is relied on alone.
tf.reset_default_graph()  # to run cells again, begin with this one
np.random.seed(seed)
tf.set_random_seed(seed)


def make_network():
    """Return num_layers of cells, with dropout; the article calls it cell, too."""
    make_cell = {"gru": tf.nn.rnn_cell.GRUCell, "lstm": tf.nn.rnn_cell.LSTMCell,
                 "none": ForgetfulCell}
    cells = []
    for _ in range(num_layers):
        cell = make_cell[cell_type](num_units)  # was in tf.contrib
        cell = OrderedDropout(cell, output_keep_prob=1.0 - dropout)
        cells.append(cell)  # the article's text lost this line
    return tf.nn.rnn_cell.MultiRNNCell(cells)


with tf.name_scope("Defining_the_Network"):
    dropout = tf.placeholder_with_default(0.0, [])  # in testing nothing is dropped
    network = make_network()

# %% Simulating Time Steps
# dynamic_rnn takes the network from letter to letter, up to each word's own length.
# With --bidirectional 1 others go the other way.
with tf.name_scope("Simulating_Time_Steps"):
    # Batch size x time steps x features.
    data = tf.placeholder(tf.float32, [None, None, features])
    # How many of the steps are real. Beyond them outputs are 0, and states stay.
    all_steps = tf.fill(tf.shape(data)[:1], tf.shape(data)[1])
    length = tf.placeholder_with_default(all_steps, [None])
    inputs = data
    if hidden_units:  # not the article's: a layer that sees one letter
        inputs = tf.layers.dense(data, hidden_units, tf.nn.relu)
        inputs = tf.nn.dropout(inputs, rate=dropout)
    init_state = network.zero_state(tf.shape(data)[0], tf.float32)  # or what is fed
    if bidirectional:  # not the article's: as many cells again, from the end
        both, (state, _) = tf.nn.bidirectional_dynamic_rnn(
            network, make_network(), inputs, length, init_state, dtype=tf.float32)
        output = tf.concat(both, axis=2)  # what was read before a letter, and behind it
    else:
        output, state = tf.nn.dynamic_rnn(network, inputs, length, init_state)

print("output: sequences, steps, units", output.shape)

# %% Sequence Labelling
# Each step's output is asked for its letter. Only real steps count: those beyond a
# word's end would flatter.
with tf.name_scope("Sequence_Labelling"):
    target = tf.placeholder(tf.int32, [None, None])  # numbers; -1: there is no label
    logit = tf.layers.dense(output, out_size)  # [batch_size, steps, out_size]
    prediction = tf.nn.softmax(logit)  # [batch_size, steps, out_size]

    # The article counts all steps, also those beyond a word's end, which are easy. They
    # are left out here. And no reduce_mean: the loss is the mean already.
    flat_target = tf.boolean_mask(target, target >= 0)
    flat_logit = tf.boolean_mask(logit, target >= 0)
    loss = tf.losses.sparse_softmax_cross_entropy(flat_target, flat_logit)

    decayed_rate = tf.placeholder(tf.float32, [])
    train_step = tf.train.RMSPropOptimizer(decayed_rate).minimize(loss)

print(sum(w.shape.num_elements() for w in tf.trainable_variables()), "weights to learn")

# %% Not the article's: what an answer hangs on
# One lens for all scripts: the length of d(an answer) / d(each input). Asked is the
# letter in the middle of a word.
asked = tf.placeholder(tf.int32, [None])  # the step of each sequence that is asked for
asked_steps = tf.stack([tf.range(tf.size(asked)), asked], axis=1)
best_two = tf.nn.top_k(tf.gather_nd(logit, asked_steps), 2).values  # [batch_size, 2]
lead = best_two[:, 0] - best_two[:, 1]  # of the answer over the second best
(pull,) = tf.gradients(lead, data)  # [batch_size, steps, features]

# %% Data: characters as if by hand. The same in both seq scripts. Skip it at first.
import functools

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

TRAIN_FONTS = ["DejaVu Sans", "DejaVu Sans:bold", "DejaVu Sans:oblique", "DejaVu Serif",
               "DejaVu Serif:bold", "DejaVu Serif:italic", "DejaVu Sans Mono:bold",
               "STIXGeneral", "STIXGeneral:bold", "STIXGeneral:italic"]
TEST_FONTS = ["cmr10", "cmb10", "cmss10", "cmtt10"]  # all come with matplotlib
folder = os.path.dirname(os.path.abspath(__file__)) if "__file__" in globals() else "."


@functools.lru_cache(maxsize=None)
def outline(character, font):
    """Return the character's outline, its center at 0, 0."""
    path = TextPath((0, 0), character, size=1, prop=FontProperties(font))
    center = np.mean(path.get_extents(), axis=0)
    return path.transformed(Affine2D().translate(*-center))


def draw(characters, fonts, height, width, distortion, noise):
    """Return images [characters, height, width], black is 1; each has its font.

    distortion: how far at most each is turned, leaned (rad) and stretched (share).
    noise: standard deviation of what is strewn in.
    """
    paper = RendererAgg(width, height, dpi=72)
    pen = paper.new_gc()
    images = np.random.normal(0, noise, (len(characters), height, width))
    for image, character, font in zip(images, characters, fonts):
        turn, lean, wider, taller = np.random.uniform(-distortion, distortion, 4)
        place = Affine2D().rotate(turn).skew(lean, 0).scale(1 + wider, 1 + taller)
        place.translate(*np.random.uniform(0.45, 0.55, 2)).scale(width, height)
        pen.set_linewidth(np.random.uniform(0, height / 14))
        paper.clear()
        paper.draw_path(pen, outline(character, font), place, rgbFace=(0, 0, 0))
        image += np.asarray(paper.buffer_rgba())[:, :, 3] / 255  # how much ink
    return np.clip(images, 0, 1).astype(np.float32)


def download(name, url, sha256=None):
    """Return the path of a file in data/; what is there already is not downloaded."""
    try:
        return tf.keras.utils.get_file(name, url, file_hash=sha256, cache_dir=folder,
                                       cache_subdir="data")
    except Exception as error:  # TensorFlow raises no narrower one
        parser.error(f"--data {data_name}: {error}. A copy of your own may be put into"
                     f" {os.path.join(folder, 'data', name)}")


def shift_images(images, pixels):
    """Return images [many, height, width], each moved by up to so many pixels."""
    many, height, width = images.shape
    images = np.pad(images, [(0, 0), (pixels, pixels), (pixels, pixels)], "constant")
    down, right = np.random.randint(2 * pixels + 1, size=(2, many))
    return np.array([image[y : y + height, x : x + width]
                     for image, y, x in zip(images, down, right)])


# %% Data: drawn words, the article's or yours
# Words of Python's manual are drawn, in some fonts to learn from and in others to test.
# A fifth of all spellings is kept from training.
import gzip
import hashlib
import pydoc_data.topics
import re

OCR_URL = "https://ai.stanford.edu/~btaskar/ocr/letter.data.gz"


def pad(images, labels):
    """Return words [many, steps, features], labels [many, steps] and lengths [many].

    images and labels have a list for each word. Beyond its length are zeros and -1.
    """
    lengths = np.array([len(word) for word in labels])
    x = np.zeros((len(lengths), steps, features), np.float32)
    y = np.full((len(lengths), steps), -1)
    for i, end in enumerate(lengths):
        x[i, :end], y[i, :end] = images[i], labels[i]
    return x, y, lengths


def draw_words(spellings, fonts, distortion):
    """Return the words' images, labels and lengths; each word is in one random font."""
    images, labels = [], []
    for spelling in spellings:
        of_word = [np.random.choice(fonts)] * len(spelling)
        letters = draw(spelling, of_word, height, width, distortion, noise=0.15)
        images.append(letters.reshape(-1, features))
        labels.append([names.index(letter) for letter in spelling])
    return pad(images, labels)


def read_ocr():
    """Return images, labels and lengths of all words, and the fold of each [many]."""
    packed_path = download("letter.data.gz", OCR_URL)
    with gzip.open(packed_path) as packed:
        content = packed.read()
    if hashlib.sha256(content).hexdigest() != (  # of the packed file none is known
            "535363d0b7bc34246b1f8731719540f526b6807b12dda5d430d011d160bc7882"):
        sys.exit(f"{packed_path} is not what it should be: delete it and try again")
    images, labels, folds = [], [], []
    for line in content.decode().splitlines():  # of one letter
        _, letter, _, _, position, fold, *pixels = line.split()
        if position == "1":  # a word begins
            images.append([])
            labels.append([])
            folds.append(int(fold))
        images[-1].append(np.array(pixels, np.float32))
        labels[-1].append(names.index(letter))
    return (*pad(images, labels), np.array(folds))


if data_name == "drawn":
    print("Drawing words")
    manual = " ".join(pydoc_data.topics.topics.values())  # Python's
    spellings = re.findall(r"\b[a-z]{7,14}\b", manual)  # short ones tell less
    vocabulary = np.random.permutation(sorted(set(spellings)))
    kept = set(vocabulary[: len(vocabulary) // 5])  # from training, wherever they stand
    for_training = [word for word in spellings[:-1000] if word not in kept]
    many = min(10000, num_epochs * num_batches * batch_size)  # that will be read
    for_training = np.random.choice(for_training, many)
    x_train, y_train, length_train = draw_words(for_training, TRAIN_FONTS, 0.15)
    x_test, y_test, length_test = draw_words(spellings[-1000:], TEST_FONTS, 0.1)
elif data_name == "ocr":
    print("Reading ocr")
    *all_words, folds = read_ocr()
    testing = folds == 0
    if split == "words":  # a word's copies follow each other: those to test are new
        cut = int(0.66 * len(folds))
        while (all_words[1][cut] == all_words[1][cut - 1]).all():
            cut += 1
        testing = np.arange(len(folds)) >= cut
    x_train, y_train, length_train = [array[~testing] for array in all_words]
    x_test, y_test, length_test = [array[testing] for array in all_words]

# A test word is known if its spelling is learned from, too: there it can remember.
learned = {labels.tobytes() for labels in y_train}
is_known = np.array([labels.tobytes() in learned for labels in y_test])
print("x_train", x_train.shape, "y_train", y_train.shape, "x_test", x_test.shape)

# %% What can be had without reading
# What would one get who does not look at the letters? Below that it has learned
# something.
shares = np.bincount(y_train[y_train >= 0], minlength=out_size) / np.sum(y_train >= 0)
guessing = -np.sum(shares * np.log(np.maximum(shares, 1e-9)))  # nats, by shares alone
most_frequent = shares.argmax()
blind_error = np.mean(y_test[y_test >= 0] != most_frequent)
print(f"Without reading, always {names[most_frequent]}: error {blind_error:.1%}")
print(f"Guessing costs {guessing:.4f} nats")

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


# %% Watching it learn
picture = LivePicture("seq_label", plot_file, (12, 6.3))
figure = picture.figure
headline = figure.suptitle("", x=0.05, ha="left", size=14)
grid = figure.add_gridspec(3, 2, left=0.05, right=0.98, top=0.86, bottom=0.09,
                           wspace=0.1, hspace=0.75, width_ratios=[1, 3])

loss_axes = figure.add_subplot(grid[0, 0], title="Loss, nats", xlabel="update")
num_updates = num_epochs * num_batches * -(-steps // backprop_steps)  # or fewer
loss_axes.set(xlim=(0, num_updates), yscale="log", ylim=(1e-3, 10))
loss_axes.axhline(guessing, color="gray", ls="--", lw=1, label="guessing")
(loss_line,) = loss_axes.plot([], [], lw=0.8, alpha=0.6)
(mean_line,) = loss_axes.plot([], [], "b", lw=1.5, label="mean of 50")
loss_axes.legend(loc="lower left", fontsize=8, frameon=False)

error_axes = figure.add_subplot(grid[1, 0], title="Letters wrong, %", xlabel="epoch")
error_axes.set(xlim=(0, num_epochs), ylim=(0, 100))
error_axes.axhline(100 * blind_error, color="gray", ls="--", lw=1)
blind_text = error_axes.text(0, 100 * blind_error, f" always {names[most_frequent]}",
                             size=8, color="gray",
                             va="top" if blind_error > 0.5 else "bottom")
(new_line,) = error_axes.plot([], [], "rs-", ms=4, label="test, new words")
(known_line,) = error_axes.plot([], [], "mo-", ms=4, label="test, known words")
(train_line,) = error_axes.plot([], [], "b.:", label="training words")
error_axes.legend(fontsize=8, frameon=False)

offsets = np.arange(-3, 4)
lens_axes = figure.add_subplot(grid[2, 0], title="What an answer hangs on")
lens_axes.set(xlabel="letters away; below 0: read before", xticks=offsets)
bars = lens_axes.bar(offsets, np.zeros(7), color="C1")

axes = figure.add_subplot(grid[:, 1])
axes.set_title("Test words: above each letter what the network reads, pale where it\n"
               "doubts, red where it is wrong, over what is right", size=10)
# Five lines of so many letters are shown, fewer where names are longer than a letter.
line_length = max(6, 72 // (1 + max(map(len, names))))
axes.set(xlim=(0, line_length), ylim=(5, 0.05))
axes.axis("off")
order = np.arange(len(x_test))
if data_name == "ocr":
    np.random.shuffle(order)  # there, a word's copies follow each other
shown, over, under = [], [], []  # the examples, and a list of texts for each
left, line = 0, 0
for example in order:
    end = min(length_test[example], line_length)
    if left + end > line_length:
        left, line = 0, line + 1
    if line == 5:
        break
    if own_data:
        strip = x_test[example, :end].T
    else:  # images, side by side
        strip = np.hstack(x_test[example, :end].reshape(-1, height, width))
    axes.imshow(strip, cmap="gray_r", aspect="auto", vmin=x_test.min(),
                vmax=x_test.max(), extent=(left, left + end, line + 0.75, line + 0.25))
    middles = left + 0.5 + np.arange(end)
    shown.append(example)
    over.append([axes.text(middle, line + 0.24, "", ha="center", va="bottom",
                           size=11) for middle in middles])
    under.append([axes.text(middle, line + 0.76, "", ha="center", va="top",
                            size=11, color="red") for middle in middles])
    left += end + 1


def plot(epoch_idx, batch_idx, probabilities, by_offset):
    told = f"Epoch {epoch_idx + 1}, batch {batch_idx + 1}: loss {losses[-1]:.2f}."
    if errors:
        told += f" It reads {errors[-1]:.1%} of the test letters wrong."
    headline.set_text(told)

    loss_line.set_data(range(len(losses)), losses[:])
    if len(losses) >= 50:
        means = np.convolve(losses, np.full(50, 1 / 50), "valid")
        mean_line.set_data(range(49, len(losses)), means)
    epochs = range(1, len(errors) + 1)
    train_line.set_data(epochs, np.multiply(train_errors, 100))
    known_line.set_data(epochs, np.multiply(known_errors, 100))
    new_line.set_data(epochs, np.multiply(new_errors, 100))
    for bar, height in zip(bars, by_offset):
        bar.set_height(height)
    lens_axes.set_ylim(0, 1.1 * max(by_offset) or 1)

    for i, example in enumerate(shown):
        for t in np.flatnonzero(y_test[example, :line_length] >= 0):  # has a label
            answer, right = probabilities[i, t].argmax(), y_test[example, t]
            certainty = np.nan_to_num(probabilities[i, t].max())  # NaN ends it soon
            over[i][t].set(text=names[answer], alpha=certainty,
                           color="black" if answer == right else "red")
            under[i][t].set_text("" if answer == right else names[right])
    picture.draw()


# %% Training
# An epoch is num_batches random batches, and then a test. Look at new words beside
# known ones: those it cannot remember.

# Layers overlap in two threads; to split a product this small costs more than it gains.
config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=2)
sess = tf.Session(config=config)  # stays open: play on with it
sess.run(tf.global_variables_initializer())


def predict(x, lengths):
    """Return what prediction is of many sequences: their classes' probabilities.

    x and lengths: as data and length.
    """
    parts, size = [], 3 * batch_size  # a run takes no longer than a training step does
    for start_idx in range(0, len(x), size):
        part = slice(start_idx, start_idx + size)
        parts.append(sess.run(prediction, {data: x[part], length: lengths[part]}))
        picture.flush_events()
    return np.concatenate(parts)


def error_of(answers, y):
    """Return the share of the labels that are not what is answered; NaN of none."""
    return np.mean((answers != y)[y >= 0]) if (y >= 0).any() else np.nan


def look_at_words():
    """Return predictions of the shown sequences, and by offset what answers hang on.

    The latter: of the letter in the middle of each, the mean length of d lead / d x of
    the letters around it.
    """
    picture.flush_events()
    start = time.perf_counter()
    lengths = length_test[shown]
    _asked = (lengths - 1) // 2
    _prediction, _pull = sess.run([prediction, pull], {
        data: x_test[shown], length: lengths, asked: _asked})
    # This is of the fifth of the time that the picture may take.
    picture.next_time += 5 * (time.perf_counter() - start)
    places = _asked[:, np.newaxis] + offsets  # [many, 7]
    is_there = (0 <= places) & (places < lengths[:, np.newaxis])
    strength = np.linalg.norm(_pull, axis=2)  # [many, steps]
    strength = np.take_along_axis(strength, places.clip(0, steps - 1), axis=1)
    many = np.maximum(is_there.sum(axis=0), 1)
    return _prediction, np.sum(strength * is_there, axis=0) / many


log = EventLog(new_folder(os.path.join(logdir, "seq_label")) if logdir else "")
with picture:
    losses, train_errors, errors, word_errors = [], [], [], []
    known_errors, new_errors = [], []
    sample = np.random.permutation(len(x_train))[:500]  # to test what is known
    for epoch_idx in tqdm(range(num_epochs), unit="epoch", disable=None):
        losses_before, seconds = len(losses), 0
        for batch_idx in range(num_batches):
            chosen = np.random.randint(len(x_train), size=batch_size)
            words, lengths = x_train[chosen], length_train[chosen]
            if shift:
                images = shift_images(words.reshape(-1, height, width), shift)
                words = images.reshape(batch_size, steps, features)

            start = time.perf_counter()
            _state = sess.run(init_state, {data: words})  # zeros
            for start_idx in range(0, max(lengths), backprop_steps):
                end_idx = start_idx + backprop_steps
                # The state comes from the letters before; no gradient goes back there.
                _loss, _, _state = sess.run([loss, train_step, state], feed_dict={
                    data: words[:, start_idx:end_idx],
                    length: np.clip(lengths - start_idx, 0, backprop_steps),
                    target: y_train[chosen, start_idx:end_idx],
                    init_state: _state,
                    dropout: train_dropout,
                    decayed_rate: learning_rate * decay**epoch_idx,
                })
                if not np.isfinite(_loss):
                    sys.exit(f"Loss {_loss}: try a smaller --learning_rate")

                losses.append(_loss)
                if len(losses) == 1:
                    tqdm.write(f"First batch: loss {_loss:.4f}")
                log.add_point("loss", _loss, len(losses) - 1)
            seconds += time.perf_counter() - start
            # Each run draws numbers for dropout: when it comes must not be up to the
            # clock, or no run could be repeated.
            is_tenth = batch_idx % 10 == 0
            if is_tenth:
                looks = look_at_words()
            # Slow motion: the loss falls fastest in the first epoch.
            if picture.is_due(slow_motion=is_tenth and epoch_idx == 0):
                plot(epoch_idx, batch_idx, *looks)

        known = predict(x_train[sample], length_train[sample]).argmax(axis=2)
        train_errors.append(error_of(known, y_train[sample]))
        probabilities = predict(x_test, length_test)  # [len(x_test), steps, out_size]
        answers = probabilities.argmax(axis=2)  # [len(x_test), steps]
        errors.append(error_of(answers, y_test))
        known_errors.append(error_of(answers[is_known], y_test[is_known]))
        new_errors.append(error_of(answers[~is_known], y_test[~is_known]))
        is_wrong = (answers != y_test) & (y_test >= 0)
        word_errors.append(is_wrong.any(axis=1).mean())

        if predictions_file:
            padding = np.arange(steps) >= length_test[:, np.newaxis]
            write_file(predictions_file, np.savez, probabilities=probabilities,
                       answers=np.where(padding, -1, answers), length=length_test,
                       names=names)
        log.add_point("error", errors[-1], len(losses))
        looks = look_at_words()
        if picture.is_due() or epoch_idx == num_epochs - 1:
            plot(epoch_idx, batch_idx, *looks)
        of_both = ("" if own_data or is_known.all() or not is_known.any() else
                   f" (known words {known_errors[-1]:.1%}, new {new_errors[-1]:.1%})")
        tqdm.write(f"Epoch {epoch_idx + 1:2} error {errors[-1]:.1%}{of_both},"
                   f" of words {word_errors[-1]:.1%},"
                   f" loss {np.mean(losses[losses_before:]):.4f},"
                   f" {num_batches * batch_size / seconds:.0f} examples/s")
    of_all_steps = errors[-1] * np.mean(y_test >= 0)
    print(f"{of_all_steps:.1%} if padding were a letter that is always read right")

# %% And today
# Tesseract, a free program for OCR, has read lines of text with LSTMs since its version
# 4 [1]. There letters are not cut out as here: the network answers at each thin strip
# of a line, and is trained with CTC [2]. For tags of words, this network in both
# directions became BiLSTM-CRF, whose last layer judges a sentence's tags together [3];
# then came BERT, a Transformer that sees both sides in each of its layers [4]. Both
# directions are back with linear recurrences: Vim reads pictures by Mamba both ways
# [5]. And known words flatter elsewhere, too: in the usual English test for names, so
# many of them stand in the training data that it makes knowing them by heart look
# better than it is [6].
#
# [1]: https://tesseract-ocr.github.io/tessdoc/
# [2]: https://github.com/tesseract-ocr/tessdoc
# [3]: https://arxiv.org/abs/1508.01991
# [4]: https://arxiv.org/abs/1810.04805
# [5]: https://github.com/hustvl/Vim
# [6]: https://arxiv.org/abs/2001.08053
