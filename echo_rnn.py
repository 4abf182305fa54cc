"""Echo-RNN: a recurrent network learns to repeat its input, echo_step steps late.

The program of "How to build a Recurrent Neural Network in TensorFlow (1/7)" by Erik
Hallström. The section titles here are the article's headings.

    python echo_rnn.py                                  # watch it learn, in a window
    python echo_rnn.py --num_epochs 3 --plot echo.png   # no window, a picture in a file

Expect a loss of about 0.8 at first and below 0.02 after 1 or 2 epochs (40 of 40 seeds,
see benchmarks/). All 100 epochs take less than a minute on 2 CPU cores.
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
import os
import signal
import sys
import time
import warnings
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

# --- Setup ----------------------------------------------------------------------------
num_epochs = 100
total_series_length = 50000
truncated_backprop_length = 15
state_size = 4
num_classes = 2
echo_step = 3
batch_size = 5
learning_rate = 0.3
lowest_weight = -1.0  # the article's 0 makes all weights positive: learns late or never


# --- Generate data --------------------------------------------------------------------
def generateData(total_series_length, num_classes, echo_step, batch_size):
    """Return random classes x and their echo y, both int [batch_size, row length]."""
    p = [1 / num_classes] * num_classes
    x = np.random.choice(num_classes, total_series_length, p=p)
    y = np.roll(x, echo_step)
    y[0:echo_step] = 0  # np.roll wrapped the end of x round to here

    x = x.reshape((batch_size, -1))  # row i + 1 continues row i, and its first echoes
    y = y.reshape((batch_size, -1))  # are of bits that only row i has seen
    return x, y


# --- Building the computational graph -------------------------------------------------
def build_graph(
    truncated_backprop_length, stride, state_size, num_classes, batch_size,
    learning_rate, lowest_weight,
):
    """Add the network to the default graph and return its tensors by name."""
    # --- Variables and placeholders
    with tf.name_scope("Variables_and_placeholders"):
        batch_shape = [batch_size, truncated_backprop_length]
        batchX_placeholder = tf.placeholder(tf.float32, batch_shape)
        batchY_placeholder = tf.placeholder(tf.int32, batch_shape)
        init_state = tf.placeholder(tf.float32, [batch_size, state_size])

        def weights(*shape):
            return np.random.uniform(lowest_weight, 1, shape)

        W = tf.Variable(weights(state_size + 1, state_size), dtype=tf.float32)
        b = tf.Variable(np.zeros((1, state_size)), dtype=tf.float32)
        W2 = tf.Variable(weights(state_size, num_classes), dtype=tf.float32)
        b2 = tf.Variable(np.zeros((1, num_classes)), dtype=tf.float32)

    # --- Unpacking
    with tf.name_scope("Unpacking"):
        inputs_series = tf.unstack(batchX_placeholder, axis=1)  # each [batch_size]
        labels_series = tf.unstack(batchY_placeholder, axis=1)  # each [batch_size]

    # --- Forward pass
    with tf.name_scope("Forward_pass"):
        current_state = init_state
        states_series = []  # each [batch_size, state_size]
        for current_input in inputs_series:
            current_input = tf.reshape(current_input, [batch_size, 1])
            input_and_state_concatenated = tf.concat(  # [batch_size, 1 + state_size]
                [current_input, current_state], 1
            )
            next_state = tf.tanh(tf.matmul(input_and_state_concatenated, W) + b)
            states_series.append(next_state)
            current_state = next_state
        # The next batch begins stride steps after this one, so its state does, too.
        current_state = states_series[stride - 1]  # [batch_size, state_size]

    # --- Calculating loss
    with tf.name_scope("Calculating_loss"):
        # The article takes these steps one by one. All in one product are the same
        # numbers in fewer, larger operations; the article's lists are cut from it.
        logits = tf.matmul(tf.concat(states_series, 0), W2) + b2
        logits_series = tf.split(logits, truncated_backprop_length)
        predictions_series = tf.split(  # each [batch_size, num_classes]
            tf.nn.softmax(logits), truncated_backprop_length
        )
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            logits=logits, labels=tf.concat(labels_series, 0)
        )
        total_loss = tf.reduce_mean(losses)
        train_step = tf.train.AdagradOptimizer(learning_rate).minimize(total_loss)
        summary = tf.summary.scalar("total_loss", total_loss)
    return SimpleNamespace(**locals())


# --- Visualizing the training ---------------------------------------------------------
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


def make_plot(
    figure, num_epochs, num_batches, first_floor, truncated_backprop_length,
    num_classes, batch_size,
):
    """Add the panels to the figure; return the article's plot(), which moves them."""
    figure.subplots_adjust(0.08, 0.1, 0.98, 0.84, wspace=0.15, hspace=0.5)
    axes = figure.add_subplot(2, 3, 1, title="Loss", xlabel="batch", ylabel="nats")
    axes.set(yscale="log", xlim=(0, min(4, num_epochs) * num_batches), ylim=(1e-4, 3))
    axes.yaxis.set_major_formatter("{x:g}")
    guessing = axes.axhline(np.log(num_classes), color="gray", ls="--", lw=1)
    unknown = axes.axhline(first_floor, color="tab:orange", ls=":", lw=1)
    (losses,) = axes.plot([], [], lw=0.8, animated=True)
    (first_losses,) = axes.plot([], [], ".", color="tab:orange", animated=True)

    edges = np.arange(truncated_backprop_length + 1)  # a step's bar ends at the next
    bars = []
    for batch_series_idx in range(min(5, batch_size)):
        panel = figure.add_subplot(2, 3, batch_series_idx + 2, xlabel="time step")
        panel.set(title=f"Series {batch_series_idx + 1}", yticks=[])
        panel.set(xlim=(0, edges[-1]), ylim=(0, 1.2 * (num_classes - 1)))
        panel.xaxis.get_major_locator().set_params(integer=True)
        for color in ["blue", "red", "green"]:
            bars.append(panel.stairs(edges[1:], fill=True, color=color, animated=True))
    figure.legend(
        [losses, first_losses, guessing, unknown, *bars[:3]],
        ["loss of a batch", "loss of an epoch's first batch",
         f"guessing: ln {num_classes} = {np.log(num_classes):.3f}",
         f"echoes from before the first batch: {first_floor:.3f}",
         "input", "echo to learn", "echo of the network"],
        loc="upper center", ncol=4, frameon=False,
    )

    def plot(loss_list, predictions_series, batchX, batchY):
        if len(loss_list) > axes.get_xlim()[1]:  # rarely: the axes are drawn anew
            axes.set_xlim(0, min(2 * axes.get_xlim()[1], num_epochs * num_batches))
        if loss_list.min() < axes.get_ylim()[0]:
            axes.set_ylim(bottom=loss_list.min() / 10)
        first_idx = np.arange(0, len(loss_list), num_batches)
        first_losses.set_data(first_idx, loss_list[first_idx])
        others = loss_list.copy()
        others[first_idx] = np.nan
        # The lowest and highest of every few losses look like all and are drawn fast.
        starts = np.arange(0, len(others), len(others) // 300 + 1)
        low, high = (f.reduceat(others, starts) for f in (np.fmin, np.fmax))
        losses.set_data(np.repeat(starts, 2), np.ravel([low, high], "F"))

        # [batch_size, truncated_backprop_length]
        single_output_series = np.argmax(predictions_series, axis=2).T
        heights = [batchX, 0.5 * batchY, 0.3 * single_output_series]
        for i, bar in enumerate(bars):
            bar.set_data(heights[i % 3][i // 3])

    return plot


# --- Running a training session -------------------------------------------------------
def train(
    num_epochs, total_series_length, truncated_backprop_length, stride, state_size,
    num_classes, echo_step, batch_size, learning_rate, lowest_weight, seed, plot_file,
    logdir, server,
):
    """Train, drawing every 100 batches; return the loss of each batch, in nats."""
    row_length = total_series_length // batch_size
    num_batches = (row_length - truncated_backprop_length) // stride + 1
    loss_list = np.zeros(num_epochs * num_batches)
    # Why the spikes: all rows but the first begin with echoes that can only be guessed.
    guesses = (batch_size - 1) * min(echo_step, truncated_backprop_length)
    first_floor = np.log(num_classes) * guesses / batch_size / truncated_backprop_length

    picture = LivePicture("echo_rnn", plot_file, figsize=(10.5, 5.8))
    plot = make_plot(
        picture.figure, num_epochs, num_batches, first_floor, truncated_backprop_length,
        num_classes, batch_size,
    )
    np.random.seed(seed)
    tf.reset_default_graph()
    graph = build_graph(
        truncated_backprop_length, stride, state_size, num_classes, batch_size,
        learning_rate, lowest_weight,
    )
    log = contextlib.nullcontext()
    if logdir:
        log = tf.summary.FileWriter(logdir, tf.get_default_graph())
    progress = Progress(total=len(loss_list), unit="batch", disable=None)
    # Operations this small take less time than handing them to another thread does.
    sess = open_session(server, inter_op_threads=-1)
    with picture, log, progress:
        sess.run(tf.global_variables_initializer())
        for epoch_idx in range(num_epochs):
            x, y = generateData(total_series_length, num_classes, echo_step, batch_size)
            _current_state = np.zeros((batch_size, state_size))
            tqdm.write(f"New data, epoch {epoch_idx}")

            for batch_idx in range(num_batches):
                start_idx = batch_idx * stride
                end_idx = start_idx + truncated_backprop_length
                # [batch_size, truncated_backprop_length]
                batchX = x[:, start_idx:end_idx]
                batchY = y[:, start_idx:end_idx]
                draw = batch_idx % 100 == 0

                _total_loss, _, _current_state, _predictions_series, _log = sess.run(
                    [graph.total_loss, graph.train_step, graph.current_state]
                    + [graph.predictions_series if draw else []]
                    + [graph.summary if logdir else []],
                    feed_dict={
                        graph.batchX_placeholder: batchX,
                        graph.batchY_placeholder: batchY,
                        graph.init_state: _current_state,
                    },
                )
                if not np.isfinite(_total_loss):
                    sys.exit(f"Loss {_total_loss}, epoch {epoch_idx}, step {batch_idx}:"
                             " try a smaller --learning_rate.")
                step = epoch_idx * num_batches + batch_idx
                loss_list[step] = _total_loss
                progress.update()
                if logdir:
                    log.add_summary(_log, step)
                if draw:
                    tqdm.write(f"Step {batch_idx} Loss {_total_loss:.6f}")
                    plot(loss_list[: step + 1], _predictions_series, batchX, batchY)
                    picture.redraw()
        progress.close()
        picture.wait_until_closed()
    return loss_list


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
    for name, default, low, meaning in [
        ("num_epochs", num_epochs, 1, "how often new data is made and gone through"),
        ("total_series_length", total_series_length, 1, "time steps in that data"),
        ("truncated_backprop_length", truncated_backprop_length, 1,
         "time steps in a batch: how far back a gradient can reach"),
        ("state_size", state_size, 1, "numbers in which the network remembers"),
        ("num_classes", num_classes, 2, "different inputs: 2 are bits"),
        ("echo_step", echo_step, 1, "time steps from an input to its echo"),
        ("batch_size", batch_size, 1, "rows of the data, all learned at the same time"),
        ("learning_rate", learning_rate, 1e-6, "how far a weight's first update goes"),
        ("lowest_weight", lowest_weight, -99, "the first weights lie from here to 1"),
        ("seed", 1, 0, "the same seed gives the same data, weights and losses"),
    ]:
        parser.add_argument(
            "--" + name, type=number(type(default), low, 2**32 - 1), default=default,
            help=meaning + " (default: %(default)s)",
        )
    parser.add_argument(
        "--stride", type=number(int, 1, 2**32 - 1),
        help="time steps from a batch to the next (default: truncated_backprop_length)",
    )
    parser.add_argument(
        "--plot", metavar="FILE", dest="plot_file",
        help="save the picture here and open no window",
    )
    parser.add_argument(
        "--logdir", metavar="DIR", type=folder,
        help="write the graph and the losses here, for TensorBoard to show",
    )
    parser.add_argument(
        "--server", metavar="grpc://HOST:PORT", type=server,
        help="compute on the tf.train.Server there",
    )
    flags = parser.parse_args(argv)
    flags.stride = flags.stride or flags.truncated_backprop_length

    row_length, rest = divmod(flags.total_series_length, flags.batch_size)
    if rest:
        parser.error(f"--batch_size {flags.batch_size} does not divide"
                     f" --total_series_length {flags.total_series_length}")
    for name, limit, what in [
        ("truncated_backprop_length", row_length, "a row's length"),
        ("echo_step", row_length - 1, "the longest in a row"),
        ("stride", flags.truncated_backprop_length, "a batch's length"),
        ("lowest_weight", 1, "the highest weight"),
    ]:
        if getattr(flags, name) > limit:
            parser.error(f"--{name} {getattr(flags, name)} is over {limit}, {what}")
    return flags


def main(argv=None):
    """Run the program; return the loss of each batch."""
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
