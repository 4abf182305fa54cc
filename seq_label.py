"""Sequence labelling: a recurrent network reads words letter by letter, from images.

The second half of "Introduction to Recurrent Networks in TensorFlow" by Danijar Hafner,
https://danijar.com/introduction-to-recurrent-networks-in-tensorflow/. The article's own
lines are in the cells from Defining the Network to Sequence Labelling.

    python seq_label.py                              # drawn words, in a window
    python seq_label.py --data ocr --plot ocr.png    # no window, but a file

Expect that a third of the drawn letters is read wrong after 10 short epochs, and 6 in
10 of the article's, in half a minute on 2 CPU cores. The README says why.
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
import pydoc_data.topics
import re
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
cell_type = flag("cell", "gru", "what the layers are made of; none: no recurrence, "
                 "letters are read one by one", choices=["gru", "lstm", "none"])
num_epochs = flag("num_epochs", 10, "how often to test what was learned")
num_batches = flag("num_batches", 100, "batches of an epoch")
batch_size = flag("batch_size", 10, "random words in a batch")
learning_rate = flag("learning_rate", 0.003, "of RMSProp", low=1e-9)
data_name = flag("data", "drawn", "drawn words, or ocr: the article's handwriting",
                 choices=["drawn", "ocr"])
# Not the article's:
split = flag("split", "words", "test ocr on the last third: words never seen; folds: "
             "on one in ten, of words seen in the others", choices=["words", "folds"])
bidirectional = flag("bidirectional", 0, "1: as many units again read from the end",
                     low=0, choices=[0, 1])
hidden_units = flag("hidden_units", 0, "units of a layer before the recurrence, which "
                    "sees one letter; 0: none", low=0)
truncated_backprop_length = flag("truncated_backprop_length", 0,
                                 "letters that a gradient reaches back; 0: all", low=0)
decay = flag("decay", 1.0, "factor on the learning rate after each epoch", low=1e-9)
shift = flag("shift", 0, "move letters to learn by up to so many pixels", low=0)
seed = flag("seed", 1, "the same seed gives the same numbers", low=0, high=2**32)
plot_file = flag("plot", "", "save the picture here and open no window")
logdir = flag("logdir", "", "write graph and curves here, for TensorBoard")
if train_dropout >= 1:
    parser.error(f"--dropout {train_dropout} leaves no outputs")
if bidirectional and cell_type == "none":
    parser.error("--bidirectional needs a --cell")
if truncated_backprop_length and (bidirectional or cell_type == "none"):
    parser.error("--truncated_backprop_length needs a --cell that reads one way")

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


# %% Data: drawn words or the article's
OCR_URL = "https://ai.stanford.edu/~btaskar/ocr/letter.data.gz"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
steps, features, out_size = 14, 16 * 8, len(LETTERS)  # no word has more than 14 letters


def pad(images, labels):
    """Return words [many, steps, features], labels [many, steps] and lengths [many].

    images and labels have a list for each word. What is beyond its length is zeros.
    """
    length = np.array([len(word) for word in labels])
    x = np.zeros((len(length), steps, features), np.float32)
    y = np.zeros((len(length), steps), int)
    for i, end in enumerate(length):
        x[i, :end], y[i, :end] = images[i], labels[i]
    return x, y, length


def draw_words(spellings, fonts):
    """Return the words' images, labels and lengths; each word is in one random font."""
    images, labels = [], []
    for spelling in spellings:
        letters = draw(spelling, [np.random.choice(fonts)] * len(spelling), 16, 8)
        images.append(letters.reshape(-1, features))
        labels.append([LETTERS.index(letter) for letter in spelling])
    return pad(images, labels)


def read_ocr():
    """Return images, labels and lengths of all words, and the fold of each [many]."""
    path = tf.keras.utils.get_file("letter.data.gz", OCR_URL, cache_dir=folder,
                                   cache_subdir="data")
    with gzip.open(path) as file:
        content = file.read()
    if hashlib.sha256(content).hexdigest() != (  # of the packed file none is known
            "535363d0b7bc34246b1f8731719540f526b6807b12dda5d430d011d160bc7882"):
        sys.exit(f"{path} is not what it should be: delete it and try again")
    images, labels, folds = [], [], []
    for line in content.decode().splitlines():  # of one letter
        _, letter, _, _, position, fold, *pixels = line.split()
        if position == "1":  # a word begins
            images.append([])
            labels.append([])
            folds.append(int(fold))
        images[-1].append(np.array(pixels, np.float32))
        labels[-1].append(LETTERS.index(letter))
    return (*pad(images, labels), np.array(folds))


np.random.seed(seed)
if data_name == "drawn":
    manual = " ".join(pydoc_data.topics.topics.values())  # Python's
    known = np.array(sorted(set(re.findall(r"\b[a-z]{3,14}\b", manual))))
    np.random.shuffle(known)
    for_training = np.random.choice(known[500:], 2000)
    x_train, y_train, length_train = draw_words(for_training, TRAIN_FONTS)
    x_test, y_test, length_test = draw_words(known[:500], TEST_FONTS)
else:
    *all_words, folds = read_ocr()
    testing = folds == 0
    if split == "words":  # a word's copies follow each other: those to test are new
        testing = np.arange(len(folds)) >= int(0.66 * len(folds))
    x_train, y_train, length_train = [array[~testing] for array in all_words]
    x_test, y_test, length_test = [array[testing] for array in all_words]
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
make_cell = {"gru": tf.nn.rnn_cell.GRUCell, "lstm": tf.nn.rnn_cell.LSTMCell}
dropout = tf.placeholder_with_default(0.0, [])  # in testing nothing is dropped


def define_network():
    cells = []
    for _ in range(num_layers):
        cell = make_cell[cell_type](num_units)  # was in tf.contrib
        cell = OrderedDropout(cell, output_keep_prob=1.0 - dropout)
        cells.append(cell)  # the article's text lost this line
    return tf.nn.rnn_cell.MultiRNNCell(cells)


# %% Simulating Time Steps
with tf.name_scope("Simulating_Time_Steps"):
    # Batch size x time steps x features.
    data = tf.placeholder(tf.float32, [None, None, features])
    length = tf.placeholder(tf.int32, [None])  # of each word, the rest is padding
    inputs = data
    if hidden_units:  # what a letter looks like, whatever stands beside it
        inputs = tf.layers.dense(data, hidden_units, tf.nn.relu)
        inputs = tf.nn.dropout(inputs, rate=dropout)
    # After the length of a word, outputs are 0 and states stay.
    if cell_type == "none":
        output, state = inputs, []
    elif bidirectional:
        (there, back), state = tf.nn.bidirectional_dynamic_rnn(
            define_network(), define_network(), inputs, length, dtype=tf.float32)
        output = tf.concat([there, back], 2)
    else:
        network = define_network()
        init_state = network.zero_state(tf.shape(data)[0], tf.float32)  # or what is fed
        output, state = tf.nn.dynamic_rnn(network, inputs, length, init_state)

# %% Sequence Labelling
with tf.name_scope("Sequence_Labelling"):
    target = tf.placeholder(tf.int32, [None, None])  # numbers, not one-hot rows
    logit = tf.layers.dense(output, out_size)  # [batch_size, steps, out_size]
    prediction = tf.nn.softmax(logit)  # [batch_size, steps, out_size]

    # The article flattens all steps, also those of the padding: a 27th letter, easy to
    # read. They are left out here. And no reduce_mean: the loss is the mean already.
    real = tf.sequence_mask(length, tf.shape(data)[1])
    flat_target = tf.boolean_mask(target, real)
    flat_logit = tf.boolean_mask(logit, real)
    loss = tf.losses.sparse_softmax_cross_entropy(flat_target, flat_logit)

    rate = tf.placeholder(tf.float32, [])
    train_step = tf.train.RMSPropOptimizer(rate).minimize(loss)

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
picture = LivePicture("seq_label", plot_file, (13, 6))
figure = picture.figure
figure.subplots_adjust(0.07, 0.1, 0.98, 0.92, wspace=0.2, hspace=0.4)
loss_axes = figure.add_subplot(231, title="Loss, nats (dashed: guessing)", yscale="log")
loss_axes.set_xlabel("batch")
loss_axes.axhline(np.log(out_size), color="gray", ls="--", lw=1)
(loss_line,) = loss_axes.plot([], [], lw=0.8)
error_axes = figure.add_subplot(234, xlabel="epoch", xlim=(0, num_epochs))
error_axes.set(title="Test error, %: letters (line), words (dotted)", ylim=(0, 100))
(letter_line,) = error_axes.plot([], [], "ro-", clip_on=False)
(word_line,) = error_axes.plot([], [], "ro:", clip_on=False)
axes = figure.add_axes([0.37, 0.02, 0.62, 0.9])
axes.set_title("Test words: what it reads; red where it is wrong, over what is right")
shown = np.linspace(0, len(x_test) - 1, 10).astype(int)
over, under = {}, {}  # texts by word and step
for i, example in enumerate(shown):
    left, top = i // 5 * 120, i % 5 * 34
    strip = np.hstack(x_test[example, :length_test[example]].reshape(-1, 16, 8))
    axes.imshow(strip, cmap="gray_r", vmin=0, vmax=1,
                extent=(left, left + strip.shape[1], top + 16, top))
    for t in range(length_test[example]):
        middle = left + 8 * t + 4
        over[i, t] = axes.text(middle, top, "", ha="center", va="bottom")
        under[i, t] = axes.text(middle, top + 16, "", ha="center", va="top", color="r")
axes.set(xlim=(0, 232), ylim=(160, -10))
axes.axis("off")


def plot(losses, errors, guesses):
    loss_line.set_data(range(len(losses)), losses[:])
    loss_axes.relim()
    loss_axes.autoscale_view()  # but where you have zoomed in, it stays
    for line, error in zip([letter_line, word_line], zip(*errors)):
        line.set_data(range(1, len(errors) + 1), np.multiply(error, 100))
    for i, t in over:
        guess, right = LETTERS[guesses[i, t]], LETTERS[y_test[shown[i], t]]
        over[i, t].set(text=guess, color="black" if guess == right else "red")
        under[i, t].set_text("" if guess == right else right)
    picture.redraw()


# %% Training
# Layers overlap in two threads; to split a product this small costs more than it gains.
config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=2)
log = tf.summary.FileWriter(logdir, loss.graph) if logdir else contextlib.nullcontext()
sess = tf.Session(config=config)  # stays open: play on with it
sess.run(tf.global_variables_initializer())
with picture, log:
    losses, errors = [], []
    for epoch_idx in tqdm(range(num_epochs), unit="epoch", disable=None):
        seconds = 0
        for batch_idx in range(num_batches):
            chosen = np.random.randint(len(x_train), size=batch_size)
            images = shift_images(x_train[chosen].reshape(-1, 16, 8), shift)
            words = images.reshape(batch_size, steps, features)
            lengths = length_train[chosen]
            feed = {dropout: train_dropout, rate: learning_rate * decay**epoch_idx}
            _loss, start = 0, time.perf_counter()
            for start_idx in range(0, max(lengths), window):
                end_idx = min(start_idx + window, max(lengths))
                feed[data] = words[:, start_idx:end_idx]
                feed[target] = y_train[chosen, start_idx:end_idx]
                feed[length] = np.clip(lengths - start_idx, 0, window)
                window_loss, _, _state = sess.run([loss, train_step, state], feed)
                _loss += window_loss * sum(feed[length]) / sum(lengths)
                if end_idx < max(lengths):  # no gradient goes back beyond this
                    feed[init_state] = _state
            seconds += time.perf_counter() - start
            if not np.isfinite(_loss):
                sys.exit(f"Loss {_loss}: try a smaller --learning_rate")
            if logdir:
                value = tf.Summary.Value(tag="loss", simple_value=_loss)
                log.add_summary(tf.Summary(value=[value]), len(losses))
            losses.append(_loss)
            if batch_idx % 10 == 0:
                feed = {data: x_test[shown], length: length_test[shown]}
                plot(losses, errors, np.argmax(sess.run(prediction, feed), axis=2))
        feed = {data: x_test, length: length_test}
        guesses = np.argmax(sess.run(prediction, feed), axis=2)
        wrong = (guesses != y_test) & (np.arange(steps) < length_test[:, np.newaxis])
        letter_error = wrong.sum() / length_test.sum()
        word_error = wrong.any(axis=1).mean()
        errors.append((letter_error, word_error))
        if logdir:
            value = tf.Summary.Value(tag="error", simple_value=letter_error)
            log.add_summary(tf.Summary(value=[value]), len(losses))
        plot(losses, errors, guesses[shown])
        tqdm.write(f"Epoch {epoch_idx + 1:2} error {letter_error:.1%},"
                   f" of words {word_error:.1%},"
                   f" loss {np.mean(losses[-num_batches:]):.4f},"
                   f" {num_batches * batch_size / seconds:.0f} examples/s")
    print(f"{wrong.mean():.1%} if padding were a letter that is always read right")
