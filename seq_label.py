"""Sequence labelling: a recurrent network reads words letter by letter.

The second half of "Introduction to Recurrent Networks in TensorFlow" by Danijar Hafner,
https://danijar.com/introduction-to-recurrent-networks-in-tensorflow/; the first is in
seq_classify.py. The article's own lines begin with Defining the Network.

    python seq_label.py                            # drawn words, in a window
    python seq_label.py --data ocr --plot ocr.png  # no window, but a file

Expect 9 % of the drawn letters read wrong after half a minute on 2 CPU cores: 8 % in
words that it has learned from, 11 to 13 % in new ones (some 30 % of the test words).
With --cell none, which forgets what came before, 12 to 14 %; with --bidirectional 1,
which knows what comes behind, 6 to 7 % (4 or 5 seeds, benchmarks/seeds.py --drawn).
"""
# /// script
# requires-python = ">=3.9,<3.14"
# dependencies = ["tensorflow>=2.16,<3", "tf_keras>=2.16,<3", "matplotlib>=3.5", "tqdm"]
# ///
# %% Imports
import argparse
import logging
import os
import signal
import sys
import time
import warnings

if "module:" in os.environ.get("MPLBACKEND", "") and "ipykernel" not in sys.modules:
    del os.environ["MPLBACKEND"]  # it came from a notebook, by `!python`
import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # from 2.16 on the RNN cells are in tf_keras
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # 0 shows what the C++ core says
warnings.filterwarnings("ignore", "`tf.")  # version 1 is meant: no advice against it
logging.getLogger("tensorflow").addFilter(lambda said: said.levelno >= logging.ERROR)
import tensorflow.compat.v1 as tf

plt.rcdefaults()  # the same picture everywhere
if hasattr(sys.stdout, "reconfigure"):  # a notebook's needs none of this
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
tf.disable_v2_behavior()
tf.enable_resource_variables()  # no update overtakes a read: the same numbers every run

# %% Flags: a constant's name, and what it is by default
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
    if type(value) is str:
        return os.path.expanduser(value)  # --plot=~/echo.png
    if not low <= value < high:
        parser.error(f"--{name} {value} is not in [{low}, {high})")
    return value


# %% Setup
# The constants of the article and of its "complete gist". Each is a flag, too:
# --num_layers 2.
num_units = flag("num_units", 200, "units of a layer")
num_layers = flag("num_layers", 1, "layers of cells, one on top of another; in the "
                  "article 3")
train_dropout = flag("dropout", 0.2, "share of a layer's outputs to drop; in the "
                     "article 0.5", 0, 1)
cell_type = flag("cell", "gru", "what the layers are made of; none: a gru that forgets",
                 choices=["gru", "lstm", "none"])
num_epochs = flag("num_epochs", 10, "epochs: num_batches batches, then a test")
num_batches = flag("num_batches", 100, "batches of an epoch")
batch_size = flag("batch_size", 50, "random words in a batch; in the article 10")
learning_rate = flag("learning_rate", 0.003, "of RMSProp, in the first epoch", low=1e-9)
# Not the article's:
decay = flag("decay", 0.75, "factor on the learning rate after each epoch; the article "
             "has none: 1", low=1e-9)
data_name = flag("data", "drawn", "drawn words, ocr: the article's handwriting, or a "
                 "FILE.npz with x_train, x_test [many, steps, features], best about -1 "
                 "to 1; y_train, y_test [many, steps], classes 0, 1, 2, … or -1: none; "
                 "where steps differ, length_train, length_test [many]; names of the "
                 "classes, if you like")
split = flag("split", "words", "test ocr on the last third: words never seen; folds: "
             "on one in ten, of words seen in the others", choices=["words", "folds"])
bidirectional = flag("bidirectional", 0, "1: as many layers again read from the end",
                     low=0, choices=[0, 1])
truncated_backprop_length = flag("truncated_backprop_length", 0,
                                 "letters that a gradient reaches back; 0: all", low=0)
seed = flag("seed", 1, "the same seed gives the same numbers", low=0, high=2**32)
plot_file = flag("plot", "", "save the picture here and open no window")
logdir = flag("logdir", "", "write graph and losses here, for TensorBoard")
parser.add_argument("-h", "--help", action="help")
parser.parse_args(argv)  # refuses all others
os.makedirs(os.path.dirname(plot_file) or ".", exist_ok=True)
if bidirectional and truncated_backprop_length:
    parser.error("--truncated_backprop_length needs a network that reads one way")

# %% Your own data, the same in both seq scripts. Skip it at first.
def demand(is_so, fault):
    """End the run with one line on the fault unless it is so."""
    if not is_so:
        parser.error(f"--data {data_name}: {fault}")


def read_arrays(label_axes):
    """Return x, y, length to learn from, the same three to test, the classes' names.

    y is of x's first label_axes axes, and -1 where there is no label.
    """
    try:
        arrays = dict(np.load(data_name))
    except Exception as error:  # numpy raises many kinds
        demand(False, f"{error} (see --help; lists must be padded to one length)")
    needed = {"x_train", "y_train", "x_test", "y_test"}
    demand(needed <= set(arrays) <= needed | {"length_train", "length_test", "names"},
           f"its arrays {', '.join(sorted(arrays))} are not those of --help")
    both = []
    for part in "train", "test":
        x, y = arrays["x_" + part], arrays["y_" + part]
        demand(x.ndim == 3 and x.size > 0 and x.shape[1:] == arrays["x_train"].shape[1:]
               and y.shape == x.shape[:label_axes],
               f"x_{part} {x.shape} and y_{part} {y.shape} do not fit, see --help")
        _, most, _ = x.shape
        length = arrays.get("length_" + part, np.full(len(x), most))
        is_real = np.arange(most) < length[:, np.newaxis]  # beyond, anything may stand
        x = np.where(is_real[:, :, np.newaxis], x, 0).astype(np.float32)
        demand(np.isfinite(x).all() and np.isin(length, range(1, most + 1)).all(),
               f"x_{part} is not finite, or length_{part} is not from 1 to {most}")
        if label_axes == 2:
            y = np.where(is_real, y, -1)
        demand(np.isin(y, range(1 - label_axes, 1000)).all(),
               f"y_{part} has other labels than 0, 1, 2, …")
        both += [x, y.astype(int), length.astype(int)]

    highest = max(both[1].max(), both[4].max())
    names = arrays.get("names", np.arange(highest + 1)).astype(str)
    demand(1 < len(names) > highest,
           f"{len(names)} classes or names, for labels up to {highest}")
    never = sorted(set(both[4].flat) - set(both[1].flat) - {-1})
    if never:
        print("In y_test only, so never learned:", ", ".join(names[never]))
    return (*both, names)


# %% Sizes of the data
# A word is read as a sequence: each of its letters is a time step, an image of 16 x 8
# pixels.
steps, height, width = 14, 16, 8  # no word has more than 14 letters
names = list("abcdefghijklmnopqrstuvwxyz")
if data_name not in ["drawn", "ocr"]:
    (x_train, y_train, length_train, x_test, y_test, length_test,
     names) = read_arrays(label_axes=2)
    _, steps, height = x_train.shape
    width = 1  # a time step is shown as a column
features, out_size = height * width, len(names)
backprop_steps = truncated_backprop_length or steps

# %% A cell that forgets, for --cell none
# To know what memory is worth, compare with a network that has none: the same one, but
# each letter is its first.
class ForgetfulCell(tf.nn.rnn_cell.GRUCell):
    """A GRU whose state stays zeros, as it was at first: each step is the first."""

    def __call__(self, inputs, state, scope=None):
        of_this_step, _ = super().__call__(inputs, state, scope)
        return of_this_step, state


# %% Dropout, the same in both seq scripts
# Two runs of one seed must drop the same outputs. But a step does not wait for what the
# one before drops: their random numbers could change places. And the picture, made when
# there is time, must not use any up: so none are drawn where nothing is dropped.
class OrderedDropout(tf.nn.rnn_cell.DropoutWrapper):
    """Drop a part of the outputs, in the order of the time steps."""

    def __init__(self, cell, output_keep_prob):
        super().__init__(cell)
        self.rate = 1.0 - output_keep_prob

    def __call__(self, inputs, state, scope=None):
        output, state = self.cell(inputs, state, scope)
        dropped = tf.cond(self.rate > 0, lambda: tf.nn.dropout(output, rate=self.rate),
                          lambda: output)
        with tf.control_dependencies([dropped]):
            return dropped, tf.nest.map_structure(tf.identity, state)


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
    init_state = network.zero_state(tf.shape(data)[0], tf.float32)  # or what is fed
    if bidirectional:  # not the article's: as many cells again, from the end
        outputs, (state, _) = tf.nn.bidirectional_dynamic_rnn(
            network, make_network(), data, length, init_state, dtype=tf.float32)
        output = tf.concat(outputs, axis=2)  # read up to a letter, and back to it
    else:
        output, state = tf.nn.dynamic_rnn(network, data, length, init_state)

# %% Sequence Labelling
# One softmax layer serves all steps: to it, each step is one more example.
with tf.name_scope("Sequence_Labelling"):
    target = tf.placeholder(tf.int32, [None, None])  # numbers, so sparse_; -1: no label
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
# The lens: the gradient by the images of how far an answer leads over the second best,
# here the answer to one letter of each word.
asked = tf.placeholder(tf.int32, [None])  # the step of each sequence that is asked for
asked_steps = tf.stack([tf.range(tf.size(asked)), asked], axis=1)
best_two = tf.nn.top_k(tf.gather_nd(logit, asked_steps), 2).values  # [batch_size, 2]
lead = best_two[:, 0] - best_two[:, 1]
(pull,) = tf.gradients(lead, data)  # [batch_size, steps, features]

# %% Data: characters as if by hand, the same in both seq scripts. Skip it at first.
import functools

from PIL import Image, ImageDraw, ImageFont  # it comes with matplotlib

TRAIN_FONTS = ["DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif",
               "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSansMono-Bold",
               "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "cmb10"]
TEST_FONTS = ["cmr10", "cmss10", "cmtt10"]  # cmb10 is the bold of the first of them
font_folder = os.path.join(plt.matplotlib.get_data_path(), "fonts", "ttf")
data_folder = os.path.join(  # beside the script, or here
    os.path.dirname(os.path.abspath(globals().get("__file__", "here"))), "data")


@functools.lru_cache(maxsize=None)
def print_character(character, font, bolder):
    """Return an image of 32 x 32 pixels, the character in its middle."""
    font = ImageFont.truetype(os.path.join(font_folder, font + ".ttf"), 32)
    left, top, right, bottom = font.getbbox(character)
    corner = 16 - (left + right) / 2, 16 - (top + bottom) / 2
    image = Image.new("L", (32, 32))
    ImageDraw.Draw(image).text(corner, character, 255, font, stroke_width=bolder)
    return image


def draw(characters, fonts, height, width, distortion, noise):
    """Return images [characters, height, width], black is 1; each has its font.

    distortion: how far each is turned, leaned and stretched. noise: of all pixels.
    """
    images = np.random.normal(0, noise, (len(characters), height, width))
    for image, character, font in zip(images, characters, fonts):
        printed = print_character(character, font, np.random.randint(2))
        # The pixel x, y gets what was at a x + b y + c, d x + e y + f.
        (a, b), (d, e) = np.eye(2) + np.random.uniform(-distortion, distortion, (2, 2))
        c, f = 16 - 16 * np.array([a + b, d + e]) + np.random.uniform(-2, 2, 2)
        moved = printed.transform(
            (32, 32), Image.AFFINE, (a, b, c, d, e, f), Image.BILINEAR)
        image += np.asarray(moved.resize((width, height))) / 255
    return np.clip(images, 0, 1).astype(np.float32)


def download(name, url, sha256=None):
    """Return the path of a file in data/; what is missing or wrong is downloaded."""
    try:
        return tf.keras.utils.get_file(
            name, url + name, file_hash=sha256, cache_subdir=data_folder)
    except Exception as error:  # TensorFlow raises no narrower one
        demand(False, f"{error}. You can put {name} into {data_folder} yourself")


# %% Data: drawn words, or the article's
# Words of Python's manual (each Python has another) are drawn, in some fonts to learn
# from and in others to test. A fifth of all spellings is kept from training.
import gzip
import hashlib
import pydoc_data.topics
import re

OCR_URL = "https://ai.stanford.edu/~btaskar/ocr/"
OCR_SHA256 = "535363d0b7bc34246b1f8731719540f526b6807b12dda5d430d011d160bc7882"


def pad(images, labels, lengths):
    """Return words [many, steps, features], labels [many, steps] and lengths [many]."""
    is_real = np.arange(steps) < lengths[:, np.newaxis]
    x = np.zeros((len(lengths), steps, features), np.float32)
    y = np.full((len(lengths), steps), -1)
    x[is_real], y[is_real] = images, labels
    return x, y, lengths


def draw_words(spellings, fonts, distortion):
    """Return the words' images, labels and lengths; each word is in one random font."""
    letters, lengths = "".join(spellings), np.array([len(word) for word in spellings])
    of_letters = np.repeat(np.random.choice(fonts, len(lengths)), lengths)
    images = draw(letters, of_letters, height, width, distortion, noise=0.07)
    labels = [names.index(letter) for letter in letters]
    return pad(images.reshape(-1, features), labels, lengths)


def read_ocr():
    """Return images, labels and lengths of all words, and the fold of each [many]."""
    with gzip.open(download("letter.data.gz", OCR_URL)) as file:
        content = file.read()
    demand(hashlib.sha256(content).hexdigest() == OCR_SHA256,
           f"letter.data.gz in {data_folder} is not what it should be: delete it")
    images, labels, lengths, folds = [], [], [], []
    for line in content.decode().splitlines():  # of one letter
        _, letter, _, _, position, fold, *pixels = line.split()
        images.append(np.array(pixels, np.float32))
        labels.append(names.index(letter))
        if position == "1":  # a word begins
            lengths.append(0)
            folds.append(int(fold))
        lengths[-1] += 1
    return (*pad(images, labels, np.array(lengths)), np.array(folds))


if data_name == "drawn":
    manual = " ".join(pydoc_data.topics.topics.values())  # Python's
    spellings = re.findall(r"\b[a-z]{7,14}\b", manual)  # short ones tell less
    vocabulary = np.random.permutation(sorted(set(spellings)))
    kept = set(vocabulary[: len(vocabulary) // 5])  # never learned from
    for_training = [word for word in spellings[:-1000] if word not in kept]
    for_training = np.random.choice(for_training, 10000)
    x_train, y_train, length_train = draw_words(for_training, TRAIN_FONTS, 0.15)
    x_test, y_test, length_test = draw_words(spellings[-1000:], TEST_FONTS, 0.1)
elif data_name == "ocr":
    *all_words, folds = read_ocr()
    testing = folds == 0
    if split == "words":  # a word's copies follow each other: those to test are new
        cut = int(0.66 * len(folds))
        while (all_words[1][cut] == all_words[1][cut - 1]).all():
            cut += 1
        testing = np.arange(len(folds)) >= cut
    x_train, y_train, length_train = [array[~testing] for array in all_words]
    x_test, y_test, length_test = [array[testing] for array in all_words]

# A test word is known if its spelling is learned from, too: there it can remember. Own
# data may be no words: a sequence is known if the very same one is learned from.
compared = [y_train, y_test] if data_name in ["drawn", "ocr"] else [x_train, x_test]
learned = {word.tobytes() for word in compared[0]}
is_known = np.array([word.tobytes() in learned for word in compared[1]])
print("x_train", x_train.shape, "y_train", y_train.shape, "x_test", x_test.shape)

# %% Baselines
# The loss of guessing by frequency, and the error of always answering the most frequent
# letter: below them it has learned something.
shares = np.bincount(y_train[y_train >= 0], minlength=out_size) / np.sum(y_train >= 0)
guessing = -np.sum(shares * np.log(np.maximum(shares, 1e-9)))  # nats, by shares alone
most_frequent = shares.argmax()
blind_error = np.mean(y_test[y_test >= 0] != most_frequent)
print(f"Without reading, always {names[most_frequent]}: error {blind_error:.1%}")
print(f"Guessing costs {guessing:.4f} nats")

# %% A live picture, the same in every script: in a window, a notebook, or else a file
class LivePicture:
    """A figure that is drawn again and again, in a fifth of the time at most.

    In its with block Ctrl-C is heard by is_due, which ends the block. (Python's way, to
    raise at once, fails where Tk is calling us: it swallows the exception.)
    """

    def __init__(self, name, size):
        if plot_file:
            plt.switch_backend("agg")
        self.figure = plt.figure(name, size, clear=True)
        self.file = plot_file or f"{name}.png"
        self.is_window = self.figure.canvas.required_interactive_framework
        self.output = None  # its place in a notebook
        self.interrupted = False
        self.asked = self.next_time = self.next_flush = 0  # seconds
        if not self.is_window:
            plt.close(self.figure)  # else a notebook shows it where this cell ends, too

    def is_open(self):
        return self.is_window and plt.fignum_exists(self.figure.number)

    def interrupt(self, *_):
        self.interrupted = True

    def __enter__(self):
        self.old_handler = signal.signal(signal.SIGINT, self.interrupt)
        self.asked = time.perf_counter()
        if self.is_window:
            plt.show(block=False)
        elif "ipykernel" in sys.modules and not plot_file:
            from IPython.display import display
            self.output = display(self.figure, display_id=True)
        self.draw()

    def is_due(self, slow_motion=False):
        """Tell if it is time to draw; let the window do what was asked of it."""
        self.asked = time.perf_counter()
        if self.is_open() and self.asked > self.next_flush:
            self.figure.canvas.flush_events()
            self.next_flush = self.asked + 0.05
        if self.interrupted:
            raise KeyboardInterrupt
        if self.is_window and not self.is_open():
            return False  # closing it has ended the drawing
        if slow_motion and (self.output or self.is_window):
            time.sleep(0.07)
            return True
        return self.asked > self.next_time

    def draw(self):
        if self.output:
            self.output.update(self.figure)
        elif self.is_open():
            self.figure.canvas.draw()
            self.figure.canvas.flush_events()
        elif not self.is_window:
            self.figure.savefig(self.file, dpi=200)
        now = time.perf_counter()
        self.next_time = now + 4 * (now - self.asked)  # since then it was computed, too

    def __exit__(self, error, *_):
        if self.output:  # once more, for consoles that know no updates
            self.output.update({"text/html": ""}, raw=True)
            type(self.output)().display(self.figure)
        if self.output or self.is_window:  # what is drawn was not yet in the file
            self.figure.savefig(self.file, dpi=200)
        print("Picture in", self.file)
        while self.is_open() and not (error or self.interrupted):
            self.figure.canvas.start_event_loop(0.1)  # it stays until it is closed
        signal.signal(signal.SIGINT, self.old_handler)
        self.interrupted = False
        return error is KeyboardInterrupt


# %% Watching it learn
# Beside the curves: words of the test set as the network reads them, and on which
# letters its answers hang.
short = [name[:6].replace("$", r"\$") for name in names]  # to be drawn; no markup
picture = LivePicture("seq_label", (12, 6.3))
axes = picture.figure.subplot_mosaic(
    [["loss", "words"], ["error", "words"], ["lens", "words"]],
    gridspec_kw={"left": 0.05, "right": 0.98, "top": 0.86, "bottom": 0.09,
                 "wspace": 0.1, "hspace": 0.75, "width_ratios": [1, 3]})
axes["loss"].set(title="Loss, nats", xlabel="update", yscale="log", ylim=(1e-3, 10),
                 xlim=(0, num_epochs * num_batches))
axes["loss"].axhline(guessing, color="gray", ls="--", lw=1, label="guessing")
(loss_line,) = axes["loss"].plot([], [], lw=0.8, label="loss of an update")
axes["error"].set(title="Letters wrong, %", xlabel="epoch", ylim=(0, 100),
                  xlim=(0, num_epochs))
axes["error"].axhline(100 * blind_error, color="gray", ls="--", lw=1,
                      label=f"always {short[most_frequent]}")
(new_line,) = axes["error"].plot([], [], "rs-", ms=4, label="test, new words")
(known_line,) = axes["error"].plot([], [], "mo-", ms=4, label="test, known words")
(train_line,) = axes["error"].plot([], [], "b.:", label="training words")
axes["loss"].legend(loc="lower left", fontsize=8, frameon=False)
axes["error"].legend(fontsize=8, frameon=False)

offsets = np.arange(-3, 4)
axes["lens"].set(title="What an answer hangs on", xticks=offsets, ylim=(0, 1),
                 xlabel="letters away; below 0: read before")
bars = axes["lens"].bar(offsets, np.zeros(7), color="C1")

# Five lines of so many letters are shown, fewer where names are longer than a letter.
line_length = 72 // (1 + min(6, max(map(len, names))))
axes["words"].set(xlim=(0, line_length), ylim=(5, 0.05))
axes["words"].axis("off")
axes["words"].set_title(
    "Test words: above each letter what the network reads, pale where it\n"
    "doubts, red where it is wrong, over what is right", size=10)
shown, over, under = [], [], []  # the examples, and a list of texts for each
left, row = 0, 0
for example in np.random.permutation(len(x_test)):
    end = min(length_test[example], line_length)
    if left + end > line_length:
        left, row = 0, row + 1
    if row == 5:
        break
    strip = np.hstack(x_test[example, :end].reshape(-1, height, width))
    axes["words"].imshow(
        strip, cmap="gray_r", aspect="auto", vmin=x_test.min(), vmax=x_test.max(),
        extent=(left, left + end, row + 0.75, row + 0.25))
    centers = left + 0.5 + np.arange(end)
    shown.append(example)
    over.append([axes["words"].text(center, row + 0.24, "", ha="center", va="bottom",
                                    size=11) for center in centers])
    under.append([axes["words"].text(center, row + 0.76, "", ha="center", va="top",
                                     size=11, color="red") for center in centers])
    left += end + 1


def plot():
    lengths = length_test[shown]
    middles = (lengths - 1) // 2  # the letter in the middle of each word
    readings, pulls = sess.run([prediction, pull], {
        data: x_test[shown], length: lengths, asked: middles})

    told = f"Epoch {epoch_idx + 1}, batch {batch_idx + 1}: loss {losses[-1]:.2f}."
    if errors:
        told += f" It reads {errors[-1]:.1%} of the test letters wrong."
    picture.figure.suptitle(told, x=0.05, ha="left", size=14)
    axes["loss"].set_xlim(0, max(num_epochs * num_batches, len(losses)))
    loss_line.set_data(range(len(losses)), losses)
    for line, of_epochs in [(train_line, train_errors), (known_line, known_errors),
                            (new_line, new_errors)]:
        line.set_data(range(1, len(of_epochs) + 1), np.multiply(of_epochs, 100))

    strengths = np.linalg.norm(pulls, axis=2)  # the length of each letter's gradient
    for bar, offset in zip(bars, offsets):
        places = middles + offset
        inside = np.flatnonzero((0 <= places) & (places < lengths))
        bar.set_height(strengths[inside, places[inside]].mean() if len(inside) else 0)
    axes["lens"].set_ylim(0, 1.1 * max(bar.get_height() for bar in bars))

    for i, example in enumerate(shown):
        for t in np.flatnonzero(y_test[example, :line_length] >= 0):  # has a label
            answer, right = readings[i, t].argmax(), y_test[example, t]
            over[i][t].set(text=short[answer], alpha=readings[i, t].max(),
                           color="black" if answer == right else "red")
            under[i][t].set_text("" if answer == right else short[right])
    picture.draw()


# %% Training
# An epoch is num_batches random batches, and then a test. Compare new words with known
# ones: new ones it cannot remember.

# To split a product this small among threads costs more than it gains.
config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=2)
sess = tf.Session(config=config)  # stays open: play on with it
sess.run(tf.global_variables_initializer())
run_dir = os.path.join(logdir, f"seq_label_{time.time():.0f}")
writer = tf.summary.FileWriter(run_dir, sess.graph) if logdir else None


def predict(x, lengths):
    """Return the probabilities of classes; x and lengths: as data and length."""
    parts = []
    for start_idx in range(0, len(x), 100):  # in parts: between them the window answers
        part = slice(start_idx, start_idx + 100)
        parts.append(sess.run(prediction, {data: x[part], length: lengths[part]}))
        picture.is_due()
    return np.concatenate(parts)


def error_of(answers, y):
    """Return the share of the labels that are not what is answered; NaN of none."""
    return np.mean((answers != y)[y >= 0]) if (y >= 0).any() else np.nan


losses, train_errors, errors, known_errors, new_errors = [], [], [], [], []
sample = np.random.permutation(len(x_train))[:500]  # to test on what it learns from
with picture:
    for epoch_idx in tqdm(range(num_epochs), unit="epoch", disable=None):
        losses_before = len(losses)
        for batch_idx in range(num_batches):
            chosen = np.random.randint(len(x_train), size=batch_size)
            words, lengths = x_train[chosen], length_train[chosen]
            _state = sess.run(init_state, {data: words})  # zeros
            for start_idx in range(0, max(lengths), backprop_steps):
                end_idx = start_idx + backprop_steps
                # The state comes from the letters before; no gradient goes back there.
                _loss, _, _state = sess.run([loss, train_step, state], {
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
                if writer:
                    point = tf.Summary.Value(tag="loss", simple_value=_loss)
                    writer.add_summary(tf.Summary(value=[point]), len(losses))
            # In slow motion at first, when the loss falls fastest.
            if picture.is_due(slow_motion=epoch_idx == 0 and batch_idx % 10 == 0):
                plot()

        of_sample = predict(x_train[sample], length_train[sample]).argmax(axis=2)
        train_errors.append(error_of(of_sample, y_train[sample]))
        probabilities = predict(x_test, length_test)  # [len(x_test), steps, out_size]
        answers = probabilities.argmax(axis=2)  # [len(x_test), steps]
        errors.append(error_of(answers, y_test))
        known_errors.append(error_of(answers[is_known], y_test[is_known]))
        new_errors.append(error_of(answers[~is_known], y_test[~is_known]))
        of_both = f" (known words {known_errors[-1]:.1%}, new {new_errors[-1]:.1%})"
        tqdm.write(f"Epoch {epoch_idx + 1:2} error {errors[-1]:.1%}"
                   f"{of_both if data_name == 'drawn' else ''}"
                   f" loss {np.mean(losses[losses_before:]):.4f}")
    plot()
    of_all_steps = errors[-1] * np.mean(y_test >= 0)
    print(f"{of_all_steps:.1%} if padding were a letter that is always read right")
