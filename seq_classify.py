"""Sequence classification: a recurrent network reads images of digits row by row.

The first half of "Introduction to Recurrent Networks in TensorFlow" by Danijar Hafner,
https://danijar.com/introduction-to-recurrent-networks-in-tensorflow/. The article's own
lines are in the cells from Defining the Network to Sequence Classification.

    python seq_classify.py                                # drawn digits, in a window
    python seq_classify.py --data mnist --plot mnist.png  # no window, but a file

Expect a test error of 6 to 9 % on MNIST and 10 to 20 % on the drawn digits, whose fonts
the network has never seen, after 10 short epochs: a minute on 2 CPU cores.
"""
# /// script
# requires-python = ">=3.9,<3.14"
# dependencies = ["tensorflow>=2.16,<3", "tf_keras>=2.16,<3", "matplotlib>=3.5", "tqdm"]
# ///
# %% Imports
import argparse
import contextlib
import functools
import gzip
import hashlib
import os
import signal
import sys
import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D
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


# %% Setup
num_units = flag("num_units", 200, "units of a layer")
num_layers = flag("num_layers", 3, "layers of cells, one on top of another")
train_dropout = flag("dropout", 0.5, "share of a layer's outputs to drop", low=0)
cell_type = flag("cell", "gru", "what the layers are made of", choices=["gru", "lstm"])
num_epochs = flag("num_epochs", 10, "how often to test what was learned")
num_batches = flag("num_batches", 100, "batches of an epoch")
batch_size = flag("batch_size", 10, "random examples in a batch")
learning_rate = flag("learning_rate", 0.003, "of RMSProp", low=1e-9)
data_name = flag("data", "drawn", "drawn digits, mnist, or a FILE.npz with x_train, "
                 "x_test [examples, steps, features], y_train, y_test [examples]")
# Not the article's:
truncated_backprop_length = flag("truncated_backprop_length", 0,
                                 "rows that a gradient reaches back; 0: all", low=0)
decay = flag("decay", 1.0, "factor on the learning rate after each epoch", low=1e-9)
shift = flag("shift", 0, "move images to learn by up to so many pixels", low=0)
seed = flag("seed", 1, "the same seed gives the same numbers", low=0, high=2**32)
plot_file = flag("plot", "", "save the picture here and open no window")
logdir = flag("logdir", "", "write graph and curves here, for TensorBoard")
if train_dropout >= 1:
    parser.error(f"--dropout {train_dropout} leaves no outputs")

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

# %% Data: characters as if written by hand. The same in both seq scripts.
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


def draw(characters, fonts, height, width):
    """Return images [characters, height, width], black is 1; each has its font."""
    paper = RendererAgg(width, height, dpi=72)
    pen = paper.new_gc()
    images = np.random.normal(0, 0.1, (len(characters), height, width))
    for image, character, font in zip(images, characters, fonts):
        turn, lean, wider, taller = np.random.uniform(-0.25, 0.25, 4)
        place = Affine2D().rotate(turn).skew(lean, 0).scale(1 + wider, 1 + taller)
        place.translate(*np.random.uniform(0.45, 0.55, 2)).scale(width, height)
        pen.set_linewidth(np.random.uniform(0, height / 14))
        paper.clear()
        paper.draw_path(pen, outline(character, font), place, rgbFace=(0, 0, 0))
        image += np.asarray(paper.buffer_rgba())[:, :, 3] / 255  # how much ink
    return np.clip(images, 0, 1).astype(np.float32)


def shift_images(images, pixels):
    """Return images [many, height, width], each moved by up to so many pixels."""
    many, height, width = images.shape
    images = np.pad(images, [(0, 0), (pixels, pixels), (pixels, pixels)], "constant")
    down, right = np.random.randint(2 * pixels + 1, size=(2, many))
    return np.array([image[y : y + height, x : x + width]
                     for image, y, x in zip(images, down, right)])


# %% Data: drawn digits, MNIST or a file
MNIST_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"


def read_mnist(name, sha256):
    """Return a file's images [many, 28, 28] or labels [many]; download it only once."""
    path = tf.keras.utils.get_file(name, MNIST_URL + name, file_hash=sha256,
                                   cache_dir=folder, cache_subdir="data")
    packed = np.fromfile(path, np.uint8).tobytes()
    if hashlib.sha256(packed).hexdigest() != sha256:  # TensorFlow 1.15 does not look
        sys.exit(f"{path} is not what it should be: its SHA-256 is another")
    content = gzip.decompress(packed)
    if "labels" in name:
        return np.frombuffer(content, np.uint8, offset=8)
    images = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)
    return images / np.float32(255)


np.random.seed(seed)
if data_name == "drawn":
    y_train = np.random.randint(10, size=10000)
    y_test = np.random.randint(10, size=2000)
    x_train = draw(y_train.astype(str), np.random.choice(TRAIN_FONTS, 10000), 28, 28)
    x_test = draw(y_test.astype(str), np.random.choice(TEST_FONTS, 2000), 28, 28)
elif data_name == "mnist":
    x_train = read_mnist("train-images-idx3-ubyte.gz",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609")
    y_train = read_mnist("train-labels-idx1-ubyte.gz",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c")
    x_test = read_mnist("t10k-images-idx3-ubyte.gz",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6")
    y_test = read_mnist("t10k-labels-idx1-ubyte.gz",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6")
else:
    with np.load(data_name) as file:
        x_train, y_train = file["x_train"], file["y_train"]
        x_test, y_test = file["x_test"], file["y_test"]
for x, y in (x_train, y_train), (x_test, y_test):
    if x.ndim != 3 or x.shape[1:] != x_train.shape[1:] or y.shape != x.shape[:1]:
        parser.error(f"--data {data_name}: x {x.shape} and y {y.shape} do not fit")
_, steps, features = x_train.shape
out_size = int(max(y_train.max(), y_test.max())) + 1  # classes
window = truncated_backprop_length or steps

# %% Dropout that two threads cannot mix up. The same in both seq scripts.
class OrderedDropout(tf.nn.rnn_cell.DropoutWrapper):
    def __call__(self, inputs, state, scope=None):
        output, state = super().__call__(inputs, state, scope)
        with tf.control_dependencies([output]):  # no time step overtakes another
            return output, tf.nest.map_structure(tf.identity, state)


# %% Defining the Network
tf.reset_default_graph()  # from here on, cells can be run again as often as you like
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
    network = tf.nn.rnn_cell.MultiRNNCell(cells)

# %% Simulating Time Steps
with tf.name_scope("Simulating_Time_Steps"):
    # Batch size x time steps x features.
    data = tf.placeholder(tf.float32, [None, None, features])
    init_state = network.zero_state(tf.shape(data)[0], tf.float32)  # or what is fed
    output, state = tf.nn.dynamic_rnn(network, data, initial_state=init_state)

# %% Sequence Classification
with tf.name_scope("Sequence_Classification"):
    target = tf.placeholder(tf.int32, [None])  # numbers, the article's are one-hot rows
    last = output[:, -1]  # [batch_size, num_units], negative indices work today
    softmax_layer = tf.layers.Dense(out_size)
    logit = softmax_layer(last)  # [batch_size, out_size]
    prediction = tf.nn.softmax(logit)
    loss = tf.losses.sparse_softmax_cross_entropy(target, logit)
    rate = tf.placeholder(tf.float32, [])
    train_step = tf.train.RMSPropOptimizer(rate).minimize(loss)
    # What it would say after each row, for the picture.
    reading = tf.nn.softmax(softmax_layer(output))  # [batch_size, steps, out_size]

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


# %% Watching it learn
picture = LivePicture("seq_classify", plot_file, (13, 6))
figure = picture.figure
figure.subplots_adjust(0.07, 0.1, 0.98, 0.92, wspace=0.25, hspace=0.4)
loss_axes = figure.add_subplot(231, title="Loss, nats (dashed: guessing)", yscale="log")
loss_axes.set_xlabel("batch")
loss_axes.axhline(np.log(out_size), color="gray", ls="--", lw=1)
(loss_line,) = loss_axes.plot([], [], lw=0.8)
error_axes = figure.add_subplot(234, xlabel="epoch", xlim=(0, num_epochs))
error_axes.set_ylim(0, 100)
(error_line,) = error_axes.plot([], [], "ro-", clip_on=False)
axes = figure.add_subplot(232, title=f"A test image ({y_test[0]}), lying on its side")
axes.imshow(x_test[0].T, cmap="gray_r", aspect="auto")
axes = figure.add_subplot(235, sharex=axes, xlabel="rows read", ylabel="class")
axes.set_title("What the network thinks while reading it")
thoughts = axes.imshow(np.zeros((out_size, steps)), aspect="auto", vmin=0, vmax=1)
axes = figure.add_subplot(133, xlabel="class by the network", ylabel="true class")
axes.set_title("Test images by true class and answer")
confusion = axes.imshow(np.zeros((out_size, out_size)), cmap="Blues", vmax=2)
numbers = {}
for place in np.ndindex(out_size, out_size) if out_size <= 12 else []:
    numbers[place] = axes.text(place[1], place[0], "", ha="center", va="center")


def plot(losses, errors, counts, _reading):
    loss_line.set_data(range(len(losses)), losses[:])
    error_line.set_data(range(1, len(errors) + 1), np.multiply(errors, 100))
    error_axes.set_title(f"Error on the test set: {errors[-1]:.1%}" if errors else "")
    loss_axes.relim()
    loss_axes.autoscale_view()  # but where you have zoomed in, it stays
    thoughts.set_data(_reading.T)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    confusion.set_data(np.sqrt(share))  # the root, so that the few wrong ones show
    for place, number in numbers.items():
        number.set_text(counts[place] or "")
    picture.redraw()


# %% Training
# Layers overlap in two threads; to split a product this small costs more than it gains.
config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=2)
log = tf.summary.FileWriter(logdir, loss.graph) if logdir else contextlib.nullcontext()
sess = tf.Session(config=config)  # stays open: play on with it
sess.run(tf.global_variables_initializer())
with picture, log:
    losses, errors, counts = [], [], np.zeros((out_size, out_size), int)
    for epoch_idx in tqdm(range(num_epochs), unit="epoch", disable=None):
        seconds = 0
        for batch_idx in range(num_batches):
            chosen = np.random.randint(len(x_train), size=batch_size)
            images = shift_images(x_train[chosen], shift)
            feed = {dropout: train_dropout, rate: learning_rate * decay**epoch_idx,
                    data: images[:, -window:], target: y_train[chosen]}
            start = time.perf_counter()
            if window < steps:  # the rows before leave a state; no gradient goes there
                before = {**feed, data: images[:, :-window]}
                feed[init_state] = sess.run(state, before)
            _loss, _train_step = sess.run([loss, train_step], feed)
            seconds += time.perf_counter() - start
            if not np.isfinite(_loss):
                sys.exit(f"Loss {_loss}: try a smaller --learning_rate")
            if logdir:
                value = tf.Summary.Value(tag="loss", simple_value=_loss)
                log.add_summary(tf.Summary(value=[value]), len(losses))
            losses.append(_loss)
            if batch_idx % 10 == 0:
                plot(losses, errors, counts, sess.run(reading, {data: x_test[:1]})[0])
        guesses = []
        for part in np.array_split(x_test, len(x_test) // 500 + 1):  # to save memory
            guesses.extend(np.argmax(sess.run(prediction, {data: part}), axis=1))
            picture.redraw()
        counts = np.zeros((out_size, out_size), int)
        np.add.at(counts, (y_test, guesses), 1)
        errors.append(np.mean(guesses != y_test))
        if logdir:
            value = tf.Summary.Value(tag="error", simple_value=errors[-1])
            log.add_summary(tf.Summary(value=[value]), len(losses))
        plot(losses, errors, counts, sess.run(reading, {data: x_test[:1]})[0])
        tqdm.write(f"Epoch {epoch_idx + 1:2} error {errors[-1]:.1%}"
                   f" loss {np.mean(losses[-num_batches:]):.4f},"
                   f" {num_batches * batch_size / seconds:.0f} examples/s")
