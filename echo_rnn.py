"""Echo-RNN: a recurrent network learns to repeat its input, echo_step steps late.

The program of "How to build a Recurrent Neural Network in TensorFlow (1/7)" by Erik
Hallström, https://medium.com/@erikhallstrm/hello-world-rnn-83cd7105b767. The cells have
the article's headings; run the file as it is, or cell by cell in an editor or notebook.

    python echo_rnn.py                                  # watch it learn, in a window
    python echo_rnn.py --num_epochs 3 --plot echo.png   # no window, a picture in a file

Expect a loss of about 0.7 at first and below 0.02 after 1 or 2 epochs (40 of 40 seeds,
benchmarks/echo_rnn_seeds.py). All 100 epochs take less than a minute on 2 CPU cores.
"""
# /// script
# requires-python = ">=3.9,<3.14"
# dependencies = ["tensorflow>=2.16,<3", "tf_keras>=2.16,<3", "matplotlib>=3.5", "tqdm"]
# ///
# %% Imports
import argparse
import collections
import contextlib
import os
import signal
import sys
import time
import warnings

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
num_epochs = flag("num_epochs", 100, "how often new data is made and gone through")
total_series_length = flag("total_series_length", 50000, "time steps in that data")
truncated_backprop_length = flag("truncated_backprop_length", 15, "steps in a batch")
state_size = flag("state_size", 4, "numbers in which the network remembers")
num_classes = flag("num_classes", 2, "different inputs: 2 are bits", low=2)
echo_step = flag("echo_step", 3, "time steps from an input to its echo")
batch_size = flag("batch_size", 5, "rows of the data, all learned at the same time")
learning_rate = flag("learning_rate", 0.3, "of Adagrad", low=1e-9)
# Not the article's:
stride = flag("stride", truncated_backprop_length, "time steps to the next batch")
lowest_weight = flag("lowest_weight", -1.0, "the first weights lie from here to 1", -99)
seed = flag("seed", 1, "the same seed gives the same numbers", low=0, high=2**32)
plot_file = flag("plot", "", "save the picture here and open no window")
logdir = flag("logdir", "", "write graph and losses here, for TensorBoard")
server = flag("server", "", "grpc://host:port of a tf.train.Server to compute on")

row_length = total_series_length // batch_size
num_batches = (row_length - truncated_backprop_length) // stride + 1
if row_length * batch_size < total_series_length:
    parser.error(f"--batch_size must divide the {total_series_length} time steps")
if max(truncated_backprop_length, echo_step + 1) > row_length:
    parser.error(f"a row of the data has {row_length} time steps only")
if stride > truncated_backprop_length:
    parser.error("--stride is above --truncated_backprop_length")

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
sys.stdout = sys.stdout or open(os.devnull, "w")  # None: closed by `>&-` or pythonw
sys.stderr = sys.stderr or open(os.devnull, "w")


# %% Generate data
def generateData():
    """Return random classes x and their echo y, both int [batch_size, row_length]."""
    x = np.random.choice(num_classes, total_series_length)
    y = np.roll(x, echo_step)
    y[0:echo_step] = 0  # np.roll wrapped the end of x round to here

    # Row i + 1 continues row i: its first echoes are of bits that end row i.
    x, y = x.reshape((batch_size, -1)), y.reshape((batch_size, -1))
    return x, y


# %% Building the computational graph
tf.reset_default_graph()  # from here on, cells can be run again as often as you like
np.random.seed(seed)

# %% Variables and placeholders
with tf.name_scope("Variables_and_placeholders"):
    batch_shape = [batch_size, truncated_backprop_length]
    batchX_placeholder = tf.placeholder(tf.float32, batch_shape)
    batchY_placeholder = tf.placeholder(tf.int32, batch_shape)
    init_state = tf.placeholder(tf.float32, [batch_size, state_size])

    # The article's first weights, from 0 to 1, are all positive: many seeds learn late.
    W_values = np.random.uniform(lowest_weight, 1, (state_size + 1, state_size))
    W = tf.Variable(W_values, dtype=tf.float32)
    b = tf.Variable(np.zeros((1, state_size)), dtype=tf.float32)
    W2_values = np.random.uniform(lowest_weight, 1, (state_size, num_classes))
    W2 = tf.Variable(W2_values, dtype=tf.float32)
    b2 = tf.Variable(np.zeros((1, num_classes)), dtype=tf.float32)

# %% Unpacking
with tf.name_scope("Unpacking"):  # tf.unpack is tf.unstack today
    inputs_series = tf.unstack(batchX_placeholder, axis=1)  # each [batch_size]
    labels_series = tf.unstack(batchY_placeholder, axis=1)  # each [batch_size]

# %% Forward pass
with tf.name_scope("Forward_pass"):
    current_state = init_state
    states_series = []  # each [batch_size, state_size]
    for current_input in inputs_series:
        current_input = tf.reshape(current_input, [batch_size, 1])
        # [batch_size, 1 + state_size]
        input_and_state_concatenated = tf.concat([current_input, current_state], 1)
        next_state = tf.tanh(tf.matmul(input_and_state_concatenated, W) + b)
        states_series.append(next_state)
        current_state = next_state
    current_state = states_series[stride - 1]  # the last, unless --stride is less

# %% Calculating loss
with tf.name_scope("Calculating_loss"):
    # The article takes these steps one by one; all in one product are the same numbers
    # in fewer, larger operations.
    # [truncated_backprop_length, batch_size, state_size]
    states = tf.stack(states_series)
    logits_series = tf.matmul(states, W2) + b2
    predictions_series = tf.nn.softmax(logits_series)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        logits=logits_series, labels=tf.stack(labels_series))
    total_loss = tf.reduce_mean(losses)
    train_step = tf.train.AdagradOptimizer(learning_rate).minimize(total_loss)

# %% What the spikes cost
# An epoch begins with a state of zeros, which knows nothing of the inputs before. Their
# echoes, the first echo_step ones of each row, are 0 in the first row and such inputs
# in the others. The best on average is to guess each class as often as it comes: by
# default 3 of 15 echoes cost 0.673 nats each, a batch 0.135. (The batches after it cost
# more than they did before, since it has pulled at the weights for nothing.)
class_shares = np.full(num_classes, (batch_size - 1) / batch_size / num_classes)
class_shares[0] += 1 / batch_size
class_shares = class_shares[class_shares > 0]  # a single row has nothing but zeros
cost_of_a_guess = -np.sum(class_shares * np.log(class_shares))
first_floor = cost_of_a_guess * min(echo_step / truncated_backprop_length, 1)

# %% What the state remembers
lags = np.arange(8)  # time steps from an input to a state


def remembered(recent):
    """Return for each lag how much of the input so many steps ago a state tells.

    recent: of some batches, the data x, the batch's first step in it, and its states.
    Returns the share of the input's variance that a linear map of the state explains:
    1 if it gives the input exactly, 0 if it says nothing of it.
    """
    known, inputs = [], []
    for x, start_idx, _states in recent:
        known.append(_states.reshape(-1, state_size))
        steps = start_idx + np.arange(len(_states))
        of_lags = [x[:, steps - lag].T.ravel() for lag in lags]  # in the order of known
        inputs.append(np.transpose(of_lags))
    known, inputs = np.concatenate(known), np.concatenate(inputs)  # a row for a state
    known = np.insert(known, 0, 1, axis=1)  # the map may add a constant

    best_map = np.linalg.lstsq(known, inputs, rcond=None)[0]
    unexplained = inputs - known @ best_map
    return 1 - unexplained.var(axis=0) / inputs.var(axis=0)


# %% The same in every script: a live picture. Skip it at first.
class LivePicture:
    """A figure that follows a training: in a window, in a notebook, or else in a file.

    Drawing takes a fifth of the time at most, but for slow motion. Ctrl-C in its with
    block ends that block at the next redraw and keeps what there is. (Python's own way,
    to raise at once, fails where Tk is just calling us: it swallows the exception.)
    """

    def __init__(self, name, file, size):
        try:
            self.figure = (
                plt.Figure(size) if file else plt.figure(name, size, clear=True))
        except ImportError as error:  # of what MPLBACKEND asks for
            sys.exit(f"No window: {error}. Try --plot FILE, which needs none")
        self.file = file or name + ".png"
        self.window = self.figure.canvas.required_interactive_framework
        inline = "inline" in plt.get_backend() and "ipykernel" in sys.modules
        self.notebook = inline and not file
        if self.notebook:
            plt.close(self.figure)  # else it is shown where this cell ends, too

    def __enter__(self):
        self.next_time, self.interrupted = 0, False
        self.old_handler = signal.signal(signal.SIGINT, self.interrupt)
        if self.notebook:
            from IPython.display import display
            self.output = display(self.figure, display_id=True)
        elif self.window:
            plt.show(block=False)
        else:
            print("Picture in", self.file)
            self.save()
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


# %% Visualizing the training
picture = LivePicture("echo_rnn", plot_file, (12, 6))
figure = picture.figure
figure.subplots_adjust(0.07, 0.1, 0.98, 0.87, wspace=0.2, hspace=0.45)
headline = figure.suptitle("", x=0.06, ha="left", size=14)

loss_axes = figure.add_subplot(241, title="Loss, nats", xlabel="batch", yscale="log")
loss_axes.set_ylim(1e-5, 3 * np.log(num_classes))
loss_axes.axhline(np.log(num_classes), color="gray", ls="--", lw=1,
                  label=f"guessing: ln {num_classes} = {np.log(num_classes):.3f}")
loss_axes.axhline(first_floor, color="tab:orange", ls=":", lw=1,
                  label=f"first batch, best on average: {first_floor:.3f}")
(loss_line,) = loss_axes.plot([], [], lw=0.8, label="loss of a batch")
(first_line,) = loss_axes.plot([], [], ".", label="loss of an epoch's first batch")

memory_axes = figure.add_subplot(245, title="What the state remembers")
memory_axes.set(xlabel="the input of so many steps ago", xticks=lags)
memory_axes.set_ylabel("share of it explained")
memory_axes.set(ylim=(0, 1.02), yticks=[0, 0.5, 1])
colors = np.where(lags == echo_step, "red", "gray")  # red: what is to be echoed
memory_bars = memory_axes.bar(lags, np.zeros(len(lags)), color=colors)

bars, unseen = [], []
for batch_series_idx, place in zip(range(batch_size), [2, 3, 4, 6, 7]):
    axes = figure.add_subplot(2, 4, place, title=f"Series {batch_series_idx + 1}")
    axes.set(xlim=(0, truncated_backprop_length), ylim=(0, 1.2 * (num_classes - 1)))
    axes.set(xlabel="time step", yticks=[])
    axes.locator_params(axis="x", integer=True, nbins=5)
    edges = np.arange(truncated_backprop_length + 1)  # a step's bar ends at the next
    bars.append([
        axes.stairs(np.zeros(truncated_backprop_length), edges, fill=True, color=color,
                    label=label)
        for color, label in [("blue", "input"), ("red", "echo to learn"),
                             ("green", "echo of the network")]
    ])
    unseen.append(axes.axvspan(0, echo_step, color="orange", alpha=0.5, lw=0, zorder=0,
                               label="first batches: inputs not seen"))
figure.legend(handles=[*loss_axes.lines, *bars[0], unseen[0]], frameon=False,
              loc="center left", bbox_to_anchor=(0.75, 0.27),
              title="It has learned when green\nstands just where red does.")


def plot(loss_list, predictions_series, batchX, batchY):
    epoch_idx, batch_idx = divmod(len(loss_list) - 1, num_batches)
    # [truncated_backprop_length, batch_size]
    single_output_series = np.argmax(predictions_series, axis=2)
    num_right = np.sum(single_output_series == batchY.T)
    headline.set_text(f"Epoch {epoch_idx}, batch {batch_idx}: {num_right} of"
                      f" {batchY.size} echoes right, loss {loss_list[-1]:.2g}")

    losses = loss_list.copy()  # a window may be drawn again when there are more
    loss_line.set_data(range(len(losses)), losses)
    first_line.set_data(range(0, len(losses), num_batches), losses[::num_batches])
    loss_axes.relim()
    loss_axes.autoscale_view()  # but where you have zoomed in, it stays

    for bar, share in zip(memory_bars, remembered(recent) if recent else []):
        bar.set_height(share)

    for batch_series_idx, (blue, red, green) in enumerate(bars):
        blue.set_data(batchX[batch_series_idx, :])
        red.set_data(batchY[batch_series_idx, :] * 0.5)
        green.set_data(single_output_series[:, batch_series_idx] * 0.3)
        unseen[batch_series_idx].set_visible(batch_idx == 0)
    # Slow motion: nearly all of it is learned in the first 80 batches.
    picture.redraw(slow_motion=len(loss_list) <= 80)


# %% Running a training session
# One thread: operations this small take less time than handing them to another does.
config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=-1,
                        operation_timeout_in_ms=10000)  # if a --server is silent
sess = tf.Session(server, config=config)  # stays open: play on with it
sess.run(tf.global_variables_initializer())  # was initialize_all_variables
log = tf.summary.FileWriter(logdir, W.graph) if logdir else contextlib.nullcontext()
with picture, log:
    loss_list = []
    recent = collections.deque(maxlen=20)  # batches, for what the state remembers
    for epoch_idx in tqdm(range(num_epochs), unit="epoch", disable=None):
        x, y = generateData()
        _current_state = np.zeros((batch_size, state_size))
        # The article tells of every epoch: of 100 that would be 800 lines.
        is_told = epoch_idx < 3 or epoch_idx % 25 == 24 or epoch_idx == num_epochs - 1
        if is_told:
            tqdm.write(f"New data, epoch {epoch_idx}")

        for batch_idx in range(num_batches):
            start_idx = batch_idx * stride
            end_idx = start_idx + truncated_backprop_length
            batchX = x[:, start_idx:end_idx]  # [batch_size, truncated_backprop_length]
            batchY = y[:, start_idx:end_idx]  # [batch_size, truncated_backprop_length]

            # _name holds the value that name had in this run.
            _total_loss, _, _current_state, _predictions_series, _states = sess.run(
                [total_loss, train_step, current_state, predictions_series, states],
                feed_dict={
                    batchX_placeholder: batchX,
                    batchY_placeholder: batchY,
                    init_state: _current_state,
                })
            if not np.isfinite(_total_loss):
                sys.exit(f"Loss {_total_loss}: try a smaller --learning_rate")

            loss_list.append(_total_loss)
            if start_idx >= lags[-1]:  # so that all these inputs are known
                recent.append((x, start_idx, _states))
            if logdir:
                value = tf.Summary.Value(tag="total_loss", simple_value=_total_loss)
                log.add_summary(tf.Summary(value=[value]), len(loss_list) - 1)

            is_hundredth = batch_idx % 100 == 0 or batch_idx == num_batches - 1
            if is_hundredth and is_told:
                tqdm.write(f"Step {batch_idx} Loss {_total_loss:.6f}")
            if is_hundredth or len(loss_list) <= 80 and batch_idx % 2 == 0:
                plot(loss_list, _predictions_series, batchX, batchY)
