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
stride = flag("stride", truncated_backprop_length, "time steps to the next batch")
lowest_weight = flag("lowest_weight", -1.0, "the first weights lie from here to 1", -99)
seed = flag("seed", 1, "the same seed gives the same numbers", low=0, high=2**32)
plot_file = flag("plot", "", "save the picture here and open no window")
logdir = flag("logdir", "", "write graph and losses here, for TensorBoard")
server = flag("server", "", "grpc://host:port of a tf.train.Server to compute on")

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


# %% Generate data
# Random bits and their echo, echo_step later, new in each epoch. The series is cut into
# batch_size rows, which are learned side by side.
row_length = total_series_length // batch_size
num_batches = (row_length - truncated_backprop_length) // stride + 1
if row_length * batch_size < total_series_length:
    parser.error(f"--batch_size must divide the {total_series_length} time steps")
if max(truncated_backprop_length, echo_step + 1) > row_length:
    parser.error(f"a row of the data has {row_length} time steps only")
if stride > truncated_backprop_length:
    parser.error("--stride is above --truncated_backprop_length")


def generateData():
    """Return random classes x and their echo y, both int [batch_size, row_length]."""
    x = np.random.choice(num_classes, total_series_length)
    y = np.roll(x, echo_step)
    y[0:echo_step] = 0  # np.roll wrapped the end of x round to here

    # Row i + 1 continues row i: its first echoes are of bits that end row i.
    x, y = x.reshape((batch_size, -1)), y.reshape((batch_size, -1))
    return x, y


np.random.seed(seed)
x, y = generateData()
print("Inputs", *x[0, :12])
print("Echoes", *y[0, :12])


# %% Building the computational graph
# What follows computes nothing yet, it says what follows from what. Numbers come with
# sess.run, in the last cell.
tf.reset_default_graph()  # to run cells again, begin with this one
np.random.seed(seed)

# %% Variables and placeholders
# Placeholders are fed in each run; variables are what is learned. W makes the next
# state of an input and a state, W2 makes an answer of a state.
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

print(sum(w.shape.num_elements() for w in (W, b, W2, b2)), "numbers to learn")

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
        # [batch_size, 1 + state_size]
        input_and_state_concatenated = tf.concat([current_input, current_state], 1)
        next_state = tf.tanh(tf.matmul(input_and_state_concatenated, W) + b)
        states_series.append(next_state)
        current_state = next_state
    current_state = states_series[stride - 1]  # the last, unless --stride is less

print(len(states_series), "states, each", states_series[0].shape)

# %% Calculating loss
# Each state is asked for its echo, and the loss is how surprised one is by the right
# one: - ln of its probability. Gradients go back through all states of the batch.
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

print(f"Guessing costs ln {num_classes} = {np.log(num_classes):.6f} nats")

# %% What the spikes cost
# An epoch begins with a state of zeros, which knows nothing of the inputs before. How
# much must its first batch cost?

# The echoes of those inputs, the first echo_step ones of each row, are 0 in the first
# row and unknown bits in the others. The best on average is to guess each class as
# often as it comes: by default 3 of 15 echoes cost 0.673 nats each, a batch 0.135. (The
# batches after it cost more than they did before, since it has pulled at the weights
# for nothing.)
class_shares = np.full(num_classes, (batch_size - 1) / batch_size / num_classes)
class_shares[0] += 1 / batch_size
class_shares = class_shares[class_shares > 0]  # a single row has nothing but zeros
cost_of_a_guess = -np.sum(class_shares * np.log(class_shares))
first_floor = cost_of_a_guess * min(echo_step / truncated_backprop_length, 1)
print(f"An epoch's first batch costs {first_floor:.6f} nats at best")

# %% What an echo hangs on
# One lens for all scripts: the length of d(an answer) / d(each input). An answer is
# here how far the network's choice leads over its second one.
with tf.name_scope("What_an_echo_hangs_on"):
    likeliest = tf.nn.top_k(logits_series, 2).values
    leads = likeliest[:, :, 0] - likeliest[:, :, 1]
    asked = tf.placeholder(tf.float32, [truncated_backprop_length])  # 1 for one echo
    (pull,) = tf.gradients(tf.tensordot(asked, leads, 1), batchX_placeholder)

# Of a long window's echoes not each is asked for: a run for each takes its time.
asked_steps = np.linspace(0, truncated_backprop_length - 1, 30).astype(int)
asked_steps = np.unique(asked_steps)


def hangs_on(feed_dict):
    """Return how much each echo asked for hangs on each input of the batch.

    It is the median of the batch's rows: [asked_steps, truncated_backprop_length].
    """
    lengths = []
    for step in asked_steps:
        is_asked = np.arange(truncated_backprop_length) == step
        _pull = sess.run(pull, {**feed_dict, asked: is_asked})
        lengths.append(np.median(np.abs(_pull), axis=0))
        picture.flush_events()
    return np.array(lengths)


# %% What the state remembers
# How much of each of the last inputs can be read off the state, by the best linear map?
# What the echo needs should be there, and nothing older.

# Time steps from an input to a state: at most 24, with those around the echo's.
lags = np.arange(max(8, echo_step + 4))[-24:]


def remembered(recent):
    """Return for each lag how much of the input so many steps ago a state tells.

    recent: of some batches, the data x, the batch's first step in it, and its states.
    Returns the share of the input's variance that a linear map of the state explains:
    1 if it gives the input exactly, 0 if it says nothing of it. The map is fitted to
    the first half of the states, its share is that of the others. NaN: too few to tell.
    """
    shares = np.full(len(lags), np.nan)
    told = lags[lags < row_length / 2]  # a row's first steps have no inputs before them
    first_step = max(told, default=0)
    known, inputs = [], []
    for x, start_idx, _states in recent:
        steps = np.arange(max(first_step, start_idx), start_idx + stride)
        known.append(_states[steps - start_idx].reshape(-1, state_size))
        of_lags = [x[:, steps - lag].T.ravel() for lag in told]  # in the order of known
        inputs.append(np.reshape(of_lags, (len(told), -1)).T)
    known, inputs = np.concatenate(known), np.concatenate(inputs)  # a row for a state
    known = np.insert(known, 0, 1, axis=1)  # the map may add a constant

    half = len(known) // 2
    if half > 2 * (state_size + 1):
        best_map = np.linalg.lstsq(known[:half], inputs[:half], rcond=None)[0]
        unexplained = inputs[half:] - known[half:] @ best_map
        share = 1 - np.mean(unexplained**2, axis=0) / inputs[half:].var(axis=0)
        shares[: len(told)] = np.clip(share, 0, 1)
    return shares


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


# %% Visualizing the training
picture = LivePicture("echo_rnn", plot_file, (12, 6.3))
figure = picture.figure
headline = figure.suptitle("", x=0.05, ha="left", size=14)
# The article's panels, and one column of ours.
sides = {"top": 0.87, "bottom": 0.22, "hspace": 0.6}
grid = figure.add_gridspec(2, 3, left=0.05, right=0.7, wspace=0.2, **sides)
our_grid = figure.add_gridspec(2, 1, left=0.76, right=0.985, **sides)

loss_axes = figure.add_subplot(grid[0, 0], title="Loss, nats", xlabel="batch")
loss_axes.set(xlim=(0, 300), yscale="log", ylim=(1e-5, 3 * np.log(num_classes)))
loss_axes.axhline(np.log(num_classes), color="gray", ls="--", lw=1,
                  label=f"guessing: ln {num_classes} = {np.log(num_classes):.3f}")
loss_axes.axhline(first_floor, color="tab:orange", ls=":", lw=1,
                  label=f"first batch at best: {first_floor:.3f}")
(loss_line,) = loss_axes.plot([], [], lw=0.8, label="loss of a batch")
(first_line,) = loss_axes.plot([], [], ".", label="of an epoch's first batch")

bars, unseen = [], []
for batch_series_idx, place in zip(range(batch_size), [1, 2, 3, 4, 5]):
    axes = figure.add_subplot(grid[place // 3, place % 3])
    axes.set(title=f"Series {batch_series_idx + 1}", xlabel="time step", yticks=[])
    axes.set(xlim=(0, truncated_backprop_length), ylim=(0, 1.2 * (num_classes - 1)))
    axes.locator_params(axis="x", integer=True, nbins=5)
    edges = np.arange(truncated_backprop_length + 1)  # a step's bar ends at the next
    bars.append([
        axes.stairs(np.zeros(truncated_backprop_length), edges, fill=True, color=color,
                    label=label)
        for color, label in [("blue", "input"), ("red", "echo to learn"),
                             ("green", "echo of the network")]
    ])
    band = plt.Rectangle((0, 0), 0, 1, transform=axes.get_xaxis_transform(), lw=0,
                         color="orange", alpha=0.5, zorder=0,
                         label="inputs not seen")
    unseen.append(axes.add_patch(band))

# Wide enough to show where the inputs of the first echoes would be.
lens_axes = figure.add_subplot(our_grid[0])
lens_axes.set_title("Which inputs an echo hangs on", size=10)
lens_axes.set(xlim=(-echo_step, truncated_backprop_length), xlabel="input of time step",
              ylim=(truncated_backprop_length, 0), ylabel="echo of time step")
lens_axes.locator_params(integer=True, nbins=5)
beyond = lens_axes.axvspan(-echo_step, 0, color="lightgray", lw=0,
                           label="no gradient")
lens_image = lens_axes.imshow(
    np.zeros((1, 1)), cmap="magma", vmax=1, aspect="auto",
    extent=(0, truncated_backprop_length, truncated_backprop_length, 0))
ends = np.array([0, truncated_backprop_length])
(sought_line,) = lens_axes.plot(ends - echo_step, ends, "r:", label="what to echo")

memory_axes = figure.add_subplot(our_grid[1])
memory_axes.set_title("What the state remembers", size=10)
memory_axes.set_xlabel("the input of so many steps ago")
memory_axes.set_ylabel("share explained")
memory_axes.set(ylim=(0, 1.02), yticks=[0, 0.5, 1])
memory_axes.locator_params(axis="x", integer=True)
colors = np.where(lags == echo_step, "red", "gray")  # red: what is to be echoed
memory_bars = memory_axes.bar(lags, np.zeros(len(lags)), color=colors)
too_few = memory_axes.text(0.5, 0.5, "too few states to tell", ha="center",
                           transform=memory_axes.transAxes, visible=False)

figure.legend(handles=[*loss_axes.lines, *bars[0], unseen[0], sought_line, beyond],
              ncol=5, frameon=False, loc="lower center", fontsize=9, columnspacing=1,
              handlelength=1.5,
              title="It has learned when green stands just where red does.")


def plot(loss_list, predictions_series, batchX, batchY, influences, shares):
    epoch_idx, batch_idx = divmod(len(loss_list) - 1, num_batches)
    # [truncated_backprop_length, batch_size]
    single_output_series = np.argmax(predictions_series, axis=2)
    num_right = np.sum(single_output_series == batchY.T)
    headline.set_text(f"Epoch {epoch_idx}, batch {batch_idx}: {num_right} of"
                      f" {batchY.size} echoes right, loss {loss_list[-1]:.2g}")

    losses = loss_list.copy()  # a window may be drawn again when there are more
    if len(losses) > 300 and loss_axes.get_xlim() == (0, 300):  # a zoom of yours stays
        loss_axes.set_xlim(0, num_epochs * num_batches)
    loss_line.set_data(range(len(losses)), losses)
    first_line.set_data(range(0, len(losses), num_batches), losses[::num_batches])

    for bar, share in zip(memory_bars, shares):
        bar.set_height(share)
    too_few.set_visible(np.isnan(shares).all())
    lens_image.set_data(influences / max(influences.max(), 1e-9))

    for batch_series_idx, (blue, red, green) in enumerate(bars):
        blue.set_data(batchX[batch_series_idx, :])
        red.set_data(batchY[batch_series_idx, :] * 0.5)
        green.set_data(single_output_series[:, batch_series_idx] * 0.3)
        unseen[batch_series_idx].set_width(max(0, echo_step - batch_idx * stride))
    picture.draw()


# %% Running a training session
# Each run learns from a batch and returns the state, which the next run is fed: so
# memory goes on where gradients end. Look at the first loss, and at step 0 of each
# epoch.

# One thread: operations this small take less time than handing them to another does.
config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=-1,
                        operation_timeout_in_ms=10000)  # if a --server is silent
try:
    sess = tf.Session(server, config=config)  # stays open: play on with it
    sess.run(tf.global_variables_initializer())  # was initialize_all_variables
except tf.errors.OpError as error:
    parser.error(f"--server {server}: {' '.join(error.message.split())}")
log = EventLog(new_folder(os.path.join(logdir, "echo_rnn")) if logdir else "")
with picture:
    loss_list = []
    # Some 1500 states, for what they remember.
    recent = collections.deque(maxlen=max(2, 1500 // (stride * batch_size)))
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
            feed_dict = {
                batchX_placeholder: batchX,
                batchY_placeholder: batchY,
                init_state: _current_state,
            }
            _total_loss, _, _current_state, _predictions_series, _states = sess.run(
                [total_loss, train_step, current_state, predictions_series, states],
                feed_dict)
            if not np.isfinite(_total_loss):
                sys.exit(f"Loss {_total_loss}: try a smaller --learning_rate")

            loss_list.append(_total_loss)
            recent.append((x, start_idx, _states))
            log.add_point("total_loss", _total_loss, len(loss_list) - 1)
            if is_told and (batch_idx % 100 == 0 or batch_idx == num_batches - 1):
                tqdm.write(f"Step {batch_idx} Loss {_total_loss:.6f}")

            # Slow motion until it has learned.
            is_learning = len(loss_list) <= 300 and np.mean(loss_list[-10:]) > 0.02
            is_last = len(loss_list) == num_epochs * num_batches
            if picture.is_due(is_learning and batch_idx % 2 == 0) or is_last:
                plot(loss_list, _predictions_series, batchX, batchY,
                     hangs_on(feed_dict), remembered(recent))

# %% And today
# A state that depends on the one before without a tanh in between needs no walk through
# time: a parallel scan computes all steps of a sequence at once [1]. So simplified,
# with gates that look at the input only, GRU and LSTM came back as minGRU and minLSTM
# [2]; Mamba is another such network [3]. Whether to pass the state on or to begin anew
# is an open choice again: networks that learned from empty states only fail on far
# longer texts, and a few hundred more steps of training from other states mend that
# [4]. In PyTorch truncation is one line, hiddens.detach() [5]. And to echo is still a
# test: a state of fixed size cannot repeat sequences of any length [6].
#
# [1]: https://arxiv.org/abs/1709.04057
# [2]: https://arxiv.org/abs/2410.01201
# [3]: https://arxiv.org/abs/2312.00752
# [4]: https://arxiv.org/abs/2507.02782
# [5]: https://lightning.ai/docs/pytorch/stable/common/tbptt.html
# [6]: https://arxiv.org/abs/2402.01032
