"""RNN internals: what two lines of TensorFlow compute, step by step, and put to use.

The batch and the two lines of "All you need to know about Recurrent Neural Networks",
computed again in numpy; then that network learns to forecast a time series. The section
titles but the last are the article's words.

    python rnn_internals.py                        # the walk, then a live window
    python rnn_internals.py --cell lstm --plot lstm.png      # a picture, no window

Expect a walk that differs from TensorFlow by less than 1e-6, then an error near 1.2
from the network, 1.5 to 1.8 from naive forecasts and 1.0 from noise alone: 10 s in all.
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
import csv
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

# --- RNN Architecture -----------------------------------------------------------------
batch_size = 6
number_of_steps = 5
number_of_features = 3
rnn_size = 7
# The rest is for the forecast, which the article only mentions.
num_epochs = 50
learning_rate = 0.003
season = 24
series_length = 3000


def sliding_window(series, width):
    """Return all stretches of that width, each begun one value later: [many, width]."""
    return np.array([series[i : i + width] for i in range(len(series) - width + 1)])


def data_inside_a_batch(batch_size, number_of_steps, number_of_features):
    """Return the batch of Fig 01: windows over 1, 2, 3, ..., each cut into steps."""
    width = number_of_steps * number_of_features
    windows = sliding_window(np.arange(1, batch_size + width), width)
    return windows.reshape(batch_size, number_of_steps, number_of_features)


def draw_unrolled(axes, line, states, names):
    """Draw Fig 02 and Fig 03: the cell rolled, and unrolled with one line's numbers.

    line: [steps, features]; states: [steps + 1, one for each name, units].
    """
    units, width = states.shape[-1], 0.24
    center = {"ha": "center", "va": "center"}

    def arrow(start, end, label=""):
        axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "k"})
        middle = np.add(start, end) / 2
        axes.annotate(label, middle, (0, 9), textcoords="offset points", **center)

    def cell(x, its_input):
        for y, text, color in [(0.5, "cell", "moccasin"), (-0.15, its_input, "white")]:
            look = {"boxstyle": "round,pad=0.5", "facecolor": color}
            axes.text(x, y, text, bbox=look, **center)
        arrow((x, -0.05), (x, 0.4), "      $i_w$")

    axes.text(-1.5, 1.4, "Rolled", size="large")
    cell(-1, "x")
    axes.plot([-0.85, -0.6, -0.6, -1.4, -1.4], [0.5, 0.5, 0.9, 0.9, 0.5], "k", lw=1)
    arrow((-1.42, 0.5), (-1.13, 0.5), "$h_w$")
    arrow((-0.6, 0.9), (-0.6, 1.2))
    axes.text(-0.6, 1.26, "val1", **center)
    axes.text(-0.1, 1.4, "Unrolled, with the numbers of the first line", size="large")
    for t, state in enumerate(states):
        edges = t + width * (np.arange(len(names) + 1) - len(names) / 2)
        middles = edges[:-1] + width / 2
        axes.pcolormesh(edges, np.linspace(1, 0, units + 1), state.T, cmap="RdBu_r",
                        vmin=-1.5, vmax=1.5, edgecolor="gray", lw=0.5)
        for (i, unit), value in np.ndenumerate(state if units <= 12 else []):
            y = 1 - (unit + 0.5) / units
            axes.text(middles[i], y, f"{value:.2f}", size=8, **center)
        for x, name in zip(middles, names):
            when = ["initial", "t", f"t+{t - 1}"][min(t, 2)]
            axes.text(x, -0.11, f"${name}_{{{when}}}$", **center)
        if t < len(line):
            cell(t + 0.5, str(line[t]))
            arrow((edges[-1], 0.5), (t + 0.38, 0.5), "$h_w$")
            arrow((t + 0.62, 0.5), (edges[0] + 1, 0.5))
            arrow((middles[-1] + 1, 1), (middles[-1] + 1, 1.2))  # the last one goes out
            axes.text(middles[-1] + 1, 1.26, f"val1[0, {t}]", **center)
    axes.set(xlim=(-1.6, len(line) + 0.4), ylim=(-0.3, 1.5))
    axes.axis("off")


# --- Processing a batch ---------------------------------------------------------------
def process_batch(step, inputs, S, weights):
    """Do in numpy what the two lines do; return val1 and all values of each step.

    S: what the state is made of, one (S) or two (c, h), each [batch_size, rnn_size].
    """
    val1, values = [], []
    # The article takes line after line. No line needs another: all go side by side.
    for x in np.moveaxis(inputs, 1, 0):
        values.append(step(x, *S, *weights))
        S = list(values[-1].values())[-len(S):]
        val1.append(S[-1])
    return np.stack(val1, axis=1), values


# --- Processing a single line of input ------------------------------------------------
def weigh(x, S, kernel, bias):
    """Return i_w x, h_w S, and their sum with the bias."""
    # One kernel, i_w above h_w; one bias, as only the sum of i_b and h_b would count.
    i_w, h_w = np.split(kernel, [x.shape[-1]])
    return x @ i_w, S @ h_w, x @ i_w + S @ h_w + bias


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rnn_step(x, S, kernel, bias):
    """Return the values on the way to the new state, by name: Fig 04 and Fig 06."""
    i_w_x, h_w_S, total = weigh(x, S, kernel, bias)
    return {"i_w x": i_w_x, "h_w S": h_w_S, "bias": np.broadcast_to(bias, total.shape),
            "sum": total, "new S = tanh(sum)": np.tanh(total)}


def gru_step(x, S, gates_kernel, gates_bias, candidate_kernel, candidate_bias):
    """Return the same for a GRU, which keeps the share u of its state."""
    r, u = np.split(sigmoid(weigh(x, S, gates_kernel, gates_bias)[-1]), 2, axis=-1)
    d = np.tanh(weigh(x, r * S, candidate_kernel, candidate_bias)[-1])
    return {"reset r": r, "update u": u, "candidate d": d,
            "new S = u S + (1-u) d": u * S + (1 - u) * d}


def lstm_step(x, c, h, kernel, bias):
    """Return the same for an LSTM, whose state is two: c stays inside, h goes out."""
    i, j, f, o = np.split(weigh(x, h, kernel, bias)[-1], 4, axis=-1)
    # The 1 is TensorFlow's forget_bias: at first, nearly all is kept.
    i, j, f, o = sigmoid(i), np.tanh(j), sigmoid(f + 1), sigmoid(o)
    c = f * c + i * j
    return {"input gate i": i, "new input j": j, "forget gate f": f, "output gate o": o,
            "new c = f c + i j": c, "new h = o tanh(c)": o * np.tanh(c)}


CELLS = {  # class, step, names of its state, what a kernel's columns are for
    "rnn": (tf.nn.rnn_cell.BasicRNNCell, rnn_step, "S", "S"),
    "gru": (tf.nn.rnn_cell.GRUCell, gru_step, "S", "r, u and d"),
    "lstm": (tf.nn.rnn_cell.LSTMCell, lstm_step, "ch", "i, j, f and o"),
}


# --- Coming back to the 2 lines of code -----------------------------------------------
def build_graph(cell, number_of_features, rnn_size, learning_rate):
    """Add the network to the default graph and return its tensors by name."""
    with tf.name_scope("RNN_Architecture"):
        # Rows and steps can be any number: a batch, or a whole series as one row.
        inputs = tf.placeholder(  # [batch_size, number_of_steps, number_of_features]
            tf.float32, [None, None, number_of_features]
        )
        targets = tf.placeholder(tf.float32, [None, None])

    with tf.name_scope("The_2_lines_of_code"):
        cell = CELLS[cell][0](rnn_size, activation=tf.nn.tanh)
        S_initial = cell.zero_state(tf.shape(inputs)[0], tf.float32)  # or what is fed
        val1, state = tf.nn.dynamic_rnn(  # [batch_size, number_of_steps, rnn_size]
            cell, inputs, initial_state=S_initial
        )

    with tf.name_scope("Output_calculation"):  # Fig 05 and Fig 07: not in the cell
        O_w = tf.get_variable("O_w", [rnn_size, 1])
        O_b = tf.get_variable("O_b", [1], initializer=tf.zeros_initializer())
        # [batch_size, number_of_steps]
        Output = tf.tensordot(val1, O_w, 1)[:, :, 0] + O_b

    with tf.name_scope("Time-series_forecasting"):
        loss = tf.reduce_mean(tf.squared_difference(Output, targets))
        train_step = tf.train.AdamOptimizer(learning_rate).minimize(loss)
        summary = tf.summary.scalar("loss", loss)
    return SimpleNamespace(**locals())


def look_inside(graph, cell, inputs, units, sess):
    """Print what the two lines make of the batch, and how.

    Returns by how much each claim about it is off, and the first line's states.
    """
    _, step, names, columns = CELLS[cell]
    lines, steps, features = inputs.shape
    # With larger weights, inputs up to 20 would drive every tanh to -1 or 1.
    limit = 6 / features / inputs.max()
    order = np.random.permutation(lines)
    sess.run([weight.assign(tf.random.uniform(weight.shape, -limit, limit))
              for weight in graph.cell.weights])
    weights, val1, state = sess.run(
        [graph.cell.weights, graph.val1, graph.state], {graph.inputs: inputs}
    )
    reordered = sess.run(graph.val1, {graph.inputs: inputs[order]})
    S_initial = np.zeros((len(names), lines, units))
    walked, values = process_batch(step, inputs, S_initial, weights)

    print("The batch (Fig 01)")
    for line in inputs[:6].tolist():
        print(" ", str(line).replace(" ", ""))

    print("\nThe arrays on the way")
    rows = f"rows 0:{features} are i_w, rows {features}:{features + units} are h_w"
    arrays = {"inputs": (inputs, "lines, steps, features")}
    for variable, weight in zip(graph.cell.weights, weights):
        name = variable.op.name.split("_cell/")[-1]
        arrays[name] = weight, rows if weight.ndim > 1 else "i_b and h_b in one"
    arrays["val1"] = val1, "lines, steps, units"
    for name, part in zip(names, np.reshape(state, S_initial.shape)):
        arrays["state" + f".{name}" * (len(names) > 1)] = part, "lines, units"
    for name, (array, meaning) in arrays.items():
        print(f"  {name:18}{str(array.shape):12}{meaning}")
    count = sum(weight.size for weight in weights)
    print(f"  {count} parameters = {count // units // (features + units + 1)} x"
          f" ({features} x {units} of i_w + {units} x {units} of h_w"
          f" + {units} of the bias), for {columns}")

    def show(name, vector):
        numbers = "".join(f"{number:9.4f}" for number in vector[:7])
        print(f"  {name:22}{numbers}" + " ..." * (units > 7))

    print("\nThe first line by hand, step by step; each unit has its column")
    for name, start in zip(names, S_initial):
        show(f"{name}_initial", start[0])
    for t, on_the_way in enumerate(values[:5]):
        print("Time step", f"t+{t}:" if t else "t:", "x =", inputs[0, t])
        for name, value in on_the_way.items():
            show(name, value[0])
        show("TensorFlow's val1", val1[0, t])

    print("\nIs it so? The largest difference over all lines, steps and units")
    rolled = [np.roll(w, units, axis=0) if w.ndim > 1 else w for w in weights]
    differences = {
        "val1 == this walk over all lines": val1 - walked,
        "... had the kernel's first rows been h_w":
            val1 - process_batch(step, inputs, S_initial, rolled)[0],
        **{f"val1[:, -1] == {name}": val1[:, -1] - array
           for name, (array, _) in arrays.items() if name.startswith("state")},
        "val1[order] == val1 of inputs[order], in any order": val1[order] - reordered,
    }
    claims = {claim: np.abs(array).max() for claim, array in differences.items()}
    for claim, off in claims.items():
        print(f"  {off:7.1e} {'yes' if off < 1e-6 else 'no':4} {claim}")
    print("  Other than in the article, i_w and h_w are one kernel, the output is the"
          "\n  state, with no weights of its own, and no line waits for another.")
    states = [S_initial] + [list(value.values())[-len(names):] for value in values]
    return claims, np.array(states)[:, :, 0]


# --- Time-series forecasting ----------------------------------------------------------
def make_series(length):
    """Return two waves, of 24 and 168 steps, and noise that no forecast can know."""
    t = 2 * np.pi * np.arange(length)
    return 20 + 5 * np.sin(t / 24) + 2 * np.sin(t / 168) + np.random.randn(length)


def read_series(path, column):
    """Return the numbers in a column of a CSV file; raise ValueError if one is none."""
    with open(path, encoding="utf-8-sig") as file:
        reader = csv.reader(file.read().rstrip().split("\n"))
    header = next(reader)
    if column not in header:
        raise ValueError(f"no column {column!r}, only: {', '.join(header)}")
    series = []
    for row in reader:
        text = (row + [""] * len(header))[header.index(column)]
        try:
            series.append(float(text))
        except ValueError:
            series.append(np.nan)
        if not abs(series[-1]) < 1e100:
            why = "is not a number" if text.strip() else "is a gap, to be filled first"
            raise ValueError(f"line {reader.line_num}: {text!r} {why}")
    return np.array(series)


def error(forecast, series):
    """Return the root of the mean square difference from the end of the series."""
    return np.sqrt(np.mean((forecast - series[-len(forecast):]) ** 2))


def naive_errors(series, held_out, number_of_features, season):
    """Return the errors of forecasts that need no network, by name."""
    windows = sliding_window(series, number_of_features + 1)
    inputs = np.append(windows[:, :-1], np.ones((len(windows), 1)), axis=1)
    fit = np.linalg.lstsq(inputs[:-held_out], windows[:-held_out, -1], rcond=None)[0]
    forecasts = {
        "the value before": windows[:, -2],
        f"a linear fit to {number_of_features} values": inputs @ fit,
    }
    if season:
        forecasts[f"the value {season} steps ago"] = series[:-season]
    return {name: error(f[-held_out:], series) for name, f in forecasts.items()}


def run_ahead(sess, graph, past, steps):
    """Return [steps] forecasts after the past, and val1 all the way: [many, units]."""
    width = int(graph.inputs.shape[-1])
    values, hidden = list(past), []
    feed = {graph.inputs: [sliding_window(past, width)]}
    for _ in range(steps):
        Output, val1, state = sess.run([graph.Output, graph.val1, graph.state], feed)
        values.append(Output[0, -1])
        hidden.extend(val1[0])
        feed = {graph.inputs: [[values[-width:]]], graph.S_initial: state}
    return np.array(values[-steps:]), np.array(hidden)


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
    figure, line, states, names, past, coming, errors, scale, num_updates, column
):
    """Add the panels to the figure; return plot(), which moves them."""
    draw_unrolled(figure.add_axes([0.01, 0.48, 0.98, 0.51]), line, states, names)

    axes = figure.add_axes([0.06, 0.08, 0.24, 0.33])
    axes.set_xlabel("batch (an epoch starts with a state of zeros)")
    axes.set(title="Error one step ahead (root mean square)", xlim=(0, num_updates))
    axes.set_ylim(0, 2 * max(errors.values()))
    for (name, error), style in zip(errors.items(), [":", "-.", "--"]):
        axes.axhline(error, color="gray", ls=style, lw=1, label=name)
    (losses,) = axes.plot([], [], label="the network, in training", animated=True)
    axes.legend(fontsize="small")

    steps = np.arange(-len(past), len(coming)) + 1
    panel = figure.add_axes([0.36, 0.27, 0.62, 0.14], ylabel=column.replace("$", r"\$"))
    panel.set_title("The forecast runs ahead on its own outputs", loc="left")
    panel.plot(steps, np.append(past, coming), "gray", lw=1, label="series")
    (ahead,) = panel.plot([], [], "tab:red", animated=True, label="forecast")
    panel.legend(loc="lower right", bbox_to_anchor=(1, 1), ncol=2, frameon=False)
    panel.set_xlim(steps[0] - 0.5, steps[-1] + 0.5)
    panel.tick_params(labelbottom=False)
    heat = figure.add_axes([0.36, 0.08, 0.62, 0.12], sharex=panel, ylabel="units")
    heat.set(xlabel="time steps from the last known value", yticks=[])
    heat.set_title("The hidden state, from -1 (blue) to 1 (red)", loc="left")
    hidden_states = heat.imshow(
        [[0]], cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", animated=True,
        extent=(steps[line.shape[-1] - 1] - 0.5, steps[-1] - 0.5, states.shape[-1], 0),
    )

    def plot(loss_list, forecast, hidden):
        # The means of every few losses look like all and are drawn fast.
        starts = np.arange(0, len(loss_list), len(loss_list) // 300 + 1)
        counts = np.diff(np.append(starts, len(loss_list)))
        means = np.add.reduceat(loss_list, starts) / counts
        losses.set_data(starts, scale * np.sqrt(means))
        ahead.set_data(steps[-len(forecast):], forecast)
        hidden_states.set_data(hidden.T)

    return plot


def train(
    num_epochs, batch_size, number_of_steps, number_of_features, rnn_size,
    learning_rate, seed, cell, series, column, season, plot_file, logdir, server,
):
    """Look inside, then train to forecast; return all that was found, by name."""
    held_out = len(series) // 5  # the last part, which training never sees
    start = len(series) - held_out
    center, scale = series[:start].mean(), series[:start].std()
    normal = (series - center) / scale
    # A step's features are the last few values, and its target is the next.
    windows = sliding_window(normal, number_of_features + 1)
    num_batches = (len(windows) - held_out) // batch_size // number_of_steps
    # A row is a consecutive stretch of them, and the next row goes on from there.
    rows = windows[: batch_size * num_batches * number_of_steps]
    # [batch_size, num_batches * number_of_steps, number_of_features + 1]
    rows = rows.reshape(batch_size, -1, number_of_features + 1)
    loss_list = np.zeros(num_epochs * num_batches)
    errors = naive_errors(series, held_out, number_of_features, season)

    picture = LivePicture("rnn_internals", plot_file, figsize=(13, 7.5))
    np.random.seed(seed)
    tf.reset_default_graph()
    tf.set_random_seed(seed)
    graph = build_graph(cell, number_of_features, rnn_size, learning_rate)
    # Operations this small take less time than handing them to another thread does.
    sess = open_session(server, inter_op_threads=-1)
    batch = data_inside_a_batch(batch_size, number_of_steps, number_of_features)
    claims, states = look_inside(graph, cell, batch, rnn_size, sess)
    shown = slice(max(start - 72 - number_of_features, 0), start)
    coming = series[start : start + 72]
    plot = make_plot(
        picture.figure, batch[0][:5], states[:6], CELLS[cell][2], series[shown], coming,
        errors, scale, len(loss_list), column,
    )
    log = contextlib.nullcontext()
    if logdir:
        log = tf.summary.FileWriter(logdir, tf.get_default_graph())
    print(f"\nThe forecast learns from {start} values; {held_out} are held out")
    progress = Progress(total=len(loss_list), unit="batch", disable=None)

    with picture, log, progress:
        sess.run(tf.global_variables_initializer())  # not the small weights any more
        for step in range(len(loss_list)):
            start_idx = step % num_batches * number_of_steps
            if start_idx == 0:
                feed = {}  # an epoch's first state is zeros
            stretch = rows[:, start_idx : start_idx + number_of_steps]
            feed.update({graph.inputs: stretch[..., :-1],
                         graph.targets: stretch[..., -1]})
            loss_list[step], _, feed[graph.S_initial], _log = sess.run(
                [graph.loss, graph.train_step, graph.state]
                + [graph.summary if logdir else []],
                feed,
            )
            if not np.isfinite(loss_list[step]):
                sys.exit(f"Loss {loss_list[step]} at step {step}:"
                         " try a smaller --learning_rate.")
            progress.update()
            if logdir:
                log.add_summary(_log, step)
            if step % 1000 == 0 or step == len(loss_list) - 1:
                loss = loss_list[max(step - 99, 0) : step + 1].mean()
                tqdm.write(f"Step {step} Loss {loss:.6f}")
                forecast, hidden = run_ahead(sess, graph, normal[shown], len(coming))
                plot(loss_list[: step + 1], center + scale * forecast, hidden)
                picture.redraw()
        progress.close()

        # In one row, so that the state comes all the way from the first value.
        Output = sess.run(graph.Output, {graph.inputs: windows[None, :, :-1]})
        errors["the network"] = error(center + scale * Output[0, -held_out:], series)
        weights = sess.run(tf.trainable_variables())
        print("\nRoot mean square errors of forecasts, one step ahead")
        for name in sorted(errors, key=errors.get):
            print(f"  {name:24}{errors[name]:8.4g}")
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
    for name, default, low, meaning in [
        ("num_epochs", num_epochs, 1, "how often the network goes through the series"),
        ("batch_size", batch_size, 1, "lines of a batch, computed at the same time"),
        ("number_of_steps", number_of_steps, 1,
         "time steps of a line: how far back a gradient can reach"),
        ("number_of_features", number_of_features, 1, "values that a step takes in"),
        ("rnn_size", rnn_size, 1, "units: the numbers in a state"),
        ("learning_rate", learning_rate, 1e-6, "how far a weight's first update goes"),
        ("seed", 1, 0, "the same seed gives the same series, weights and losses"),
    ]:
        parser.add_argument(
            "--" + name, type=number(type(default), low, 2**32 - 1), default=default,
            help=meaning + " (default: %(default)s)",
        )
    parser.add_argument(
        "--season", type=number(int, 1, 2**32 - 1),
        help="steps in a season: compare with the value so long ago, on made data"
        f" (default: {season})",
    )
    parser.add_argument(
        "--cell", choices=CELLS, default="rnn",
        help="what to look into and to train (default: %(default)s)",
    )
    parser.add_argument("--data", metavar="FILE.csv", help="forecast a series of yours")
    parser.add_argument("--column", metavar="NAME", help="its column in that file")
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

    if (flags.data is None) != (flags.column is None):
        parser.error("--data FILE.csv and --column NAME go together")
    if flags.data is None:
        np.random.seed(flags.seed)
        flags.series, flags.column = make_series(series_length), "made series"
        flags.season = flags.season or season
    else:
        try:
            flags.series = read_series(flags.data, flags.column)
        except (OSError, ValueError, csv.Error) as error:
            why = getattr(error, "strerror", None) or error
            parser.error(f"--data {flags.data}: {why}")
    del flags.data

    known = len(flags.series) - len(flags.series) // 5
    needed = flags.number_of_features + flags.batch_size * flags.number_of_steps
    if known < max(needed, 5):
        parser.error(f"the series is too short: it has {known} values to learn from,"
                     f" and these flags need {max(needed, 5)}")
    if flags.season and flags.season > known:
        parser.error(f"--season {flags.season} is over {known}: so many values to"
                     " learn from")
    if np.ptp(flags.series[:known]) == 0:
        parser.error(f"the series never changes: all values are {flags.series[0]}")
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
