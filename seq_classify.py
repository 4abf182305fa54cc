"""Sequence classification: a recurrent network reads images of digits row by row.

The first half of "Introduction to Recurrent Networks in TensorFlow" by Danijar Hafner,
https://danijar.com/introduction-to-recurrent-networks-in-tensorflow/; the second is in
seq_label.py. The article's own lines begin with Defining the Network.

    python seq_classify.py                                # drawn digits, in a window
    python seq_classify.py --data mnist --plot mnist.png  # no window, but a file

Expect 4 to 7 % of the drawn digits read wrong after a minute on 2 CPU cores (5 seeds,
benchmarks/seeds.py), in fonts that it has not learned from.
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
num_layers = flag("num_layers", 3, "layers of cells, one on top of another")
train_dropout = flag("dropout", 0.5, "share of a layer's outputs to drop", 0, 1)
cell_type = flag("cell", "gru", "what the layers are made of", choices=["gru", "lstm"])
num_epochs = flag("num_epochs", 10, "epochs: num_batches batches, then a test")
num_batches = flag("num_batches", 100, "batches of an epoch")
batch_size = flag("batch_size", 20, "random examples in a batch; in the article 10")
learning_rate = flag("learning_rate", 0.003, "of RMSProp, in the first epoch", low=1e-9)
# Not the article's:
decay = flag("decay", 0.7, "factor on the learning rate after each epoch; the article "
             "has none: 1", low=1e-9)
data_name = flag("data", "drawn", "drawn digits, mnist, or a FILE.npz with x_train, "
                 "x_test [many, steps, features], best about -1 to 1; y_train, y_test "
                 "[many], classes 0, 1, 2, …; where steps differ, length_train, "
                 "length_test [many]; names of the classes, if you like")
truncated_backprop_length = flag("truncated_backprop_length", 0,
                                 "rows that a gradient reaches back; 0: all", low=0)
shift = flag("shift", 0, "shift images to learn by up to so many pixels; what "
             "leaves comes in opposite", low=0)
seed = flag("seed", 1, "the same seed gives the same numbers", low=0, high=2**32)
plot_file = flag("plot", "", "save the picture here and open no window")
logdir = flag("logdir", "", "write graph and losses here, for TensorBoard")
parser.add_argument("-h", "--help", action="help")
parser.parse_args(argv)  # refuses all others
os.makedirs(os.path.dirname(plot_file) or ".", exist_ok=True)

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
# An image is read as a sequence: each of its 28 rows is a time step with 28 features.
steps, features, names = 28, 28, list("0123456789")  # rows, pixels of a row, digits
if data_name not in ["drawn", "mnist"]:
    (x_train, y_train, length_train, x_test, y_test, length_test,
     names) = read_arrays(label_axes=1)
    _, steps, features = x_train.shape
    demand(not truncated_backprop_length or min(*length_train, *length_test) == steps,
           "--truncated_backprop_length needs sequences of one length")
out_size = len(names)

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
with tf.name_scope("Defining_the_Network"):
    make_cell = {"gru": tf.nn.rnn_cell.GRUCell, "lstm": tf.nn.rnn_cell.LSTMCell}
    dropout = tf.placeholder_with_default(0.0, [])  # in testing nothing is dropped
    cells = []
    for _ in range(num_layers):
        cell = make_cell[cell_type](num_units)  # was in tf.contrib
        cell = OrderedDropout(cell, output_keep_prob=1.0 - dropout)
        cells.append(cell)  # the article's text lost this line
    network = tf.nn.rnn_cell.MultiRNNCell(cells)  # the article calls it cell, too

# %% Simulating Time Steps
# dynamic_rnn takes the network from step to step. It returns the outputs of all steps,
# [batch_size, steps, num_units], and the state after the last one.
with tf.name_scope("Simulating_Time_Steps"):
    # Batch size x time steps x features.
    data = tf.placeholder(tf.float32, [None, None, features])
    # How many of the steps are real. Beyond them outputs are 0, and states stay.
    all_steps = tf.fill(tf.shape(data)[:1], tf.shape(data)[1])
    length = tf.placeholder_with_default(all_steps, [None])
    init_state = network.zero_state(tf.shape(data)[0], tf.float32)  # or what is fed
    output, state = tf.nn.dynamic_rnn(network, data, length, init_state)

# %% Sequence Classification
# Only the last output is classified; the gradient goes back through all rows.
with tf.name_scope("Sequence_Classification"):
    target = tf.placeholder(tf.int32, [None])  # numbers, so sparse_; not one-hot rows
    # The article transposes and gathers one step for all, as output[:, -1] failed then.
    # Here each has its own last real step, as in the author's "other post".
    last_steps = tf.stack([tf.range(tf.shape(length)[0]), length - 1], axis=1)
    last = tf.gather_nd(output, last_steps)  # [batch_size, num_units]
    softmax_layer = tf.layers.Dense(out_size)
    logit = softmax_layer(last)  # [batch_size, out_size]
    prediction = tf.nn.softmax(logit)  # [batch_size, out_size]
    loss = tf.losses.sparse_softmax_cross_entropy(target, logit)
    decayed_rate = tf.placeholder(tf.float32, [])
    train_step = tf.train.RMSPropOptimizer(decayed_rate).minimize(loss)

print(sum(w.shape.num_elements() for w in tf.trainable_variables()), "weights to learn")

# %% Not the article's: what its answer hangs on
# The answer after each row, were the image to end there. And the lens: the gradient by
# the image of how far the last answer leads over the second best.
reading = tf.nn.softmax(softmax_layer(output))  # [batch_size, steps, out_size]
best_two = tf.nn.top_k(logit, 2).values  # [batch_size, 2]
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


# %% Data: drawn digits, or MNIST
# Digits are drawn in some fonts to learn from, and in others to test. MNIST, the
# article's, is downloaded once.
import gzip

MNIST_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"


def read_mnist(name, sha256, start):
    """Return a file's bytes from start on, where its pixels or labels begin."""
    with gzip.open(download(name, MNIST_URL, sha256)) as file:
        return np.frombuffer(file.read(), np.uint8, offset=start)


if data_name == "drawn":
    y_train = np.random.randint(10, size=10000)
    y_test = np.random.randint(10, size=2000)
    train_fonts = np.random.choice(TRAIN_FONTS, 10000)
    test_fonts = np.random.choice(TEST_FONTS, 2000)
    x_train = draw(y_train.astype(str), train_fonts, 28, 28, distortion=0.33, noise=0.1)
    x_test = draw(y_test.astype(str), test_fonts, 28, 28, distortion=0.33, noise=0.1)
elif data_name == "mnist":
    x_train = read_mnist("train-images-idx3-ubyte.gz",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 16)
    y_train = read_mnist("train-labels-idx1-ubyte.gz",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 8)
    x_test = read_mnist("t10k-images-idx3-ubyte.gz",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 16)
    y_test = read_mnist("t10k-labels-idx1-ubyte.gz",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 8)
    x_train = x_train.reshape(-1, 28, 28) / np.float32(255)
    x_test = x_test.reshape(-1, 28, 28) / np.float32(255)
if data_name in ["drawn", "mnist"]:
    length_train = np.full(len(x_train), steps)
    length_test = np.full(len(x_test), steps)
print("x_train", x_train.shape, "y_train", y_train.shape, "x_test", x_test.shape)

# %% Baselines
# The loss of guessing by frequency, and the error of always answering the most frequent
# class: below them it has learned something.
shares = np.bincount(y_train, minlength=out_size) / len(y_train)  # of the classes
guessing = -np.sum(shares * np.log(np.maximum(shares, 1e-9)))  # nats, by shares alone
most_frequent = shares.argmax()
blind_error = np.mean(y_test != most_frequent)
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
# Two of the test set, one read right and one wrong. Time runs down: each row of a panel
# is a row of the image.
short = [name[:8].replace("$", r"\$") for name in names]  # to be drawn; no markup
picture = LivePicture("seq_classify", (12, 6.3))
axes = picture.figure.subplot_mosaic(
    [["loss", ".", "image 0", "thought 0", ".", "image 1", "thought 1"],
     ["error", ".", "lens 0", "rows 0", ".", "lens 1", "rows 1"]],
    gridspec_kw={"left": 0.045, "right": 0.99, "top": 0.85, "bottom": 0.13,
                 "wspace": 0.08, "hspace": 0.45,
                 "width_ratios": [16, 2, 13, 7, 2, 13, 7]})
axes["loss"].set(title="Loss, nats", xlabel="batch", yscale="log", ylim=(1e-3, 10),
                 xlim=(0, num_epochs * num_batches))
axes["loss"].axhline(guessing, color="gray", ls="--", lw=1, label="guessing")
(loss_line,) = axes["loss"].plot([], [], lw=0.8, label="loss of a batch")
axes["error"].set(title="Error, %", xlabel="epoch", xlim=(0, num_epochs), ylim=(0, 100))
axes["error"].axhline(100 * blind_error, color="gray", ls="--", lw=1,
                      label=f"always {short[most_frequent]}")
(train_line,) = axes["error"].plot([], [], "b.:", clip_on=False, label="training set")
(test_line,) = axes["error"].plot([], [], "ro-", clip_on=False, label="test set")
axes["loss"].legend(loc="lower left", fontsize=8, frameon=False)
axes["error"].legend(fontsize=8, frameon=False)

named = range(out_size) if out_size <= 12 else []  # more names would not fit
tick_labels = [short[i] for i in named]
upright = 90 if max(map(len, short)) > 2 else 0
images, thoughts, lenses, row_lines = [], [], [], []
for i in range(2):
    image, thought, lens, rows = (
        axes[f"{panel} {i}"] for panel in ("image", "thought", "lens", "rows"))
    images.append(image.imshow(x_test[0], cmap="gray_r", aspect="auto",
                               vmin=x_test.min(), vmax=x_test.max()))
    image.set(facecolor="lightgray", xticks=[])
    thoughts.append(thought.imshow(np.zeros((steps, out_size)), aspect="auto", vmax=1))
    thought.set(facecolor="lightgray", yticks=[])
    thought.set_title("it thinks", size=9)
    thought.set_xticks(named, tick_labels, size=6, rotation=upright)
    lenses.append(lens.imshow(np.zeros((steps, features)), cmap="RdBu", aspect="auto",
                              vmin=-1, vmax=1))
    lens.set_title("What the answer hangs on", loc="left", size=10)
    lens.set_xlabel("more ink here: blue surer,\nred less sure", size=8)
    row_lines += rows.plot([], [], "k")
    rows.set(xlim=(0, 1), ylim=lens.get_ylim(), yticks=[])
    rows.locator_params(axis="x", nbins=2, prune="lower")
    rows.set_xlabel("by row", size=8)


def plot():
    readings, pulls = sess.run([reading, pull], {
        data: x_test[shown], length: length_test[shown]})

    told = f"Epoch {epoch_idx + 1}, batch {batch_idx + 1}: loss {losses[-1]:.2f}."
    if errors:
        told += f" It reads {errors[-1]:.1%} of the test set wrong."
    picture.figure.suptitle(told, x=0.045, ha="left", size=14)
    loss_line.set_data(range(len(losses)), losses)
    train_line.set_data(range(1, len(errors) + 1), np.multiply(train_errors, 100))
    test_line.set_data(range(1, len(errors) + 1), np.multiply(errors, 100))

    for i, example in enumerate(shown):
        end = length_test[example]
        right, answer = y_test[example], np.argmax(readings[i, end - 1])
        images[i].axes.set_title(f"{short[right]}, read as {short[answer]}", size=10,
                                 color="green" if answer == right else "red")
        is_read = np.arange(steps)[:, np.newaxis] < end  # what is not is gray
        images[i].set_data(np.where(is_read, x_test[example], np.nan))
        thoughts[i].set_data(np.where(is_read, readings[i], np.nan))
        lenses[i].set_data(pulls[i])
        lenses[i].set_clim(-abs(pulls[i]).max(), abs(pulls[i]).max())
        by_row = np.linalg.norm(pulls[i], axis=1)  # the length of each row's gradient
        row_lines[i].set_data(by_row, range(steps))
        row_lines[i].axes.set_xlim(0, 1.1 * by_row.max())
    picture.draw()


# %% Training
# An epoch is num_batches random batches, and then a test. Look at the first loss beside
# guessing, and at when the error starts to fall.

# To split a product this small among threads costs more than it gains.
config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=2)
sess = tf.Session(config=config)  # stays open: play on with it
sess.run(tf.global_variables_initializer())
run_dir = os.path.join(logdir, f"seq_classify_{time.time():.0f}")
writer = tf.summary.FileWriter(run_dir, sess.graph) if logdir else None


def predict(x, lengths):
    """Return the probabilities of classes; x and lengths: as data and length."""
    parts = []
    for start_idx in range(0, len(x), 100):  # in parts: between them the window answers
        part = slice(start_idx, start_idx + 100)
        parts.append(sess.run(prediction, {data: x[part], length: lengths[part]}))
        picture.is_due()
    return np.concatenate(parts)


losses, train_errors, errors = [], [], []
shown = [0, -1]  # two of the test set
sample = np.random.permutation(len(x_train))[:500]  # to test on what it learns from
with picture:
    for epoch_idx in tqdm(range(num_epochs), unit="epoch", disable=None):
        for batch_idx in range(num_batches):
            chosen = np.random.randint(len(x_train), size=batch_size)
            move = np.random.randint(-shift, shift + 1, size=2)  # down, right
            batch = np.roll(x_train[chosen], move, axis=(1, 2))
            feed_dict = {
                data: batch,
                length: length_train[chosen],
                target: y_train[chosen],
                dropout: train_dropout,
                decayed_rate: learning_rate * decay**epoch_idx,
            }
            if truncated_backprop_length:
                # The state after the rows before is fed as numbers: no gradient there.
                before, window = np.split(batch, [-truncated_backprop_length], axis=1)
                _state = sess.run(state, {data: before, dropout: train_dropout})
                feed_dict.update({data: window, init_state: _state,
                                  length: np.full(batch_size, window.shape[1])})
            _loss, _ = sess.run([loss, train_step], feed_dict)
            if not np.isfinite(_loss):
                sys.exit(f"Loss {_loss}: try a smaller --learning_rate")
            losses.append(_loss)
            if writer:
                point = tf.Summary.Value(tag="loss", simple_value=_loss)
                writer.add_summary(tf.Summary(value=[point]), len(losses))
            # In slow motion at first, when the loss falls fastest.
            if picture.is_due(slow_motion=epoch_idx == 0 and batch_idx % 10 == 0):
                plot()

        of_sample = predict(x_train[sample], length_train[sample]).argmax(axis=1)
        train_errors.append(np.mean(of_sample != y_train[sample]))
        probabilities = predict(x_test, length_test)  # [len(x_test), out_size]
        answers = probabilities.argmax(axis=1)
        errors.append(np.mean(answers != y_test))
        # One that is read right, and one that is read wrong, if there are such.
        shown = [np.argmax(answers == y_test), np.argmax(answers != y_test)]
        tqdm.write(f"Epoch {epoch_idx + 1:2} error {errors[-1]:.1%}"
                   f" loss {np.mean(losses[-num_batches:]):.4f}")
    plot()
