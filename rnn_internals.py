"""RNN internals: what two lines of TensorFlow compute, step by step, and put to use.

The batch and the two lines of "All you need to know about RNNs" (Towards Data Science),
https://towardsdatascience.com/all-you-need-to-know-about-rnns-e514f0b00c7c, beside the
same by hand in numpy; then that network learns to forecast a time series. The first
cells have the article's headings; run the file as it is, or cell by cell.

    python rnn_internals.py                     # by hand, then a live window
    python rnn_internals.py --plot rnn.png      # no window, a picture in a file
    python rnn_internals.py --data FILE         # forecasts a series of your own

Expect states by hand that differ from TensorFlow's by less than 1e-6, then errors of
1.1 to 1.3 from the network, 1.5 to 1.9 from simple forecasts and 1 from noise: 10 s.
"""
# /// script
# requires-python = ">=3.9,<3.14"
# dependencies = ["tensorflow>=2.16,<3", "tf_keras>=2.16,<3", "matplotlib>=3.5", "tqdm"]
# ///
# %% Imports
import argparse
import csv
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
seed = flag("seed", 1, "the same seed gives the same numbers", low=0, high=2**32)
plot_file = flag("plot", "", "save the picture here and open no window")
logdir = flag("logdir", "", "write graph and losses here, for TensorBoard")
parser.add_argument("-h", "--help", action="help")
parser.parse_args(argv)  # refuses all others
os.makedirs(os.path.dirname(plot_file) or ".", exist_ok=True)


# %% RNN Architecture
# The article's batch: lines of a series, each begun one value later. A line has
# number_of_steps steps, and a step takes in number_of_features values.
def sliding_window(values, width):
    """Return all stretches of that width, each begun one value later: [many, width]."""
    return np.array([values[i : i + width] for i in range(len(values) - width + 1)])


in_a_line = number_of_steps * number_of_features
batch = sliding_window(np.arange(1, batch_size + in_a_line), in_a_line)
batch = batch.reshape(batch_size, number_of_steps, number_of_features)
print("The batch (Fig 01)", *batch.tolist(), sep="\n  ")

# Small weights, else inputs up to 20 would make most of the tanh -1 or 1.
i_limit = 3 / number_of_features / batch.max()
h_limit = 1.5 / np.sqrt(rnn_size)
np.random.seed(seed)
i_w = np.random.uniform(-i_limit, i_limit, [number_of_features, rnn_size])
h_w = np.random.uniform(-h_limit, h_limit, [rnn_size, rnn_size])
bias = np.random.uniform(-0.1, 0.1, [rnn_size])  # one is enough for i_b + h_b

# %% Processing a batch
# The article takes line after line. But no line needs another: here all go side by
# side. states[:, 0] is S_initial, zeros, and states[:, t + 1] the state after step t.
states = np.zeros((batch_size, 1 + number_of_steps, rnn_size))

# %% Processing a single line of input
# This is all there is to the cell: the new state is made of the input and of the old
# state, by the same weights at each step (Fig 04 and Fig 06). Its output is that state:
# the weights of Fig 05 and Fig 07 are no part of it.
print("\nThe first line by hand, step by step; each unit has its column")
np.set_printoptions(formatter={"float": "{:7.4f}".format}, linewidth=99,
                    threshold=8, edgeitems=4)
step_names = ["t", "t+1", "t+2", "t+3", "t+4"][:number_of_steps]  # the first are shown
for t in range(number_of_steps):
    i_w_x = batch[:, t] @ i_w  # [batch_size, rnn_size]
    h_w_S = states[:, t] @ h_w  # [batch_size, rnn_size]
    states[:, t + 1] = np.tanh(i_w_x + h_w_S + bias)

    if t < len(step_names):
        print(f"Time step {step_names[t]}: x =", batch[0, t])
        print("  i_w x            ", i_w_x[0])
        print("  h_w S            ", h_w_S[0])
        print("  bias             ", bias)
        print("  sum              ", i_w_x[0] + h_w_S[0] + bias)
        print("  new S = tanh(sum)", states[0, t + 1])

# %% Coming back to the 2 lines of code
# The same by TensorFlow, whose numbers are then compared with those by hand.
tf.reset_default_graph()  # to run cells again, begin with this one
tf.set_random_seed(seed)
with tf.name_scope("The_2_lines_of_code"):  # tf.contrib.rnn is tf.nn.rnn_cell today
    # None: a batch may have any number of lines, and they any number of steps.
    inputs = tf.placeholder(tf.float32, [None, None, number_of_features])
    cell = tf.nn.rnn_cell.BasicRNNCell(rnn_size, activation=tf.nn.tanh)
    # The article's dtype= begins with zeros. So does this, which can be fed, too.
    S_initial = cell.zero_state(tf.shape(inputs)[0], tf.float32)
    # [batch_size, number_of_steps, rnn_size] and [batch_size, rnn_size]
    val1, state = tf.nn.dynamic_rnn(cell, inputs, initial_state=S_initial)

# One thread: operations this small take less time than handing them to another does.
config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=-1)
sess = tf.Session(config=config)
kernel = np.concatenate([i_w, h_w])  # TensorFlow has both in one
sess.run([w.assign(value) for w, value in zip(cell.weights, [kernel, bias])])
_val1, _state = sess.run([val1, state], {inputs: batch})  # _name: the value of name

print("\nThe first line by TensorFlow, val1[0]; by hand it was new S",
      *_val1[0, :5], sep="\n  ")
print("\nShapes: inputs", batch.shape, "val1", _val1.shape, "state", _state.shape)
print(f"{kernel.size + bias.size} parameters: kernel {kernel.shape}, bias {bias.shape}")


def check(claim, one, other):
    """Print the largest difference of two arrays, and whether they are the same."""
    difference = abs(one - other).max()
    print(f"  {difference:7.1e} {'yes' if difference < 1e-5 else 'no':4}{claim}")


print("\nIs it so? The largest difference; TensorFlow computes with about 7 digits")
check("val1 has the states by hand, of all lines", _val1, states[:, 1:])
check("val1[:, -1] is state: the cell has no output weights", _val1[:, -1], _state)
check("the last line alone gives the same: no line needs another", _val1[-1:],
      sess.run(val1, {inputs: batch[-1:]}))

# %% A series to forecast
# Two waves, of 24 and 168 steps, and noise that no forecast can know.
angle = 2 * np.pi * np.arange(3000)
waves = 20 + 5 * np.sin(angle / 24) + 2 * np.sin(angle / 168)
series = waves + np.random.RandomState(seed).randn(3000)

# %% A series of your own. Skip it at first.
# It takes the place of the waves. Files have many forms: a line shows what was read.
if data != "waves":
    try:
        with open(data, encoding="utf-8-sig") as f:
            table = f.read()
        first_line = table.split("\n")[0]
        if ";" in first_line or "," not in first_line:  # there 20,88 may be a number
            table = table.replace(",", ".").replace(";", ",")
        texts = [row[column] for row in csv.reader(table.splitlines()) if row]
        try:
            float(texts[0])
            heading = "(no heading)"
        except ValueError:
            heading = repr(texts.pop(0))
        series = np.array([float(text) for text in texts])
        if not np.isfinite(series).all():
            raise ValueError("nan or inf are no numbers")
    except (OSError, ValueError, IndexError, csv.Error) as error:
        parser.error(f"--data {data} has no column {column} of numbers: {error}")
    print(f"\nColumn {column} {heading} of {data}: {len(series)} values,",
          *series[:4].tolist(), "…", series[-1])

# %% Time-series forecasting
# A layer on top of the states forecasts the series' next value. Simple forecasts tell
# how good it is.
held_out = len(series) // 5  # the last part, which training never sees
known = len(series) - held_out
num_batches = (known - number_of_features) // batch_size // number_of_steps
if (len(series) < 100 + number_of_features or num_batches < 1 or period >= known
        or np.ptp(series[:known]) == 0):
    parser.error(f"{len(series)} values are too few, or all the same: it takes at least"
                 " 100 + number_of_features, a batch and --period in four fifths")
mean, scale = series[:known].mean(), series[:known].std()
scaled = (series - mean) / scale
# Not as in Fig 01: a step takes in the last few values, one value later than the step
# before it did. Its target is the next value.
windows = sliding_window(scaled, number_of_features + 1)
# A row is a consecutive stretch of windows, and the next row goes on from there.
rows = windows[: batch_size * num_batches * number_of_steps]
rows = rows.reshape(batch_size, num_batches, number_of_steps, number_of_features + 1)

with tf.name_scope("Time-series_forecasting"):
    # Fig 05 and Fig 07
    O_w = tf.get_variable("O_w", [rnn_size, 1])
    O_b = tf.get_variable("O_b", [1], initializer=tf.zeros_initializer())
    Output = tf.tensordot(val1, O_w, 1)[:, :, 0] + O_b  # [batch_size, number_of_steps]
    targets = tf.placeholder(tf.float32, [None, None])
    loss = tf.reduce_mean(tf.squared_difference(Output, targets))
    train_step = tf.train.AdamOptimizer(learning_rate).minimize(loss)


def held_out_error(forecast):
    """Return a forecast's root mean square error on the part held out."""
    return np.sqrt(np.mean((forecast[-held_out:] - series[-held_out:]) ** 2))


fit = np.linalg.lstsq(windows[:-held_out, :-1], windows[:-held_out, -1], rcond=None)[0]
all_errors = {
    "the value before": held_out_error(series[:-1]),
    f"a fit to {number_of_features} values": held_out_error(
        mean + scale * (windows[:, :-1] @ fit)),
}
if period:
    all_errors[f"the value {period} steps ago"] = held_out_error(series[:-period])
if data == "waves":
    all_errors["the waves themselves"] = held_out_error(waves)

num_ahead = min(72, held_out)


def run_ahead(past):
    """Return num_ahead forecasts, each made from those before; the past is scaled."""
    values = past
    feed = {inputs: [sliding_window(past, number_of_features)]}
    for _ in range(num_ahead):
        _Output, _state = sess.run([Output, state], feed)
        values = np.append(values, _Output[0, -1])
        feed = {inputs: [[values[-number_of_features:]]], S_initial: _state}
    return mean + scale * values[-num_ahead:]


# %% How far back it looks
# One lens for all scripts: the length of d(an answer) / d(each input). The answer is
# here the forecast after a line's last step, an input what one of its steps takes in.
# The first half of each stretch leads away from the zeros that it begins with.
starts = range(0, len(windows) - 59, len(windows) // 50)
stretches = [windows[i : i + 60, :-1] for i in starts]  # each [60, number_of_features]
with tf.name_scope("How_far_back_it_looks"):
    # Of the sum over the lines, but no line needs another.
    (pull,) = tf.gradients(Output[:, -1], inputs)
    looks_back = tf.reduce_mean(tf.norm(pull, axis=2), axis=0)[::-1]  # the last first


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


# %% The picture: Fig 02, Fig 03 and the forecast
picture = LivePicture("rnn_internals", (12, 6.3))
axes = picture.figure.subplot_mosaic(
    [["unrolled"] * 3, ["error", "lens", "forecast"]],
    gridspec_kw={"left": 0.04, "right": 0.98, "top": 0.95, "bottom": 0.09,
                 "height_ratios": [5, 3], "width_ratios": [4, 3, 7]})
unrolled = axes["unrolled"]
unrolled.set(xlim=(-1.6, 5.25), ylim=(-0.2, 1.4))
unrolled.axis("off")
unrolled.set_title("Rolled, and unrolled with the first line's numbers", loc="left")
center = {"ha": "center", "va": "center"}
arrow = {"arrowstyle": "-|>", "color": "black", "shrinkA": 0, "shrinkB": 0}


def draw_cell(at, its_input, output):
    # Arrows: its input, the state before, and the state after as the output.
    for start, end in [((at, -0.05), (at, 0.4)), ((at - 0.36, 0.5), (at - 0.12, 0.5)),
                       ((at + 0.5, 1.03), (at + 0.5, 1.26))]:
        unrolled.annotate("", end, start, arrowprops=arrow)
    unrolled.text(at, 0.5, "cell", **center,
                  bbox={"boxstyle": "round,pad=0.5", "facecolor": "moccasin"})
    for text_x, text_y, text in [(at, -0.12, its_input), (at + 0.07, 0.2, "$i_w$"),
                                 (at - 0.25, 0.57, "$h_w$"), (at + 0.5, 1.32, output)]:
        unrolled.text(text_x, text_y, text, **center)


draw_cell(-1, "x", "val1")
unrolled.plot([-0.88, -0.5, -0.5, -0.5, -1.5, -1.5, -1.36],  # back into itself
              [0.5, 0.5, 1.03, 0.8, 0.8, 0.5, 0.5], "k", lw=1)
for t in range(len(step_names)):
    draw_cell(t + 0.5, str(batch[0, t, :3]), f"val1[0, {t}]")
    unrolled.annotate("", (t + 0.86, 0.5), (t + 0.62, 0.5), arrowprops=arrow)
for t, name in enumerate(["initial", *step_names]):
    unrolled.text(t, -0.12, f"$S_{{{name}}}$", **center)
    for unit, value in enumerate(states[0, t, :7]):
        box = {"facecolor": plt.cm.RdBu_r(0.5 + value / 3), "pad": 5}
        unrolled.text(t, 0.93 - unit / 7, f"{value:5.2f}", size=8, family="monospace",
                      bbox=box, **center)

axes["error"].set(title="Root mean square error, held out", xlabel="epoch",
                  xlim=(0, num_epochs), ylim=(0, 2 * max(all_errors.values())))
for (name, value), style in zip(all_errors.items(), [":", "-.", "--", "-"]):
    axes["error"].axhline(value, color="gray", ls=style, lw=1, label=name)
(error_line,) = axes["error"].plot([], [], ".-", label="the network")
axes["lens"].set(title="How far back it looks", xlabel="steps back", yscale="log",
                 xlim=(-0.5, 29.5), ylim=(1e-4, 3))
(lens_line,) = axes["lens"].plot([], [], "o-", ms=3)
axes["lens"].axvline(number_of_steps - 0.5, color="gray", ls=":", lw=1,
                     label="in training no gradient\ngoes further back")
axes["forecast"].set_xlabel("steps from the last known one")
around = np.arange(-71, num_ahead + 1)
axes["forecast"].plot(around, series[known + around - 1], "lightgray", label="series")
if data == "waves":
    axes["forecast"].plot(around, waves[known + around - 1], "gray", label="its waves")
(forecast_line,) = axes["forecast"].plot([], [], "tab:red", label="forecast")
axes["error"].legend(fontsize=8, loc="upper right")
axes["lens"].legend(fontsize=8, loc="upper right")
axes["forecast"].legend(fontsize=8, loc="lower left", ncol=3)


def plot():
    error_line.set_data(range(1, len(network_errors) + 1), network_errors)
    lens_line.set_data(range(30), sess.run(looks_back, {inputs: stretches})[:30])
    forecast = run_ahead(scaled[:known][-number_of_features - 100 :])
    forecast_line.set_data(range(1, num_ahead + 1), forecast)
    axes["forecast"].set_title(
        f"Forecast on its own outputs, after {len(losses) / num_batches:.1f} epochs")
    picture.draw()


# %% Training
# From new weights. Each sess.run goes on from the state in which the one before ended.
sess.run([variable.initializer for variable in tf.global_variables()])
run_dir = os.path.join(logdir, f"rnn_internals_{time.time():.0f}")
writer = tf.summary.FileWriter(run_dir, sess.graph) if logdir else None
losses, network_errors = [], []
with picture:
    for epoch in tqdm(range(num_epochs), unit="epoch", disable=None):
        _state = np.zeros((batch_size, rnn_size))
        for batch_idx in range(num_batches):
            feed = {inputs: rows[:, batch_idx, :, :-1],
                    targets: rows[:, batch_idx, :, -1],
                    S_initial: _state}
            _loss, _, _state = sess.run([loss, train_step, state], feed)
            if not np.isfinite(_loss):
                sys.exit(f"Loss {_loss}: try a smaller --learning_rate")
            losses.append(_loss)
            if writer:
                point = tf.Summary.Value(tag="loss", simple_value=_loss)
                writer.add_summary(tf.Summary(value=[point]), len(losses))

            # In slow motion at first.
            if picture.is_due(epoch < 4 and batch_idx % 10 == 0):
                plot()

        # In 100 steps before the part held out, the state finds its way from zeros.
        _Output = sess.run(Output, {inputs: [windows[-held_out - 100 :, :-1]]})
        network_errors.append(held_out_error(mean + scale * _Output[0]))
        if epoch % 5 == 0 or epoch == num_epochs - 1:
            tqdm.write(f"Epoch {epoch + 1:2} loss {np.mean(losses[-num_batches:]):.4f}"
                       f" error {network_errors[-1]:.2f}")

    plot()
    all_errors["the network"] = network_errors[-1]
    print("\nRoot mean square errors of forecasts, one step ahead, held out")
    for name in sorted(all_errors, key=all_errors.get):
        print(f"  {name:24}{all_errors[name]:6.2f}")
    forecast = run_ahead(scaled[-number_of_features - 100 :])
    shown = "  ".join(f"{value:.4g}" for value in forecast[:8])
    print("\nAfter the last value of all the network expects", shown)
