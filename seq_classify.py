"""Sequence classification: a recurrent network reads images of digits row by row.

The first half of "Introduction to Recurrent Networks in TensorFlow" by Danijar Hafner.
The section titles are the article's headings.

    python seq_classify.py                                # drawn digits, in a window
    python seq_classify.py --data mnist --plot mnist.png  # no window, but a file

Expect a test error near 10 % on MNIST and near 20 % on the drawn digits, whose fonts
the network has never seen, after 10 short epochs: under a minute on 2 CPU cores.
"""
# /// script
# requires-python = ">=3.7,<3.14"
# dependencies = [
#   "tensorflow==1.15.5; python_version == '3.7'",
#   "protobuf<3.21; python_version == '3.7'",
#   "tensorflow==2.13.1; python_version == '3.8'",
#   "tensorflow>=2.16,<3; python_version >= '3.9'",
#   "tf_keras>=2.16,<3; python_version >= '3.9'",
#   "numpy",
#   "matplotlib>=3.5",
#   "tqdm",
# ]
# ///
import argparse
import contextlib
import gzip
import hashlib
import io
import os
import pathlib
import signal
import sys
import tempfile
import time
import warnings
import zipfile
from types import SimpleNamespace

if __name__ == "__main__":  # Ctrl-C while the libraries load ends without a traceback
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

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

# --- Defining the Network -------------------------------------------------------------
num_units = 200
num_layers = 3
dropout = 0.5
CELLS = {"gru": tf.nn.rnn_cell.GRUCell, "lstm": tf.nn.rnn_cell.LSTMCell}


class OrderedDropout(tf.nn.rnn_cell.DropoutWrapper):
    """A DropoutWrapper whose state waits for its output.

    So that no time step overtakes another: the same seed, the same dropout every run.
    """

    def __call__(self, inputs, state, scope=None):
        output, state = super().__call__(inputs, state, scope)
        with tf.control_dependencies([output]):
            return output, tf.nest.map_structure(tf.identity, state)


def define_network(cell, num_units, num_layers, dropout):
    """Return layers of cells as one; dropout is the probability to DROP an output."""
    make_cell = CELLS[cell]
    cells = []
    for _ in range(num_layers):
        cell = make_cell(num_units)  # its own for each layer: a cell is its weights
        cell = OrderedDropout(cell, output_keep_prob=1.0 - dropout)
        cells.append(cell)
    return tf.nn.rnn_cell.MultiRNNCell(cells)


# --- Simulating Time Steps ------------------------------------------------------------
def simulate_time_steps(cell, data, length=None):
    """Return the first state, all outputs and the last state.

    The first state is zeros, or what is fed in their place: the last one of the window
    before. After a sequence's length, if there is one, outputs are 0 and states stay.
    """
    first_state = cell.zero_state(tf.shape(data)[0], tf.float32)
    output, state = tf.nn.dynamic_rnn(cell, data, length, first_state)
    return first_state, output, state


# --- Sequence Classification ----------------------------------------------------------
num_epochs = 10
num_batches = 100
batch_size = 10
learning_rate = 0.003


def build_graph(cell, num_units, num_layers, features, out_size):
    """Add the network to the default graph and return its tensors by name."""
    with tf.name_scope("Defining_the_Network"):
        dropout = tf.placeholder_with_default(0.0, [])  # of testing: nothing is dropped
        cell = define_network(cell, num_units, num_layers, dropout)

    with tf.name_scope("Simulating_Time_Steps"):
        # [batch_size, truncated_backprop_length, features]
        data = tf.placeholder(tf.float32, [None, None, features])
        first_state, output, state = simulate_time_steps(cell, data)

    with tf.name_scope("Sequence_Classification"):
        target = tf.placeholder(tf.int32, [None])  # [batch_size]
        softmax_layer = tf.layers.Dense(out_size)
        logit = softmax_layer(output[:, -1])  # [batch_size, out_size]
        prediction = tf.argmax(logit, 1)  # [batch_size]
        # What it would say after each row, for the picture.
        # [batch_size, truncated_backprop_length, out_size]
        reading = tf.nn.softmax(softmax_layer(output))
        # Of the logits: the logarithm of a probability rounded to 0 is not finite.
        loss = tf.losses.sparse_softmax_cross_entropy(target, logit)
        rate = tf.placeholder(tf.float32, [])
        train_step = tf.train.RMSPropOptimizer(rate).minimize(loss)
        summary = tf.summary.scalar("loss", loss)
    return SimpleNamespace(**locals())


def random_batch(batch_size, *arrays):
    """Return batch_size random examples: the same rows of each array."""
    rows = np.random.randint(len(arrays[0]), size=batch_size)
    return [array[rows] for array in arrays]


def shift_images(images, pixels):
    """Return images [many, rows, columns], each moved by up to so many pixels."""
    many, rows, columns = images.shape
    margins = (0, 0), (pixels, pixels), (pixels, pixels)
    down, right = np.random.randint(2 * pixels + 1, size=(2, many, 1, 1))
    rows, columns = down + np.arange(rows)[:, None], right + np.arange(columns)
    images = np.pad(images, margins, "constant")
    return images[np.arange(many)[:, None, None], rows, columns]


def compute_in_parts(sess, fetch, feed, progress, size=500):
    """Return the fetch for all examples in the feed, which may not fit in one batch."""
    parts = []
    for start in range(0, len(next(iter(feed.values()))), size):
        part = {key: array[start : start + size] for key, array in feed.items()}
        parts.append(sess.run(fetch, part))
        progress.update(0)  # hears Ctrl-C
    return np.concatenate(parts)


TRAIN_FONTS = ["DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif",
               "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSansMono-Bold",
               "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic"]
TEST_FONTS = ["cmr10", "cmb10", "cmss10", "cmtt10"]


def draw_glyphs(characters, font):
    """Return each character in a font that comes with matplotlib: [many, 64, 64]."""
    file = pathlib.Path(plt.matplotlib.get_data_path(), "fonts", "ttf", font + ".ttf")
    figure = plt.Figure((len(characters), 1), dpi=64)
    for i, character in enumerate(characters):
        figure.text((i + 0.5) / len(characters), 0.5, character, fontproperties=file,
                    size=52, ha="center", va="center")
    drawing = io.BytesIO()
    figure.savefig(drawing, format="rgba")
    colors = np.frombuffer(drawing.getvalue(), np.uint8)
    return 1 - colors.reshape(64, -1, 64, 4).swapaxes(0, 1)[..., 0] / np.float32(255)


def draw_images(characters, fonts, which, font_of, rows, columns, wildness):
    """Return an image of each characters[which] in its font, as if written by hand.

    Each is turned, sheared, scaled, shifted, thickened and made noisy at random.
    """
    glyphs = np.array([draw_glyphs(characters, font) for font in fonts])
    thicker = np.maximum(glyphs, np.roll(glyphs, 2, axis=2))
    thicker = np.maximum(thicker, np.roll(thicker, 2, axis=3))
    glyphs = np.array([glyphs, thicker])
    for axis, pixels in (3, rows), (4, columns):  # a pixel covers more than a point
        covered = range(-20 // pixels, 20 // pixels + 1)
        glyphs = np.mean([np.roll(glyphs, shift, axis) for shift in covered], axis=0)

    def chance(limit):
        limit = limit * wildness
        return np.random.uniform(-limit, limit, (len(which), 1, 1)).astype(np.float32)

    # Where each pixel of an image finds its color in the glyph, from the center.
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j].astype(np.float32)
    y, x = 26 * (1 + chance(0.2)) * y, 24 * (1 + chance(0.2)) * x
    turn, x = chance(0.3), x + chance(0.3) * y
    y, x = y + turn * x + chance(4), x - turn * y + chance(4)
    y, x = (np.clip(np.rint(axis + 31.5), 0, 63).astype(int) for axis in (y, x))
    which, font_of = which[:, None, None], font_of[:, None, None]
    images = glyphs[np.random.randint(2, size=which.shape), font_of, which, y, x]
    noise = np.random.normal(0, 0.2 * wildness, images.shape)
    return np.clip(1.5 * images + noise, 0, 1).astype(np.float32)


def download(url, path, sha256, opener=open):
    """Return path, fetched from url if it is missing; raise ValueError if it can't be.

    sha256 is the digest of what opener reads: gzip.open for that of the unpacked file.
    """
    def check(file):
        with opener(file, "rb") as content:
            if hashlib.sha256(content.read()).hexdigest() != sha256:
                raise ValueError("not the file that was meant, by its SHA-256")

    bar = sys.stderr if sys.stderr.isatty() else io.StringIO()
    try:
        if os.path.exists(path):
            check(path)  # a reader's own copy is never replaced
            return path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # This folder is gone with all that is in it, whatever ends the download.
        with tempfile.TemporaryDirectory(dir=os.path.dirname(path)) as beside:
            with contextlib.redirect_stdout(bar):
                part = tf.keras.utils.get_file("part", url, cache_dir=beside,
                                               cache_subdir="")
            check(part)
            os.replace(part, path)
    except Exception as error:  # get_file raises just that
        print(file=bar)  # ends its line
        why = " ".join(str(error).split())
        raise ValueError(f"{why}. A good copy of {url} belongs in {path}") from error
    return path


def read_npz(path, expected):
    """Return the arrays of an .npz file; raise ValueError if one is not as expected.

    expected: by name, what the array's axes count, and the kinds of numbers in it.
    """
    zipfile.ZipFile(path).close()  # old numpy leaves a broken one half open
    file = np.load(path, allow_pickle=False)
    names = file.files
    arrays, sizes = [], {}
    for name, (axes, kinds) in expected.items():
        if name not in names:
            raise ValueError(f"no array {name!r}, only: {', '.join(names) or 'none'}")
        array = file[name]
        found = f"{name} is {array.dtype} {list(array.shape)}"
        if array.ndim != len(axes) or array.dtype.kind not in kinds or not array.size:
            numbers = "numbers" if "f" in kinds else "whole numbers"
            raise ValueError(f"{found}, not {numbers} [{', '.join(axes)}]")
        for axis, size in zip(axes, array.shape):
            if sizes.setdefault(axis, size) != size:
                raise ValueError(f"{found}: {size} {axis}, not {sizes[axis]} as before")
        array = array.astype(np.float32 if "f" in kinds else np.int64)
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has a value that is not finite")
        arrays.append(array)
    return arrays


def draw_digits():
    """Return images of digits and the digits; those for testing are in other fonts."""
    data = []
    for fonts, many in [(TRAIN_FONTS, 10000), (TEST_FONTS, 2000)]:
        digits, font_of = np.random.randint([[10], [len(fonts)]], size=(2, many))
        data += [draw_images("0123456789", fonts, digits, font_of, 28, 28, 0.7), digits]
    return data


def read_mnist():
    """Return the article's images and digits, downloaded if they are not in data/."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
    data = []
    for name, header, sha256 in [
        ("train-images-idx3-ubyte.gz", 16,
         "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        ("train-labels-idx1-ubyte.gz", 8,
         "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        ("t10k-images-idx3-ubyte.gz", 16,
         "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        ("t10k-labels-idx1-ubyte.gz", 8,
         "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ]:
        url = "https://storage.googleapis.com/cvdf-datasets/mnist/" + name
        with gzip.open(download(url, os.path.join(folder, name), sha256)) as file:
            data.append(np.frombuffer(file.read(), np.uint8, offset=header))
    for i in 0, 2:
        data[i] = data[i].reshape(-1, 28, 28) / np.float32(255)
    return data


def read_images(name):
    """Return x_train, y_train, x_test, y_test; raise ValueError if they are no good."""
    if name == "drawn":
        return draw_digits()
    if name == "mnist":
        return read_mnist()
    if not name.endswith(".npz"):
        raise ValueError("neither drawn nor mnist nor a FILE.npz")
    data = read_npz(name, {
        "x_train": (["examples to train", "steps", "features"], "fiub"),
        "y_train": (["examples to train"], "iu"),
        "x_test": (["examples to test", "steps", "features"], "fiub"),
        "y_test": (["examples to test"], "iu"),
    })
    known = min(data[1].max(), 9999)
    for labels in data[1], data[3]:
        for label in labels[(labels < 0) | (labels > known)]:
            raise ValueError(f"label {label} is not one of 0 to {known}")
    return data


class LivePicture:
    """A figure that follows the training, in a window or, without one, in a file.

    file: where the picture goes; None opens a window, or writes NAME.png if none can.
    Only artists made with animated=True move: a redraw costs the same early and late.
    """

    def __init__(self, name, file, **figure_settings):
        self.file = file or name + ".png"
        if file:
            plt.switch_backend("agg")
        try:
            self.figure = plt.figure(name, **figure_settings)
        except Exception:  # MPLBACKEND names a window system, and there is no display
            plt.switch_backend("agg")
            self.figure = plt.figure(name, **figure_settings)
        self.canvas = self.figure.canvas
        self.canvas.mpl_connect("draw_event", self.draw_moving)
        self.window = self.canvas.required_interactive_framework is not None
        self.next_save = 0
        self.drawn = False
        if self.window:
            plt.show(block=False)
        else:
            self.save()  # fails now, if at all: nothing is drawn, so nothing is renamed

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        if self.drawn and (error or not self.window):
            self.save()
            print("Picture in", self.file)
        plt.close(self.figure)

    def is_open(self):
        return self.window and plt.fignum_exists(self.figure.number)

    def draw_moving(self, event=None):
        """Draw what moves; if all else was just drawn (an event), keep that first."""
        if self.figure.canvas.is_saving():
            return
        if event:
            self.background = self.canvas.copy_from_bbox(self.figure.bbox)
            self.moving = self.figure.findobj(lambda artist: artist.get_animated())
        for artist in self.moving:
            self.figure.draw_artist(artist)

    def redraw(self):
        """Show the artists as they are now, and answer to the mouse."""
        self.drawn = True
        start = time.time()
        if not self.window and start > self.next_save:
            self.save()
            self.next_save = start + 10 * (time.time() - start)  # a tenth of the time
        elif self.is_open():
            if self.figure.stale:  # more than what moves has changed
                self.canvas.draw()
            else:
                self.canvas.restore_region(self.background)
                self.draw_moving()
                self.canvas.blit(self.figure.bbox)
            self.canvas.flush_events()

    def save(self):
        """Write beside the file, then rename: it is whole at any time."""
        part = f"{self.file}.{os.getpid()}.part"
        try:
            self.figure.savefig(part, format=os.path.splitext(self.file)[1][1:])
            if self.drawn:
                os.replace(part, self.file)
        except Exception as error:
            why = getattr(error, "strerror", None) or error
            print(f"No picture in {self.file}: {why}", file=sys.stderr)
            status, self.drawn = 1 if self.drawn else 2, False  # do not try again
            sys.exit(status)
        finally:
            if os.path.exists(part):
                os.remove(part)

    def wait_until_closed(self):
        while self.is_open():
            self.canvas.start_event_loop(0.1)  # plt.show would not always hear Ctrl-C


def make_plot(figure, image, label, num_updates, num_batches, out_size):
    """Add the panels to the figure; return plot(), which moves them."""
    steps = len(image)
    axes = figure.add_axes([0.06, 0.56, 0.25, 0.36], title="Loss of a batch, nats")
    axes.set(yscale="log", xlim=(0, num_updates), ylim=(1e-3, 5))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.axhline(np.log(out_size), color="gray", ls="--", lw=1)
    axes.text(num_updates, np.log(out_size), "guessing ", ha="right", va="bottom")
    (curve,) = axes.plot([], [], lw=0.8, animated=True)
    axes = figure.add_axes([0.06, 0.1, 0.25, 0.34], title="Error on the test set, %")
    axes.set(xlim=(0, num_updates), ylim=(0, 100), xlabel="batch")
    axes.grid(color="0.9")
    (error_curve,) = axes.plot([], [], "o-", color="tab:red", ms=4, animated=True)
    last_error = axes.text(0, 0, "", ha="center", va="bottom", animated=True)

    axes = figure.add_axes([0.39, 0.56, 0.25, 0.36], yticks=[])
    axes.set_title(f"A test image of class {label}, lying on its side")
    axes.imshow(image.T, cmap="gray_r", vmin=0, vmax=1, aspect="auto",
                extent=(0, steps, image.shape[1], 0))
    axes = figure.add_axes([0.39, 0.1, 0.25, 0.34], sharex=axes, ylabel="class")
    axes.set(title="What the network thinks while reading it", xlabel="rows read")
    axes.yaxis.get_major_locator().set_params(integer=True, steps=[1, 10])
    probabilities = axes.imshow(
        [[0]], cmap="viridis", vmin=0, vmax=1, aspect="auto", animated=True,
        extent=(0, steps, out_size - 0.5, -0.5), interpolation="nearest",
    )

    axes = figure.add_axes([0.7, 0.1, 0.29, 0.82], title="Confusion on the test set")
    axes.set(xlabel="class by the network", ylabel="true class")
    for axis in axes.xaxis, axes.yaxis:
        axis.get_major_locator().set_params(integer=True, steps=[1, 10])
    counts = axes.imshow(np.eye(out_size), cmap="Blues", vmax=1, animated=True)
    cells = {}  # a number each, if there is room
    for cell in np.ndindex(out_size, out_size) if out_size <= 12 else []:
        cells[cell] = axes.text(*cell[::-1], "", ha="center", va="center", size=8,
                                animated=True)

    def plot(losses, errors, reading, confusion):
        # The means of every few losses look like all and are drawn fast.
        starts = np.arange(0, len(losses), len(losses) // 300 + 1)
        widths = np.diff(np.append(starts, len(losses)))
        curve.set_data(starts, np.add.reduceat(losses, starts) / widths)
        probabilities.set_data(reading.T)
        if errors:
            ends = num_batches * (np.arange(len(errors)) + 1)
            error_curve.set_data(ends, 100 * np.array(errors))
            last_error.set_position((ends[-1] - num_updates / 25, 100 * errors[-1] + 3))
            last_error.set_text(f"{errors[-1]:.1%}")
            share = np.sqrt(confusion / np.maximum(confusion.sum(1, keepdims=True), 1))
            counts.set_data(share)  # the root of it, so that the few wrong ones show
            for cell, text in cells.items():
                text.set_text(str(confusion[cell] or ""))
                text.set_color("white" if share[cell] > 0.6 else "black")

    return plot


def train(
    num_epochs, num_batches, batch_size, truncated_backprop_length, cell, num_units,
    num_layers, dropout, learning_rate, decay, shift, seed, x_train, y_train, x_test,
    y_test, plot_file, logdir, server,
):
    """Train, testing after each epoch; return all that was found, by name."""
    steps, features = x_train.shape[1:]
    out_size = int(y_train.max()) + 1
    losses, errors, confusion = np.zeros(num_epochs * num_batches), [], None

    picture = LivePicture("seq_classify", plot_file, figsize=(13, 6.5))
    plot = make_plot(picture.figure, x_test[0], y_test[0], len(losses), num_batches,
                     out_size)
    np.random.seed(seed)
    tf.reset_default_graph()
    tf.set_random_seed(seed)
    graph = build_graph(cell, num_units, num_layers, features, out_size)
    log = contextlib.nullcontext()
    if logdir:
        log = tf.summary.FileWriter(logdir, tf.get_default_graph())
    progress = Progress(total=len(losses), unit="batch", disable=None)

    # Two operations at a time, as of two layers, each in one thread: products this
    # small lose more by being split than they gain.
    sess = open_session(server, inter_op_threads=2)
    with picture, log, progress:
        sess.run(tf.global_variables_initializer())
        start = time.time()
        for step in range(len(losses)):
            epoch, batch = divmod(step, num_batches)
            data, target = random_batch(batch_size, x_train, y_train)
            if shift:
                data = shift_images(data, shift)
            feed = {graph.target: target, graph.dropout: dropout,
                    graph.rate: learning_rate * decay**epoch}
            # No gradient goes back beyond the last window. It starts from the state
            # that the rows before have left.
            window = truncated_backprop_length or steps
            for row in range(0, steps - window, window):
                feed[graph.data] = data[:, row : row + window]
                feed[graph.first_state] = sess.run(graph.state, feed)
            feed[graph.data] = data[:, -window:]
            losses[step], _, _log = sess.run(
                [graph.loss, graph.train_step, graph.summary if logdir else []], feed
            )
            if not np.isfinite(losses[step]):
                sys.exit(f"Loss {losses[step]}, epoch {epoch + 1}, batch {batch + 1}:"
                         " try a smaller --learning_rate.")
            progress.update()
            if logdir:
                log.add_summary(_log, step)
            if batch == num_batches - 1:
                fed = {graph.data: x_test}
                guess = compute_in_parts(sess, graph.prediction, fed, progress)
                errors.append(np.mean(guess != y_test))
                confusion = np.zeros((out_size, out_size), int)
                np.add.at(confusion, (y_test, guess), 1)
                loss = losses[step + 1 - num_batches : step + 1].mean()
                seconds = (time.time() - start) / (epoch + 1)
                tqdm.write(
                    f"Epoch {epoch + 1:2} error {errors[-1]:.1%} loss {loss:.4f},"
                    f" {num_batches * batch_size / seconds:.0f} examples/s,"
                    f" {seconds * (num_epochs - epoch - 1):.0f} s left"
                )
                if logdir:
                    value = tf.Summary.Value(tag="error", simple_value=errors[-1])
                    log.add_summary(tf.Summary(value=[value]), step)
            if step % 20 == 0 or batch == num_batches - 1:
                reading = sess.run(graph.reading, {graph.data: x_test[:1]})[0]
                plot(losses[: step + 1], errors, reading, confusion)
                picture.redraw()
        progress.close()
        weights = sess.run(tf.trainable_variables())
        picture.wait_until_closed()
    return SimpleNamespace(**locals())


def open_session(server, inter_op_threads):
    """Return a session in this process or on a server, for operations of one thread.

    Of a server's variables it sees its own only; silence of 30 s is an error.
    """
    return tf.Session(server, config=tf.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=inter_op_threads,
        isolate_session_state=True, operation_timeout_in_ms=30000 if server else 0,
    ))


class Progress(tqdm):
    """A progress bar; Ctrl-C ends the program at the bar's next update, not in a step.

    A second Ctrl-C does not wait for that.
    """

    interrupted = False

    def __enter__(self):
        signal.signal(signal.SIGINT, self.interrupt)
        return self

    def interrupt(self, *_):
        if self.interrupted:
            os._exit(130)
        self.interrupted = True

    def update(self, n=1):
        super().update(n)
        if self.interrupted:
            sys.exit(130)

    def close(self):
        super().close()
        signal.signal(signal.SIGINT, lambda *_: sys.exit(130))


def number(kind, low, high):
    """Return an argparse type: numbers of that kind, int or float, from low to high."""
    def parse(text):
        with contextlib.suppress(ValueError):
            if low <= kind(text) <= high:
                return kind(text)
        allowed = f"{kind.__name__} from {low} to {high}"
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed, only {allowed}")

    return parse


def folder(path):
    """Return path, made if it was missing; raise ArgumentTypeError if it can't be."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path!r}: {error.strerror}") from error
    return path


def server(target):
    """Return target, grpc://host:port, if a tf.train.Server answers there within 10 s.

    Else the program ends with one line and status 1.
    """
    config = tf.ConfigProto(operation_timeout_in_ms=10000)
    try:
        with tf.Session(target, tf.Graph(), config) as sess:
            sess.list_devices()
    except (tf.errors.NotFoundError, tf.errors.InvalidArgumentError) as error:
        why = f"{target!r} is not like grpc://127.0.0.1:2222"
        raise argparse.ArgumentTypeError(why) from error
    except tf.errors.OpError:
        sys.exit(f"No TensorFlow server answers at {target}")
    return target


def parse_flags(argv=None):
    """Return the flags; a wrong one ends the program with one line and status 2."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.error = lambda why: parser.exit(2, f"{parser.prog}: error: {why}\n")
    many = 2**32 - 1
    for name, default, low, high, meaning in [
        ("num_epochs", num_epochs, 1, many, "how often to test what was learned"),
        ("num_batches", num_batches, 1, many, "batches of an epoch"),
        ("batch_size", batch_size, 1, many, "random examples in a batch"),
        ("num_units", num_units, 1, many, "units of a layer"),
        ("num_layers", num_layers, 1, many, "layers of cells, one on top of another"),
        ("dropout", dropout, 0, 0.99, "the share of a layer's outputs that is dropped"),
        ("learning_rate", learning_rate, 1e-6, many, "how far an update goes"),
        ("decay", 1.0, 0.01, 1, "factor on the learning rate after each epoch"),
        ("shift", 0, 0, 99, "move each image to learn from by up to so many pixels"),
        ("seed", 1, 0, many, "the same seed gives the same data, weights and errors"),
    ]:
        parser.add_argument(
            "--" + name, type=number(type(default), low, high), default=default,
            help=meaning + " (default: %(default)s)",
        )
    parser.add_argument(
        "--truncated_backprop_length", type=number(int, 1, many), metavar="K",
        help="rows in a window: how far back a gradient can reach (default: all rows)",
    )
    parser.add_argument(
        "--cell", choices=CELLS, default="gru",
        help="what the layers are made of (default: %(default)s)",
    )
    parser.add_argument(
        "--data", default="drawn", metavar="NAME",
        help="drawn digits, mnist, or a FILE.npz of yours with x_train, y_train, x_test"
        " and y_test (default: %(default)s)",
    )
    parser.add_argument(
        "--plot", metavar="FILE", dest="plot_file",
        help="save the picture here and open no window",
    )
    parser.add_argument(
        "--logdir", metavar="DIR", type=folder,
        help="write the graph, the losses and the errors here, for TensorBoard to show",
    )
    parser.add_argument(
        "--server", metavar="grpc://HOST:PORT", type=server,
        help="compute on the tf.train.Server there",
    )
    flags = parser.parse_args(argv)

    np.random.seed(flags.seed)
    try:
        data = read_images(flags.data)
    except Exception as error:  # a broken file can lead to any
        why = getattr(error, "strerror", None) or error
        parser.error(f"--data {flags.data}: {why}")
    flags.x_train, flags.y_train, flags.x_test, flags.y_test = data
    del flags.data
    steps = flags.x_train.shape[1]
    if steps % (flags.truncated_backprop_length or steps):
        parser.error(f"--truncated_backprop_length {flags.truncated_backprop_length}"
                     f" does not divide {steps}, the rows of an image")
    return flags


def main(argv=None):
    """Run the program; return what train found, by name."""
    return train(**vars(parse_flags(argv)))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    try:
        main()
    except SystemError as error:  # TensorFlow 1.15's C++ code wraps the exit in one
        if not isinstance(error.__cause__, SystemExit):
            raise
        sys.exit(130)
    except (tf.errors.DeadlineExceededError, tf.errors.UnavailableError) as error:
        sys.exit(f"The TensorFlow server does not answer: {type(error).__name__}")
