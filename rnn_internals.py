"""RNN internals: what two lines of TensorFlow compute, step by step, and put to use.

The batch and the two lines of "All you need to know about RNNs" (Towards Data Science),
https://towardsdatascience.com/all-you-need-to-know-about-rnns-e514f0b00c7c, beside the
same by hand in numpy; then that network learns to forecast a time series. The cells
have the article's headings; run the file as it is, or cell by cell.

    python rnn_internals.py                     # the walk, then a live window
    python rnn_internals.py --plot rnn.png      # no window, a picture in a file
    python rnn_internals.py --data FILE         # forecasts a series of your own

Expect a walk that differs from TensorFlow by less than 1e-6, then errors of 1.1 to 1.3
from the network, 1.5 to 1.9 from naive forecasts and 1.0 from noise alone: 10 s in all.
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
# The article's constants, under its names. Each is a flag, too: --rnn_size 9.
batch_size = flag("batch_size", 6, "lines of a batch, computed at the same time")
rnn_size = flag("rnn_size", 7, "units: the numbers in a state")
number_of_steps = flag("number_of_steps", 5, "time steps of a line")
number_of_features = flag("number_of_features", 3, "values that a step takes in")
# Not the article's, which only names the forecast:
data = flag("data", "waves", "two waves and noise, or a FILE: a number a line, or CSV")
column = flag("column", 0, "of that CSV; 0 is the first one, -1 the last", low=-1)
period = flag("period", 24 if data == "waves" else 0, "steps after which the series"
              " is much the same again, for a naive forecast; 0: none", low=0)
num_epochs = flag("num_epochs", 50, "how often to go through the series")
learning_rate = flag("learning_rate", 0.003, "of Adam", low=1e-9)
series_length = flag("series_length", 3000, "time steps of the waves", low=400)
seed = flag("seed", 1, "the same seed gives the same numbers", low=0, high=2**32)
plot_file = flag("plot", "", "save the picture here and open no window")
logdir = flag("logdir", "", "write graph and losses here, for TensorBoard")
predictions_file = flag("predictions", "", "keep in a FILE.npz what comes next, by the"
                        " network: its array forecast")

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


# %% A series of your own. Skip it at first.
def read_series():
    """Return the numbers of --data; a fault ends the run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty file: it is too short
            values = np.genfromtxt(data, delimiter=",", usecols=column,
                                   encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"--data {data}: {error}")
    except (ValueError, IndexError):
        parser.error(f"--data {data}: not each of its lines has a --column {column}")
    values = np.atleast_1d(values)
    values = values[np.isnan(values[:1]).sum() :]  # a column may have a heading
    bad = ~np.isfinite(values)
    if bad.any():
        parser.error(f"--data {data}: --column {column} has no number in place"
                     f" {np.argmax(bad) + 1}")
    if len(values) and not 0 < np.std(values) < np.inf:
        parser.error(f"--data {data}: its numbers are all the same, or too large")
    return values


if data != "waves":
    own_series = read_series()
    series_length = len(own_series)
held_out = series_length // 5  # the last part, which training never sees
known = series_length - held_out
num_batches = (known - number_of_features) // batch_size // number_of_steps
if num_batches < 1:
    parser.error(f"the {known} values to learn from do not fill one such batch")
if period >= known:
    parser.error(f"--period {period} is longer than the {known} values to learn from")
if predictions_file:
    check_file("predictions", predictions_file, ".npz")

# %% From TensorFlow 2.16 on, cells are in another package. Skip it at first.
try:
    _ = tf.nn.rnn_cell.GRUCell
except ImportError:
    sys.exit("TensorFlow's RNN cells need one more: python -m pip install tf_keras")


# %% RNN Architecture
# The article's batch: lines of a series, each begun one value later. A line has
# number_of_steps steps, and a step takes in number_of_features values.
def sliding_window(values, width):
    """Return all stretches of that width, each begun one value later: [many, width]."""
    return np.array([values[i : i + width] for i in range(len(values) - width + 1)])


width = number_of_steps * number_of_features  # of a line
batch = sliding_window(np.arange(1, batch_size + width), width)
batch = batch.reshape(batch_size, number_of_steps, number_of_features)
print("The batch (Fig 01)", *batch.tolist(), sep="\n  ")


# %% Processing a batch
# A line is read step by step, and the state that a step makes goes into the next one.
# The last one is all that is left of the line.
def process_batch(kernel, bias):
    """Return all states, [batch_size, 1 + number_of_steps, rnn_size]."""
    S = np.zeros((batch_size, rnn_size))  # S_initial
    states = [S]
    for t in range(number_of_steps):
        # The article takes line after line. No line needs another: all go side by side.
        _, _, S = process_step(batch[:, t], S, kernel, bias)
        states.append(S)
    return np.stack(states, axis=1)


# %% Processing a single line of input
# This is all there is to the cell: the new state is made of the input and of the old
# state, by the same weights at each step.
def process_step(x, S, kernel, bias):
    """Return i_w x, h_w S and the new state they make: Fig 04 and Fig 06.

    x: [batch_size, number_of_features]; S and what is returned: [batch_size, rnn_size];
    kernel: [number_of_features + rnn_size, rnn_size], i_w above h_w; bias: [rnn_size].
    """
    i_w, h_w = kernel[:number_of_features], kernel[number_of_features:]
    i_w_x = x @ i_w
    h_w_S = S @ h_w
    return i_w_x, h_w_S, np.tanh(i_w_x + h_w_S + bias)


# %% Coming back to the 2 lines of code
# TensorFlow's two lines do the same. The walk by hand stands below beside their
# numbers, and what the article says of them is checked.
tf.reset_default_graph()  # to run cells again, begin with this one
tf.set_random_seed(seed)
np.random.seed(seed)
with tf.name_scope("The_2_lines_of_code"):  # tf.contrib.rnn is tf.nn.rnn_cell today
    # None is any number: of a batch's lines and steps, or one line as long as a series.
    inputs = tf.placeholder(tf.float32, [None, None, number_of_features])
    cell = tf.nn.rnn_cell.BasicRNNCell(rnn_size, activation=tf.nn.tanh)
    S_initial = cell.zero_state(tf.shape(inputs)[0], tf.float32)  # or what is fed
    # [batch_size, number_of_steps, rnn_size] and [batch_size, rnn_size]
    val1, state = tf.nn.dynamic_rnn(cell, inputs, initial_state=S_initial)

# TensorFlow has one kernel, i_w above h_w, and one bias: i_b and h_b only ever count as
# their sum. Much larger weights would drive most of the tanh to -1 or 1.
limit = min(6 / number_of_features / batch.max(), 1.5 / np.sqrt(rnn_size))
kernel = np.random.uniform(-limit, limit, [number_of_features + rnn_size, rnn_size])
bias = np.random.uniform(-limit, limit, [rnn_size])
states = process_batch(kernel, bias)  # [batch_size, 1 + number_of_steps, rnn_size]

# One thread: operations this small take less time than handing them to another does.
config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=-1)
with tf.Session(config=config) as sess:
    sess.run([w.assign(value) for w, value in zip(cell.weights, [kernel, bias])])
    # _name holds the value that name has for this batch.
    _val1, _state = sess.run([val1, state], {inputs: batch})
    _val1_reversed = sess.run(val1, {inputs: batch[::-1]})

print("\nThe first line by hand, step by step; each unit has its column")
for t in range(min(5, number_of_steps)):
    i_w_x, h_w_S, new_S = process_step(batch[:, t], states[:, t], kernel, bias)
    print("Time step", f"t+{t}:" if t else "t:", "x =", batch[0, t])
    for name, values in [
        ("i_w x", i_w_x[0]), ("h_w S", h_w_S[0]), ("bias", bias),
        ("sum", i_w_x[0] + h_w_S[0] + bias), ("new S = tanh(sum)", new_S[0]),
        ("TensorFlow's val1", _val1[0, t]),
    ]:
        print(f"  {name:18}" + "".join(f"{value:9.4f}" for value in values[:7]))

print("\nThe arrays on the way")
for name, array in [
    ("inputs: lines, steps, features", batch), ("kernel: i_w above h_w", kernel),
    ("bias: i_b and h_b in one", bias), ("val1: lines, steps, units", _val1),
    ("state: lines, units", _state),
]:
    print(f"  {name:34}{array.shape}")
print(f"  {kernel.size + bias.size} parameters = {number_of_features} x {rnn_size} of"
      f" i_w + {rnn_size} x {rnn_size} of h_w + {rnn_size} of the bias")

# TensorFlow computes with about 7 digits, and a sum has many terms that are rounded.
tolerance = 1e-5


def check(claim, one, other, are_same=True):
    """Print the largest difference of two arrays, and whether the claim is so."""
    difference = abs(one - other).max()
    is_so = difference < tolerance if are_same else difference > tolerance
    print(f"  {difference:7.1e} {'yes' if is_so else 'NO':4}{claim}")


print("\nIs it so? The largest difference over all lines, steps and units")
check("val1 is this walk over all lines", _val1, states[:, 1:])
h_w_first = process_batch(np.roll(kernel, -rnn_size, axis=0), bias)
check("... and is not, were the kernel h_w above i_w", _val1, h_w_first[:, 1:],
      are_same=False)
check("val1[:, -1] is state: no output weights", _val1[:, -1], _state)
check("val1[::-1] is val1 of inputs[::-1]: no line waits for another", _val1[::-1],
      _val1_reversed)

# %% Time-series forecasting
# What is that good for? A layer on top of the states forecasts a series' next value;
# naive forecasts tell how good it is.

# Two waves, of 24 and 168 steps, and noise that no forecast can know.
angle = 2 * np.pi * np.arange(series_length)
waves = 20 + 5 * np.sin(angle / 24) + 2 * np.sin(angle / 168)
series = waves + np.random.RandomState(seed).randn(series_length)  # whatever the sizes
if data != "waves":
    series = own_series
mean, scale = series[:known].mean(), series[:known].std()
scaled = (series - mean) / scale
# A step's features are the last few values, its target is the next one.
windows = sliding_window(scaled, number_of_features + 1)
# A row is a consecutive stretch of windows, and the next row goes on from there.
rows = windows[: batch_size * num_batches * number_of_steps]
rows = rows.reshape(batch_size, num_batches * number_of_steps, number_of_features + 1)
print("\nA series to learn from: lines, steps, features and target", rows.shape)
print("It is scaled to a variance of 1: that is the loss of forecasting the mean")


def held_out_error(forecast):
    """Return its root mean square error on the part held out, in the series' unit."""
    return scale * np.sqrt(np.mean((forecast[-held_out:] - scaled[-held_out:]) ** 2))


known_windows = windows[:-held_out]
fit = np.linalg.lstsq(known_windows[:, :-1], known_windows[:, -1], rcond=None)[0]
all_errors = {
    "the value before": held_out_error(windows[:, -2]),
    f"a fit to {number_of_features} values": held_out_error(windows[:, :-1] @ fit),
}
if period:
    all_errors[f"the value {period} steps ago"] = held_out_error(scaled[:-period])
if data == "waves":
    all_errors["the waves themselves"] = held_out_error((waves - mean) / scale)

with tf.name_scope("Time-series_forecasting"):
    # Fig 05 and Fig 07, which are no part of the cell.
    O_w = tf.get_variable("O_w", [rnn_size, 1])
    O_b = tf.get_variable("O_b", [1], initializer=tf.zeros_initializer())
    Output = tf.tensordot(val1, O_w, 1)[:, :, 0] + O_b  # [batch_size, number_of_steps]
    targets = tf.placeholder(tf.float32, [None, None])
    loss = tf.reduce_mean(tf.squared_difference(Output, targets))
    train_step = tf.train.AdamOptimizer(learning_rate).minimize(loss)


num_ahead = min(72, held_out)


def run_ahead(past):
    """Return the forecasts after the past, each made from those before: [num_ahead]."""
    values, feed = past, {inputs: [sliding_window(past, number_of_features)]}
    for _ in range(num_ahead):
        _Output, feed[S_initial] = sess.run([Output, state], feed)
        values = np.append(values, _Output[0, -1])
        feed[inputs] = [[values[-number_of_features:]]]
    return values[-num_ahead:]


# %% How far back a forecast looks
# One lens for all scripts: the length of d(an answer) / d(each input). The answer is
# here the forecast after a line's last step, an input what one of its steps takes in.
with tf.name_scope("How_far_back_it_looks"):
    (pull,) = tf.gradients(Output[:, -1], inputs)

line_length = min(30, len(windows))
ends = np.linspace(line_length, len(windows), 50).astype(int)
lines = np.array([windows[end - line_length : end, :-1] for end in ends])


def looks_back():
    """Return those lengths, [line_length], the last step's first: means of 50 lines."""
    return np.linalg.norm(sess.run(pull, {inputs: lines}), axis=2).mean(axis=0)[::-1]


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


# %% The picture: Fig 02, Fig 03 and the forecast
picture = LivePicture("rnn_internals", plot_file, (12, 6.3))
figure = picture.figure
axes = figure.add_axes([0.05, 0.09, 0.24, 0.31], xlabel="epoch", xlim=(0, num_epochs))
axes.set_title("Root mean square error, held out", size=11)
axes.set_ylim(0, 2.2 * max(all_errors.values()))
for (name, value), style in zip(all_errors.items(), [":", "-.", "--", "-"]):
    axes.axhline(value, color="gray", ls=style, lw=1, label=name)
(error_line,) = axes.plot([], [], label="the network")
axes.legend(fontsize=8, loc="upper right")
lens_axes = figure.add_axes([0.35, 0.09, 0.18, 0.31], yscale="log", ylim=(1e-4, 3))
lens_axes.set_title("How far back it looks", size=11)
lens_axes.set(xlabel="steps back", xlim=(-0.5, line_length - 0.5))
(lens_line,) = lens_axes.plot([], [], "o-", ms=3)
lens_axes.axvline(number_of_steps - 0.5, color="gray", ls=":", lw=1,
                  label="gradients in training\nend at the latest here")
lens_axes.legend(fontsize=8, loc="upper right")
forecast_axes = figure.add_axes([0.59, 0.09, 0.4, 0.31])
forecast_axes.set_xlabel("steps from the last known one")
around = np.arange(1 - min(72, known), num_ahead + 1)
forecast_axes.plot(around, series[known + around - 1], "lightgray", label="series")
if data == "waves":
    without_noise = waves[known + around - 1]
    forecast_axes.plot(around, without_noise, "gray", label="without its noise")
(forecast_line,) = forecast_axes.plot([], [], "tab:red", label="forecast")
forecast_axes.legend(loc="lower left", ncol=3, fontsize=8)
axes = figure.add_axes([0.01, 0.46, 0.98, 0.53], xlim=(-1.6, 5.4), ylim=(-0.3, 1.5))
axes.axis("off")
center = {"ha": "center", "va": "center"}
ahead, back = {"arrowstyle": "-|>"}, {"arrowstyle": "<|-"}


def draw_cell(x, its_input):
    for y, text, color in [(0.5, "cell", "moccasin"), (-0.15, its_input, "white")]:
        box = {"boxstyle": "round,pad=0.5", "facecolor": color}
        axes.text(x, y, text, bbox=box, **center)
    axes.annotate("", (x, 0.4), (x, -0.05), arrowprops=ahead)
    axes.text(x + 0.07, 0.2, "$i_w$", **center)
    axes.annotate("", (x - 0.12, 0.5), (x - 0.38, 0.5), arrowprops=ahead)
    axes.text(x - 0.25, 0.56, "$h_w$", **center)
    axes.annotate("", (x + 0.38, 0.5), (x + 0.12, 0.5), arrowprops=ahead)


axes.text(-1.5, 1.4, "Rolled, and unrolled with the numbers of the first line", size=13)
draw_cell(-1, "x")
axes.plot([-0.62, -0.62, -1.38, -1.38], [0.5, 0.9, 0.9, 0.5], "k", lw=1)
axes.annotate("val1", (-0.62, 0.9), (-0.62, 1.26), arrowprops=back, **center)
for t, S in enumerate(states[0, :6]):
    axes.pcolormesh([t - 0.12, t + 0.12], np.linspace(1, 0, rnn_size + 1), S[:, None],
                    cmap="RdBu_r", vmin=-1.5, vmax=1.5, edgecolor="gray", lw=0.5)
    for unit, value in enumerate(S if rnn_size <= 12 else []):
        axes.text(t, 1 - (unit + 0.5) / rnn_size, f"{value:.2f}", size=8, **center)
    name = ["initial", "t", f"t+{t - 1}"][min(t, 2)]
    axes.text(t, -0.11, f"$S_{{{name}}}$", **center)
for t, x in enumerate(batch[0, :5]):
    draw_cell(t + 0.5, str(x))
    axes.annotate(f"val1[0, {t}]", (t + 1, 1), (t + 1, 1.26), arrowprops=back, **center)


def measure(epochs):
    """Note the error of the network after so many epochs on the part held out."""
    # In 100 steps before that part, the state finds its way from zeros.
    past, outputs, feed = windows[-held_out - 100 :, :-1], [], {}
    for start in range(0, len(past), 100):
        feed[inputs] = [past[start : start + 100]]
        _Output, feed[S_initial] = sess.run([Output, state], feed)
        outputs.append(_Output[0])
        picture.flush_events()
    network_errors.append(held_out_error(np.concatenate(outputs)))
    epochs_measured.append(epochs)


def plot():
    """Draw the errors, how far it looks back, and its forecast of the part held out."""
    error_line.set_data(epochs_measured.copy(), network_errors.copy())
    lens_line.set_data(range(line_length), looks_back())
    forecast = run_ahead(scaled[max(known - number_of_features - 100, 0) : known])
    forecast_line.set_data(np.arange(1, num_ahead + 1), mean + scale * forecast)
    forecast_axes.set_title(f"Forecast on its own outputs, after {epochs:.1f} epochs",
                            size=11)
    picture.draw()


# %% Training
# Each sess.run goes on from the state in which the one before ended. Look at where the
# network comes in among the naive forecasts.
sess = tf.Session(config=config)  # stays open: play on with it
sess.run(tf.global_variables_initializer())  # not the small weights any more
log = EventLog(new_folder(os.path.join(logdir, "rnn_internals")) if logdir else "")
with picture:
    losses, network_errors, epochs_measured = [], [], []
    for epoch in tqdm(range(num_epochs), unit="epoch", disable=None):
        feed = {}  # an epoch's first state is zeros
        for batch_idx, stretch in enumerate(np.split(rows, num_batches, axis=1)):
            feed[inputs], feed[targets] = stretch[:, :, :-1], stretch[:, :, -1]
            _loss, _, feed[S_initial] = sess.run([loss, train_step, state], feed)
            if not np.isfinite(_loss):
                sys.exit(f"Loss {_loss}: try a smaller --learning_rate")
            log.add_point("loss", _loss, len(losses))
            losses.append(_loss)

            epochs = epoch + (batch_idx + 1) / num_batches
            is_tenth = epoch == 0 and batch_idx % (num_batches // 10 + 1) == 0
            is_measured = is_tenth or batch_idx == num_batches - 1
            if is_measured:
                measure(epochs)
            # Slow motion: in the first epochs the forecast finds the waves.
            if picture.is_due(is_measured and epochs <= 20) or epochs == num_epochs:
                plot()

        if epoch % 5 == 0 or epoch == num_epochs - 1:
            tqdm.write(f"Epoch {epoch + 1:2} loss {np.mean(losses[-num_batches:]):.4f}")

    all_errors["the network"] = network_errors[-1]
    print("\nRoot mean square errors of forecasts, one step ahead")
    for name in sorted(all_errors, key=all_errors.get):
        print(f"  {name:24}{all_errors[name]:6.2f}")

    forecast = mean + scale * run_ahead(scaled[-number_of_features - 100 :])
    shown = "  ".join(f"{value:.4g}" for value in forecast[:8])
    print("\nAfter the last value of all the network expects", shown)
    if predictions_file:
        write_file(predictions_file, np.savez, forecast=forecast)

# %% And today
# The two lines are deprecated: dynamic_rnn is keras.layers.RNN(cell) now, and still a
# loop over the time steps, tf.while_loop with TensorFlow, jax.lax.scan with JAX [1].
# jax.lax.scan is Fig 03 as a function: of a state and an input it makes the next state
# and an output, step after step [2]. On a GPU Keras hands a GRU, if nothing is changed
# in it, to NVIDIA's cuDNN instead of that loop [3]. PyTorch's nn.RNN has a second bias,
# though they only count as their sum: 84 parameters, not 77 [4]. In the M4 competition
# of forecasts, none of six entries of machine learning alone was better than a
# combination of classical ones [5]; the winner joined exponential smoothing to an LSTM
# [6].
#
# [1]: https://github.com/keras-team/keras
# [2]: https://docs.jax.dev/en/latest/_autosummary/jax.lax.scan.html
# [3]: https://keras.io/api/layers/recurrent_layers/gru/
# [4]: https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.rnn.RNN.html
# [5]: https://pure.unic.ac.cy/en/publications/the-m4-competition-results-findings-conclusion-and-way-forward
# [6]: https://doi.org/10.1016/j.ijforecast.2019.03.017
