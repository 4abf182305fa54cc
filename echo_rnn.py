"""Echo-RNN: a recurrent network learns to repeat its input, echo_step steps late.

The program of "How to build a Recurrent Neural Network in TensorFlow (1/7)" by Erik
Hallström, https://medium.com/@erikhallstrm/hello-world-rnn-83cd7105b767. Most cells
have the article's headings; run the file as it is, or cell by cell in an editor.

    python echo_rnn.py                                  # watch it learn, in a window
    python echo_rnn.py --num_epochs 3 --plot echo.png   # no window, a picture in a file

Expect a loss of 0.7 to 1.1 at first and below 0.02 at the end of the first or second
epoch (40 of 40 seeds, benchmarks/echo_rnn_seeds.py). All 100 take about a minute on 2
CPU cores.
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
# The article's constants, under its names. Each is a flag, too: --echo_step 5.
num_epochs = flag("num_epochs", 100, "how often new data is made and gone through")
total_series_length = flag("total_series_length", 50000, "time steps in that data")
truncated_backprop_length = flag("truncated_backprop_length", 15, "steps in a batch")
state_size = flag("state_size", 4, "numbers in which the network remembers")
num_classes = flag("num_classes", 2, "different inputs and echoes: 2 are bits", low=2)
echo_step = flag("echo_step", 3, "time steps from an input to its echo")
batch_size = flag("batch_size", 5, "rows of the data, all learned at the same time")
learning_rate = flag("learning_rate", 0.3, "of Adagrad", low=1e-9)
# Not the article's:
lowest_weight = flag("lowest_weight", -1.0, "the first weights lie from here to 1", -99)
seed = flag("seed", 1, "the same seed gives the same numbers", low=0, high=2**32)
plot_file = flag("plot", "", "save the picture here and open no window")
logdir = flag("logdir", "", "write graph and losses here, for TensorBoard")
parser.add_argument("-h", "--help", action="help")
parser.parse_args(argv)  # refuses all others
os.makedirs(os.path.dirname(plot_file) or ".", exist_ok=True)

num_batches = total_series_length // batch_size // truncated_backprop_length
if total_series_length % batch_size or num_batches == 0:
    parser.error("--batch_size must divide --total_series_length into rows of at least"
                 " --truncated_backprop_length steps")

# %% Generate data
# Random bits and their echo, echo_step later, new in each epoch. The series is cut into
# batch_size rows, which are learned side by side.
def generateData():
    """Return random classes x and their echo y, both int [batch_size, row_length]."""
    x = np.random.choice(num_classes, total_series_length)
    y = np.roll(x, echo_step)
    y[0:echo_step] = 0  # np.roll wrapped the end of x round to here

    # Row i + 1 continues row i: its first echoes are of bits that end row i.
    return x.reshape((batch_size, -1)), y.reshape((batch_size, -1))


np.random.seed(seed)  # to run cells again, begin with this one

# %% Building the computational graph
# The next cells only say what is computed from what. Numbers come when a session runs
# this graph: sess.run, in the last cell.
tf.reset_default_graph()

# %% Variables and placeholders
# Placeholders are fed in each run, variables are learned. W leads from an input and a
# state to the next state, W2 from a state to its echo.
with tf.name_scope("Variables_and_placeholders"):
    batch_shape = [batch_size, truncated_backprop_length]
    batchX_placeholder = tf.placeholder(tf.float32, batch_shape)
    batchY_placeholder = tf.placeholder(tf.int32, batch_shape)
    init_state = tf.placeholder(tf.float32, [batch_size, state_size])

    # The article's first weights, from 0 to 1, are all positive: it often learns late.
    W_values = np.random.uniform(lowest_weight, 1, (state_size + 1, state_size))
    W = tf.Variable(W_values, dtype=tf.float32)
    b = tf.Variable(np.zeros((1, state_size)), dtype=tf.float32)
    W2_values = np.random.uniform(lowest_weight, 1, (state_size, num_classes))
    W2 = tf.Variable(W2_values, dtype=tf.float32)
    b2 = tf.Variable(np.zeros((1, num_classes)), dtype=tf.float32)

# %% Unpacking
# A batch is taken apart into its time steps, since the network takes in one at a time.
with tf.name_scope("Unpacking"):  # tf.unpack is tf.unstack today
    inputs_series = tf.unstack(batchX_placeholder, axis=1)  # each [batch_size]
    labels_series = tf.unstack(batchY_placeholder, axis=1)  # each [batch_size]

# %% Forward pass
# The recurrent network itself: at each step the same formula. The state that comes out
# goes into the next step, and is all that it remembers.
with tf.name_scope("Forward_pass"):
    current_state = init_state
    states_series = []  # each [batch_size, state_size]
    for current_input in inputs_series:
        current_input = tf.reshape(current_input, [batch_size, 1])
        input_and_state_concatenated = tf.concat([current_input, current_state], 1)
        next_state = tf.tanh(tf.matmul(input_and_state_concatenated, W) + b)
        states_series.append(next_state)
        current_state = next_state

# %% Calculating loss
# From each state its echo is predicted. The loss is the cross-entropy: - ln of the
# right echo's probability. Its gradients go back through all states of the batch, and
# end at init_state, which is a placeholder: that is truncated backpropagation.
with tf.name_scope("Calculating_loss"):
    # Not lists, as in the article, but one product of all steps: the same, sooner.
    # [truncated_backprop_length, batch_size, state_size]
    states = tf.stack(states_series)
    # [truncated_backprop_length, batch_size, num_classes]
    logits_series = tf.matmul(states, W2) + b2
    predictions_series = tf.nn.softmax(logits_series)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        logits=logits_series, labels=tf.stack(labels_series))
    total_loss = tf.reduce_mean(losses)
    train_step = tf.train.AdagradOptimizer(learning_rate).minimize(total_loss)

# %% What an echo hangs on
# One lens for all scripts: the length of d(an answer) / d(each input). An answer is
# here the margin by which the network's choice leads over its second one.
with tf.name_scope("What_an_echo_hangs_on"):
    top_logits = tf.nn.top_k(logits_series, 2).values
    margins = top_logits[:, :, 0] - top_logits[:, :, 1]
    echo_of_step = tf.placeholder(tf.int32, [])
    # Of the rows' sum. But they know nothing of each other: it is each row's own.
    gradient = tf.gradients(margins[echo_of_step], batchX_placeholder)[0]


def hangs_on(feed_dict):
    """Return how much each echo hangs on each input: [echo, input], a mean of rows."""
    gradients = [sess.run(gradient, {**feed_dict, echo_of_step: step})
                 for step in range(truncated_backprop_length)]
    return np.abs(gradients).mean(axis=1)


# %% What the state remembers
# How much of the input so many steps ago can be read off the state? A linear probe
# tells: the share of its variance that a regression explains, R2. Once it has learned,
# that is near 1 up to echo_step, and near 0 for what is older.
lags = range(echo_step + 4)


def remembered(x, epoch_states):
    """Return R2 for each lag; half of the last 300 steps are fitted to, half tell.

    x: [batch_size, row_length]; epoch_states: [steps so far, batch_size, state_size].
    """
    last = len(epoch_states)
    first = max(lags[-1], last - 300)
    if last - first < 50:
        return np.zeros(len(lags))  # too few to tell
    regressors = np.reshape(epoch_states[first:], (-1, state_size))  # a row for a state
    regressors = np.insert(regressors, 0, 1, axis=1)  # and a constant
    half = len(regressors) // 2

    shares = []
    for lag in lags:
        inputs = x[:, first - lag : last - lag].T.ravel()  # in the order of regressors
        fit = np.linalg.lstsq(regressors[:half], inputs[:half], rcond=None)[0]
        unexplained = inputs[half:] - regressors[half:] @ fit
        shares.append(max(0, 1 - np.mean(unexplained**2) / inputs[half:].var()))
    return shares


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


# %% Visualizing the training
picture = LivePicture("echo_rnn", (12, 6.3))
axes = picture.figure.subplot_mosaic(
    [["loss", 0, 1, "lens"], [2, 3, 4, "memory"]],
    gridspec_kw={"left": 0.05, "right": 0.98, "top": 0.87, "bottom": 0.22,
                 "wspace": 0.32, "hspace": 0.6, "width_ratios": [5, 5, 5, 6]})
axes["loss"].set(title="Loss, nats", xlabel="batch", yscale="log",
                 ylim=(1e-5, 3 * np.log(num_classes)))
axes["loss"].axhline(np.log(num_classes), color="gray", ls="--", lw=1,
                     label=f"guessing: ln {num_classes} = {np.log(num_classes):.3f}")
(loss_line,) = axes["loss"].plot([], [], lw=0.8, label="loss of a batch")
(first_line,) = axes["loss"].plot([], [], ".", label="loss of an epoch's first batch")

bars = []  # of each series shown: input, echo to learn, echo of the network
for batch_series_idx in range(5):
    axes[batch_series_idx].set(
        title=f"Series {batch_series_idx + 1}", xlabel="time step", yticks=[],
        visible=batch_series_idx < batch_size,
        xlim=(0, truncated_backprop_length), ylim=(0, 1.2 * (num_classes - 1)))
    bars.append([
        axes[batch_series_idx].stairs(
            np.zeros(truncated_backprop_length), fill=True, color=color, label=label)
        for color, label in [("blue", "input"), ("red", "echo to learn"),
                             ("green", "echo of the network")]])

axes["lens"].set(title="Which inputs an echo hangs on", xlabel="input of time step",
                 ylabel="echo of time step",
                 xlim=(-echo_step, truncated_backprop_length))
no_gradient = axes["lens"].axvspan(
    -echo_step, 0, color="lightgray", lw=0, label="no gradient")
lens_image = axes["lens"].imshow(
    np.zeros((1, 1)), cmap="magma", vmax=1, aspect="auto",
    extent=(0, truncated_backprop_length, truncated_backprop_length, 0))
(wanted_line,) = axes["lens"].plot(
    [-echo_step, truncated_backprop_length - echo_step],
    [0, truncated_backprop_length], "r:", label="what to echo")

axes["memory"].set(title="What the state remembers", ylim=(0, 1), yticks=[0, 0.5, 1],
                   xlabel="the input of so many steps ago", ylabel="share explained")
memory_bars = axes["memory"].bar(
    lags, np.zeros(len(lags)),
    color=["red" if lag == echo_step else "gray" for lag in lags])
picture.figure.legend(
    handles=[*axes["loss"].lines, *bars[0], no_gradient, wanted_line], ncol=4,
    loc="lower center", frameon=False, fontsize=9,
    title="It has learned when green stands just where red does.")


def plot(loss_list, predictions_series, batchX, batchY, gradients, shares):
    epoch_idx, batch_idx = divmod(len(loss_list) - 1, num_batches)
    single_output_series = np.argmax(predictions_series, axis=2)  # [step, series]
    num_right = np.sum(single_output_series == batchY.T)
    picture.figure.suptitle(
        f"Epoch {epoch_idx}, batch {batch_idx}: {num_right} of {batchY.size} echoes"
        f" right, loss {loss_list[-1]:.2g}", x=0.05, ha="left", size=14)

    loss_line.set_data(range(len(loss_list)), loss_list)
    first_line.set_data(range(0, len(loss_list), num_batches), loss_list[::num_batches])
    axes["loss"].set_xlim(0, max(300, len(loss_list)))
    for batch_series_idx, (blue, red, green) in enumerate(bars[:batch_size]):
        blue.set_data(batchX[batch_series_idx, :])
        red.set_data(batchY[batch_series_idx, :] * 0.5)
        green.set_data(single_output_series[:, batch_series_idx] * 0.3)
    lens_image.set_data(gradients / gradients.max())
    for bar, share in zip(memory_bars, shares):
        bar.set_height(share)
    picture.draw()


# %% Running a training session
# Each run learns from a batch and returns the state, which the next run is fed: so
# memory goes on where gradients end. The first batch of each epoch costs more again:
# rows 2 to 5 begin with echoes of bits not seen.

# One thread: operations this small take less time than handing them to another does.
config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=-1)
sess = tf.Session(config=config)
sess.run(tf.global_variables_initializer())  # was initialize_all_variables
run_dir = os.path.join(logdir, f"echo_rnn_{time.time():.0f}")
writer = tf.summary.FileWriter(run_dir, sess.graph) if logdir else None
loss_list = []
with picture:
    for epoch_idx in tqdm(range(num_epochs), unit="epoch", disable=None):
        x, y = generateData()
        _current_state = np.zeros((batch_size, state_size))
        epoch_states = []
        tqdm.write(f"New data, epoch {epoch_idx}")

        for batch_idx in range(num_batches):
            start_idx = batch_idx * truncated_backprop_length  # the window slides on
            end_idx = start_idx + truncated_backprop_length
            batchX = x[:, start_idx:end_idx]  # [batch_size, truncated_backprop_length]
            batchY = y[:, start_idx:end_idx]  # [batch_size, truncated_backprop_length]

            feed_dict = {
                batchX_placeholder: batchX,
                batchY_placeholder: batchY,
                init_state: _current_state,
            }
            # _name: the value of name in this run.
            _total_loss, _, _current_state, _predictions_series, _states = sess.run(
                [total_loss, train_step, current_state, predictions_series, states],
                feed_dict)

            if not np.isfinite(_total_loss):
                sys.exit(f"Loss {_total_loss}: try a smaller --learning_rate")
            loss_list.append(_total_loss)
            epoch_states.extend(_states)
            if writer:
                point = tf.Summary.Value(tag="total_loss", simple_value=_total_loss)
                writer.add_summary(tf.Summary(value=[point]), len(loss_list))
            if batch_idx % 100 == 0:
                tqdm.write(f"Step {batch_idx} Loss {_total_loss:.6f}")
            # In slow motion, each second batch, until it has learned or 300 are over.
            is_slow = len(loss_list) <= 300 and np.mean(loss_list[-10:]) > 0.02
            is_last = len(loss_list) == num_epochs * num_batches
            if picture.is_due(is_slow and batch_idx % 2 == 0) or is_last:
                plot(loss_list, _predictions_series, batchX, batchY,
                     hangs_on(feed_dict), remembered(x, epoch_states))
