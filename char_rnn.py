"""Char-RNN: a recurrent network reads a text and learns to write on, letter by letter.

The three programs of "Recurrent Neural Networks (RNN) – Part 1: Basic RNN / Char-RNN"
(The Neural Perspective): numpy alone, TensorFlow by hand, and TensorFlow's RNN cells.
The section titles here are the article's headings.

    python char_rnn.py                    # learns from Python's manual, in a window
    python char_rnn.py --data shakespeare --plot char_rnn.png
    python char_rnn.py --sample 500       # write, from the newest checkpoint here

Expect a validation loss of 1.53 nats a character on tiny Shakespeare after 10 epochs,
three minutes on 2 CPU cores; counted pairs of characters reach 2.48.
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
import hashlib
import io
import json
import os
import pydoc_data.topics
import re
import signal
import socket
import sys
import tempfile
import textwrap
import threading
import time
import warnings

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

# --- II. Char-RNN ---------------------------------------------------------------------
num_epochs = 10
batch_size = 50  # rows of the text, read side by side
num_steps = 50  # characters in a window: how far back a gradient can reach
num_hidden_units = 128
num_layers = 2
learning_rate = 0.002
decay_rate = 0.97
max_gradient_norm = 5.0
section_III = {  # what --model numpy has instead
    "batch_size": 1, "num_steps": 25, "num_hidden_units": 100, "num_layers": 1,
    "learning_rate": 0.1,
}
latest = {"newest": "checkpoint", "best": "best.checkpoint"}  # files that name them
shakespeare = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/"
    "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
    os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "shakespeare.txt"),
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)


def read_text(data):
    """Return the text that --data names; raise OSError or ValueError if it is none."""
    if data == "python":
        return "\n".join(pydoc_data.topics.topics.values())
    with open(download(*shakespeare) if data == "shakespeare" else data, "rb") as f:
        text = f.read()
    try:
        return text.decode().lstrip("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from error


def encode(text):
    """Return the text's characters, sorted, and the text as indices of them."""
    vocabulary = "".join(sorted(set(text)))  # sorted: the same in every process
    codes = [ord(char) for char in vocabulary]
    index = np.zeros(codes[-1] + 1, np.min_scalar_type(len(codes)))
    index[codes] = np.arange(len(codes))
    pieces = (text[i : i + 2**20] for i in range(0, len(text), 2**20))
    return vocabulary, np.concatenate(
        [index[np.frombuffer(piece.encode("utf-32-le"), "<u4")] for piece in pieces]
    )


def what_counting_knows(training, validation, vocab_size):
    """Return what guessing and counts of the training text reach on the other, in nats.

    The first 10 million characters are counted; to each count 1 is added.
    """
    training, validation = (ids[: 10**7].astype(int) for ids in (training, validation))
    single = np.bincount(training, minlength=vocab_size) + 1
    seen, counts = np.unique(
        training[:-1] * vocab_size + training[1:], return_counts=True
    )
    pairs = validation[:-1] * vocab_size + validation[1:]
    at = np.searchsorted(seen[:-1], pairs)
    pair = 1 + counts[at] * (seen[at] == pairs)
    after = single[validation[:-1]] + vocab_size - 1
    return {
        "guessing": np.log(vocab_size),
        "single characters": -np.mean(np.log(single[validation] / single.sum())),
        "pairs": -np.mean(np.log(pair / after)),
    }


# --- III. Backpropagation -------------------------------------------------------------
class NumpyModel:
    """One layer, one row of text; xs, hs, ps hold a column vector for each step."""

    def __init__(self, vocab_size, num_hidden_units, learning_rate, seed):
        random = np.random.RandomState(seed)
        self.weights = {
            "Wxh": random.randn(num_hidden_units, vocab_size) * 0.01,
            "Whh": random.randn(num_hidden_units, num_hidden_units) * 0.01,
            "bh": np.zeros((num_hidden_units, 1)),
            "Why": random.randn(vocab_size, num_hidden_units) * 0.01,
            "by": np.zeros((vocab_size, 1)),
        }
        self.memory = {name: np.zeros_like(w) for name, w in self.weights.items()}
        self.learning_rate = learning_rate

    # --- Forward pass
    def forward_pass(self, inputs, targets, hprev):
        """Return the loss, summed over the steps, and xs, hs, ps."""
        Wxh, Whh, bh, Why, by = self.weights.values()
        xs, hs, ps, loss = {}, {-1: hprev}, {}, 0
        for t in range(len(inputs)):
            xs[t] = np.zeros((Wxh.shape[1], 1))
            xs[t][inputs[t]] = 1
            hs[t] = np.tanh(Wxh @ xs[t] + Whh @ hs[t - 1] + bh)
            ys = Why @ hs[t] + by
            ps[t] = np.exp(ys - ys.max())  # the article's exp(ys) overflows at 710
            ps[t] /= ps[t].sum()
            loss -= np.log(ps[t][targets[t], 0])
        return loss, xs, hs, ps

    def backward_pass(self, targets, xs, hs, ps):
        """Return the gradients of that loss, named as the weights are."""
        gradients = {name: np.zeros_like(w) for name, w in self.weights.items()}
        dWxh, dWhh, dbh, dWhy, dby = gradients.values()
        dhnext = np.zeros_like(dbh)
        for t in reversed(range(len(targets))):
            dy = np.copy(ps[t])
            dy[targets[t]] -= 1
            dWhy += dy @ hs[t].T
            dby += dy
            dh = self.weights["Why"].T @ dy + dhnext
            dhraw = (1 - hs[t] * hs[t]) * dh  # through the tanh
            dbh += dhraw
            dWxh += dhraw @ xs[t].T
            dWhh += dhraw @ hs[t - 1].T
            dhnext = self.weights["Whh"].T @ dhraw
        return gradients

    def step(self, X, y, initial_state=None, learn=True):
        """Return the loss in nats a character and the final state; learn by Adagrad."""
        if initial_state is None:
            initial_state = np.zeros_like(self.weights["bh"])
        loss, xs, hs, ps = self.forward_pass(X[0], y[0], initial_state)
        if learn:
            for name, gradient in self.backward_pass(y[0], xs, hs, ps).items():
                gradient = np.clip(gradient, -5, 5)
                self.memory[name] += gradient**2
                change = gradient / np.sqrt(self.memory[name] + 1e-8)
                self.weights[name] -= self.learning_rate * change
        return loss / X.size, hs[X.size - 1]

    def sample(self, prime, length, temperature, top_k, seed):
        """Return the indices of length characters that follow those of prime."""
        random, chars = np.random.RandomState(seed), []
        h, inputs = np.zeros_like(self.weights["bh"]), prime
        for _ in range(length):
            _, _, hs, ps = self.forward_pass(inputs, inputs, h)
            h, logits = hs[len(inputs) - 1], np.log(ps[len(inputs) - 1][:, 0])
            logits[logits < np.sort(logits)[-top_k]] = -np.inf  # at 0: none
            p = np.exp((logits - logits.max()) / max(temperature, 1e-30))
            inputs = [random.choice(len(p), p=p / p.sum())]
            chars += inputs
        return chars


# --- IV. Char-RNN TF Implementation (no RNN abstractions) -----------------------------
def generate_batch(raw_data, batch_size, num_steps, first=0):
    """Yield windows X and targets y, y one character later: [batch_size, num_steps].

    Each row of a window goes on where that row of the window before it ended. What is
    too short for a last window is left out: less than batch_size * (num_steps + 1).
    """
    row_length = (len(raw_data) - 1) // batch_size
    raw_X, raw_y = (  # [batch_size, row_length]
        raw_data[later : later + batch_size * row_length].reshape(batch_size, -1)
        for later in (0, 1)
    )
    for i in range(first * num_steps, row_length - num_steps + 1, num_steps):
        yield raw_X[:, i : i + num_steps], raw_y[:, i : i + num_steps]


def epochs(raw_data, step, batch_size, num_steps, num_batches):
    """Yield X, y and whether the text begins with them, from that step on, for ever.

    num_batches: steps in an epoch; in a cluster, those of all workers together.
    """
    windows = (len(raw_data) - 1) // batch_size // num_steps
    first = step % num_batches * windows // num_batches
    while True:
        begins = first == 0
        for X, y in generate_batch(raw_data, batch_size, num_steps, first):
            yield X, y, begins
            begins = False
        first = 0


def rnn_cell(rnn_input, state):
    """Return a layer's next state, which is its output, too."""
    num_hidden_units = state.shape[1]
    W_input = tf.get_variable("W_input", [rnn_input.shape[1], num_hidden_units])
    W_hidden = tf.get_variable("W_hidden", [num_hidden_units, num_hidden_units])
    b_hidden = tf.get_variable("b_hidden", initializer=tf.zeros([num_hidden_units]))
    return tf.tanh(
        tf.matmul(rnn_input, W_input) + tf.matmul(state, W_hidden) + b_hidden
    )


def rnn_logits(rnn_output, num_classes):
    """Return what softmax turns into the probabilities of the next character."""
    with tf.variable_scope("softmax"):
        W_softmax = tf.get_variable("W_softmax", [rnn_output.shape[-1], num_classes])
        b_softmax = tf.get_variable("b_softmax", initializer=tf.zeros([num_classes]))
    return tf.tensordot(rnn_output, W_softmax, 1) + b_softmax


class ManualNetwork:
    """One-hot characters through num_layers of rnn_cell, every time step unrolled."""

    def __init__(self, num_classes, num_hidden_units, num_layers, num_steps):
        self.num_classes, self.num_steps = num_classes, num_steps
        self.num_hidden_units, self.num_layers = num_hidden_units, num_layers

    def zero_state(self, batch_size):
        shape = [batch_size, self.num_hidden_units]
        return tuple(tf.zeros(shape) for _ in range(self.num_layers))

    def advance(self, char, state):
        """Return the top layer's output after one more character, and the state."""
        rnn_output, next_state = tf.one_hot(char, self.num_classes), []
        for layer in range(self.num_layers):
            with tf.variable_scope(f"rnn_cell_{layer}"):
                rnn_output = rnn_cell(rnn_output, state[layer])
            next_state.append(rnn_output)
        return rnn_output, tuple(next_state)

    def unroll(self, X, state):
        """Return the top layer's outputs for X, step by step, and the final state."""
        rnn_outputs = []  # each [batch_size, num_hidden_units]
        for char in tf.unstack(X, self.num_steps, axis=1):
            rnn_output, state = self.advance(char, state)
            rnn_outputs.append(rnn_output)
        return tf.stack(rnn_outputs, axis=1), state

    def logits(self, rnn_output):
        return rnn_logits(rnn_output, self.num_classes)


# --- V. TF RNN Library Implementation -------------------------------------------------
def rnn_inputs(input_data, num_classes, num_hidden_units):
    """Return rows of W_input, the embeddings: what a product with one-hots gives."""
    with tf.variable_scope("rnn_inputs"):
        W_input = tf.get_variable(
            "W_input", [num_classes, num_hidden_units],
            # From a narrower range than this, an LSTM above all starts far slower.
            initializer=tf.random_uniform_initializer(-1, 1),
        )
    return tf.nn.embedding_lookup(tf.identity(W_input), input_data)


def rnn_softmax(outputs, num_classes):
    """Return the logits, by TensorFlow's own layer."""
    return tf.layers.dense(outputs, num_classes, name="rnn_softmax")


class OrderedDropout(tf.nn.rnn_cell.DropoutWrapper):
    """A DropoutWrapper whose state waits for its output.

    So that no time step overtakes another: the same seed, the same dropout every run.
    """

    def __call__(self, inputs, state, scope=None):
        output, state = super().__call__(inputs, state, scope)
        with tf.control_dependencies([output]):
            return output, tf.nest.map_structure(tf.identity, state)


class LibraryNetwork:
    """The same from TensorFlow's parts; cells: the article's function rnn_cell."""

    def __init__(
        self, model, num_classes, num_hidden_units, num_layers, dropout, input_dropout
    ):
        self.num_classes, self.num_hidden_units = num_classes, num_hidden_units
        self.input_dropout = input_dropout
        rnn_cell_type = {
            "rnn": tf.nn.rnn_cell.BasicRNNCell,
            "gru": tf.nn.rnn_cell.GRUCell,
            "lstm": tf.nn.rnn_cell.LSTMCell,
        }[model]
        cells = []
        for _ in range(num_layers):  # the article's layers are one cell, repeated
            single_cell = rnn_cell_type(num_hidden_units)
            if dropout:
                single_cell = OrderedDropout(single_cell, output_keep_prob=1 - dropout)
            cells.append(single_cell)
        self.stacked_cell = tf.nn.rnn_cell.MultiRNNCell(cells)

    def zero_state(self, batch_size):
        return self.stacked_cell.zero_state(batch_size, tf.float32)

    def advance(self, char, state):
        inputs = rnn_inputs(char, self.num_classes, self.num_hidden_units)
        return self.stacked_cell(inputs, state)

    def unroll(self, X, state):
        # [batch_size, num_steps, num_hidden_units]
        inputs = rnn_inputs(X, self.num_classes, self.num_hidden_units)
        if self.input_dropout:
            inputs = tf.nn.dropout(inputs, rate=self.input_dropout)
        return tf.nn.dynamic_rnn(self.stacked_cell, inputs, initial_state=state)

    def logits(self, outputs):
        return rnn_softmax(outputs, self.num_classes)


def draw(logits, top_k, seed):
    """Return a character [1] drawn from the softmax of logits [1, num_classes].

    top_k: only one of so many of the likeliest; 0: any. seed, two numbers: the same
    ones draw the same.
    """
    def likeliest():
        top = tf.nn.top_k(logits, tf.minimum(top_k, logits.shape[1])).values
        return tf.where(logits < top[0, -1], logits - np.inf, logits)

    kept = tf.cond(top_k > 0, likeliest, lambda: logits)
    drawn = tf.random.stateless_categorical(kept, 1, seed, tf.int32)
    return tf.reshape(drawn, [1])


def refuse(why):
    """End the program with this line and status 2: what it was given does not fit."""
    print(why, file=sys.stderr)
    sys.exit(2)


class Cluster:
    """The machines that TF_CONFIG names, and which of them this one is.

    config: {"cluster": {"ps": ["host:port", ...], "chief": ..., "worker": ...},
    "task": {"type": "worker", "index": 0}}. The variables are on the parameter servers,
    ps. The chief, worker 0 if none has that name, trains as the others do, and saves.
    """

    def __init__(self, config, synchronous, patience):
        """Raise KeyError, TypeError or ValueError if config is not as above."""
        self.spec = tf.train.ClusterSpec(config["cluster"])
        self.job, index = config["task"]["type"], int(config["task"]["index"])
        self.port = int(self.spec.task_address(self.job, index).rpartition(":")[2])
        tasks = [
            (job, i) for job in ("chief", "worker") if job in self.spec.jobs
            for i in self.spec.task_indices(job)
        ]
        if not tasks or not {"ps"} <= set(self.spec.jobs) <= {"ps", "chief", "worker"}:
            raise ValueError("a cluster has ps, worker, and chief or none")
        self.index, self.workers = index, len(tasks)
        self.synchronous, self.patience = synchronous, patience
        self.task = f"/job:{self.job}/task:{index}"
        self.share = 0  # of the text
        if self.job != "ps":
            self.share = tasks.index((self.job, index))
        self.chief = (self.job, index) == tasks[0]
        self.device = tf.train.replica_device_setter(
            worker_device=self.task, cluster=self.spec
        )

    def start(self):
        """Open this machine to the others."""
        try:
            with socket.socket() as test:
                test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                test.bind(("", self.port))
        except (OSError, OverflowError) as error:
            refuse(f"TF_CONFIG gives this machine port {self.port}: {error}")
        config = tf.ConfigProto(
            intra_op_parallelism_threads=1, inter_op_parallelism_threads=2
        )
        self.server = tf.train.Server(self.spec, self.job, self.index, config=config)

    def end_of_training(self, index):
        """Return the queue on a parameter server that is empty until the end."""
        with tf.device(f"/job:ps/task:{index}"):
            return tf.FIFOQueue(99, tf.bool, [()], shared_name="end_of_training")

    def serve(self):
        """Keep variables until the training has ended."""
        ended = self.end_of_training(self.index).size()
        print(f"Parameter server {self.index} is ready", flush=True)
        config = tf.ConfigProto(device_filters=[self.task])
        with tf.Session(self.server.target, config=config) as sess:
            while not sess.run(ended):
                time.sleep(1)
        time.sleep(2)  # for workers in their last step
        print("The training has ended")

    @contextlib.contextmanager
    def patiently(self):
        """End the program with one line if what is done in this context takes longer.

        The library alone would try to reach a lost machine for ever.
        """
        def give_up():
            print(f"Nothing heard for {self.patience} s: are all parameter servers of"
                  " TF_CONFIG there, and the chief?", file=sys.stderr, flush=True)
            os._exit(1)

        timer = threading.Timer(self.patience, give_up)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def session(self, saver, folder, hooks):
        """Return a session on the cluster; all operations are in the graph by now.

        The chief's begins with the newest checkpoint in the folder; the others' wait.
        """
        queues = [self.end_of_training(i) for i in self.spec.task_indices("ps")]
        self.end = tf.group(*[queue.enqueue(True) for queue in queues])
        self.ended = queues[0].size()
        if not self.chief:
            missing = tf.report_uninitialized_variables(tf.global_variables())
        # A worker needs no other: one that is killed is no loss to the rest.
        config = tf.ConfigProto(device_filters=["/job:ps", self.task])
        target = self.server.target

        class Joining(tf.train.SessionCreator):  # the library's looks every 30 s only
            def create_session(self):
                sess = tf.Session(target, config=config)
                while sess.run(missing).size:
                    time.sleep(0.2)
                return sess

        handler = signal.signal(signal.SIGINT, signal.SIG_DFL)  # waiting hears no other
        with self.patiently():
            if self.chief:
                session = tf.train.MonitoredTrainingSession(
                    target, True, folder, tf.train.Scaffold(saver=saver), hooks,
                    save_checkpoint_secs=None, save_summaries_steps=None,
                    save_summaries_secs=None, config=config, stop_grace_period_secs=1,
                    log_step_count_steps=None,
                )
            else:
                session = tf.train.MonitoredSession(Joining(), hooks)
        signal.signal(signal.SIGINT, handler)
        return session

    def has_ended(self, sess):
        with self.patiently():
            return sess.run(self.ended)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Tell the others that the training has ended, as far as they are there."""
        config = tf.ConfigProto(
            operation_timeout_in_ms=5000, device_filters=["/job:ps", self.task]
        )
        with contextlib.suppress(tf.errors.OpError):
            tf.Session(self.server.target, self.end.graph, config).run(self.end)


class Model:
    """The article's class model, sections IV and V: one graph learns, reads and writes.

    X and y are indices of characters [batch_size, num_steps], losses nats a character.
    It runs here, on a server, or as one of a cluster's workers; of these the chief's
    variables begin as those of the newest checkpoint in its folder.
    """

    def __init__(self, server=None, cluster=None, folder=None, **sizes):
        tf.reset_default_graph()
        tf.set_random_seed(sizes.pop("seed"))
        with tf.device(cluster and cluster.device):
            hooks = self.build_graph(cluster, **sizes)
        self.patiently = cluster.patiently if cluster else contextlib.nullcontext
        if cluster:
            self.sess = cluster.session(self.savers["newest"], folder, hooks)
        else:
            # Two operations at a time, as of two layers, each in one thread: products
            # this small lose more by being split than they gain.
            self.sess = open_session(server, inter_op_threads=2)
            self.sess.run(tf.global_variables_initializer())
        with self.patiently():
            self.done = int(self.sess.run(self.global_step))

    def build_graph(
        self, cluster, model, vocab_size, batch_size, num_steps, num_hidden_units,
        num_layers, learning_rate, decay_rate, num_batches, max_gradient_norm, dropout,
        input_dropout, average_decay,
    ):
        """Add the network to the graph; return the hooks that its session needs."""

        def network(dropout, input_dropout):
            sizes = vocab_size, num_hidden_units, num_layers
            if model == "manual":
                return ManualNetwork(*sizes, num_steps)
            return LibraryNetwork(model, *sizes, dropout, input_dropout)

        def loss_of(logits):
            # [batch_size, num_steps]
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                logits=logits, labels=self.y
            )
            return tf.reduce_mean(losses)

        def variables(getter=None):
            return tf.variable_scope(
                "char_rnn", reuse=tf.AUTO_REUSE, custom_getter=getter,
                auxiliary_name_scope=False,
            )

        with tf.name_scope("Data_placeholders"):
            self.X = tf.placeholder(tf.int32, [None, None])
            self.y = tf.placeholder(tf.int32, [None, None])

        with tf.name_scope("Training"), variables():
            training = network(dropout, input_dropout)
            self.initial_state = training.zero_state(tf.shape(self.X)[0])
            self.outputs, self.final_state = training.unroll(self.X, self.initial_state)
            self.loss = loss_of(training.logits(self.outputs))

        with tf.name_scope("Optimization"):
            self.global_step = tf.train.get_or_create_global_step()
            lr = tf.train.exponential_decay(
                learning_rate, self.global_step, num_batches, decay_rate, staircase=True
            )
            trainable_vars = tf.trainable_variables()
            self.gradients = tf.gradients(self.loss, trainable_vars)
            if cluster:  # the embeddings' sum is less to send than a row a character
                self.gradients = [tf.convert_to_tensor(g) for g in self.gradients]
            grads, _ = tf.clip_by_global_norm(self.gradients, max_gradient_norm)
            average_op, averages, hooks = tf.no_op(), None, []
            if average_decay:  # read and write with averages of the latest weights
                average = tf.train.ExponentialMovingAverage(
                    average_decay, self.global_step
                )
                average_op = average.apply(trainable_vars)

                def averages(getter, *args, **kwargs):
                    return average.average(getter(*args, **kwargs))

            optimizer = tf.train.AdamOptimizer(lr)
            if cluster and cluster.synchronous:  # an update for the windows of all
                optimizer = tf.train.SyncReplicasOptimizer(optimizer, cluster.workers)
                hooks = [optimizer.make_session_run_hook(cluster.chief)]
                average_op = average_op if cluster.chief else tf.no_op()
            # Averages first: dynamic_rnn reads its weights once a step, before updates.
            with tf.control_dependencies([average_op]):
                self.train_optimizer = optimizer.apply_gradients(
                    zip(grads, trainable_vars), self.global_step
                )
            with tf.control_dependencies([self.train_optimizer]):
                self.steps_done = self.global_step.read_value()

        with tf.name_scope("Validation"), variables(averages):
            reading = network(dropout=0, input_dropout=0)
            self.reading_state = reading.zero_state(tf.shape(self.X)[0])
            outputs, self.read_state = reading.unroll(self.X, self.reading_state)
            self.validation_loss = loss_of(reading.logits(outputs))

        with tf.name_scope("Sampling"), variables(averages):
            self.prime = tf.placeholder(tf.int32, [None])
            self.drawing = [
                tf.placeholder(kind, [])  # length, temperature, top_k, seed
                for kind in (tf.int32, tf.float32, tf.int32, tf.int32)
            ]
            length, temperature, top_k, draw_seed = self.drawing
            # The article divides probabilities by it, not logits. Near 0, as good as at
            # 0, the likeliest character is the only one.
            coldness = 1 / tf.maximum(temperature, 1e-20)
            last = tf.size(self.prime) - 1

            def read(i, state):
                return i + 1, reading.advance(tf.reshape(self.prime[i], [1]), state)[1]

            _, state = tf.while_loop(
                lambda i, _: i < last, read, [0, reading.zero_state(1)]
            )

            def write(i, char, state, chars):
                output, state = reading.advance(char, state)  # [1, num_hidden_units]
                logits = reading.logits(output) * coldness
                char = draw(logits, top_k, [draw_seed, i])
                return i + 1, char, state, chars.write(i, char)

            chars = tf.TensorArray(tf.int32, length, element_shape=[1])
            *_, chars = tf.while_loop(
                lambda i, *_: i < length, write,
                [0, tf.reshape(self.prime[last], [1]), state, chars],
            )
            self.chars = chars.concat()

        with tf.name_scope("Checkpoint"):  # what else it takes to go on
            self.carried = [
                tf.Variable(zeros, trainable=False, name="carried")
                for zeros in tf.nest.flatten(training.zero_state(batch_size))
            ]
            self.notes = tf.Variable("{}", trainable=False, name="notes")
            self.variables = {  # SyncReplicasOptimizer keeps its own in no scope
                each.op.name.replace("Optimization/", ""): each
                for each in tf.global_variables()
            }
            self.savers = {
                name: tf.train.Saver(
                    self.variables, max_to_keep=1, save_relative_paths=True
                )
                for name in latest
            }
        return hooks

    def step(self, X, y, initial_state=None, learn=True):
        """Return the loss and the final state, and learn, or read without dropout."""
        feed = {self.X: X, self.y: y}
        if initial_state is not None:
            feed[self.initial_state if learn else self.reading_state] = initial_state
        with self.patiently():
            loss, state, done = self.sess.run(
                [self.loss, self.final_state, self.steps_done] if learn
                else [self.validation_loss, self.read_state, self.global_step],
                feed,
            )
        self.done = int(done)
        return loss, state

    def sample(self, prime, *drawing):
        """Return so many indices of characters as follow those of prime: see flags."""
        feed = dict(zip(self.drawing, drawing))
        return self.sess.run(self.chars, {self.prime: prime, **feed})

    def copy(self, other):
        """Take over all variables of another machine's; return the steps done."""
        wanted = {name: other.variables[name] for name in self.variables}
        with other.patiently():
            values = other.sess.run(wanted)
        for name, value in values.items():
            self.variables[name].load(value, self.sess)
        return int(values["global_step"])

    def save(self, name, folder, state, notes):
        """Write the checkpoint called name, and only then remove the one before it."""
        self.notes.load(json.dumps(notes), self.sess)
        if state is not None:
            for variable, value in zip(self.carried, tf.nest.flatten(state)):
                variable.load(value, self.sess)
        self.savers[name].save(
            self.sess, os.path.join(folder, name), self.global_step,
            latest_filename=latest[name], write_meta_graph=False,
        )

    def restore(self, name, folder):
        """Return the state and the notes of the checkpoint called name."""
        path = tf.train.latest_checkpoint(folder, latest[name])
        try:
            self.savers[name].restore(self.sess, path)
        except (tf.errors.OpError, ValueError) as error:
            why = str(error).splitlines()[0]
            refuse(f"No checkpoint to be read in {folder}: {why}")
        for each, saver in self.savers.items():  # they remove these when they save anew
            path = tf.train.latest_checkpoint(folder, latest[each])
            saver.recover_last_checkpoints([path] if path else [])
        carried, notes = self.sess.run([self.carried, self.notes])
        return tf.nest.pack_sequence_as(self.initial_state, carried), json.loads(notes)


# --- Training -------------------------------------------------------------------------
def evaluate(network, raw_data, batch_size, num_steps):
    """Return the mean loss of a text in nats a character, read as in training."""
    losses, state = [], None
    batch_size = min(batch_size, (len(raw_data) - 1) // num_steps)
    for X, y in generate_batch(raw_data, batch_size, num_steps):
        loss, state = network.step(X, y, state, learn=False)
        losses.append(loss)
    return float(np.mean(losses))


def nats_and_bits(loss):
    return f"{loss:.4f} nats ({loss / np.log(2):.4f} bits)"


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


def make_plot(figure, num_epochs, references):
    """Add the panels to the figure; return plot(), which moves them."""
    figure.subplots_adjust(0.07, 0.1, 0.98, 0.92, wspace=0.08)
    axes = figure.add_subplot(1, 2, 1, title="Loss", xlabel="epoch")
    axes.set(ylabel="nats a character", xlim=(0, 1.02 * num_epochs))
    axes.set_ylim(min(1, references["pairs"] / 2), references["guessing"] * 1.1)
    for (name, loss), style in zip(references.items(), ["--", "-.", ":"]):
        axes.axhline(loss, color="gray", ls=style, lw=1)
        label = f"{name}: {loss:.2f} "
        axes.text(1.02 * num_epochs, loss, label, ha="right", va="bottom")
    (training,) = axes.plot([], [], lw=1, animated=True, label="training")
    (validation,) = axes.plot([], [], "o-", ms=4, animated=True, label="validation")
    axes.legend(loc="upper center", ncol=2, frameon=False)
    panel = figure.add_subplot(1, 2, 2, title="Written by the network")
    panel.axis("off")
    page = panel.text(0, 1, "", va="top", family="monospace", size=9, animated=True)
    warnings.filterwarnings("ignore", "Glyph")  # the font has not all letters there are

    def plot(curves, text):
        training.set_data(*np.reshape(curves["training"], (-1, 2)).T)
        validation.set_data(*np.reshape(curves["validation"], (-1, 2)).T)
        lines = [textwrap.wrap(line, 62) or [""] for line in text.splitlines()]
        page.set_text("\n".join(sum(lines, [])[:24]).replace("$", r"\$"))

    return plot


def work(settings, share, num_epochs, cluster):
    """Train beside the chief until the last epoch is done, or the chief has ended."""
    sizes, state = settings["network"], None
    network = Model(cluster=cluster, **sizes)
    first, last = network.done, num_epochs * sizes["num_batches"]
    names = ["batch_size", "num_steps", "num_batches"]
    windows = epochs(share, first, *[sizes[name] for name in names])
    print(f"Worker {cluster.share} joins at step {first}", flush=True)
    progress = Progress(total=last, initial=first, unit="batch", disable=None)
    with network.sess, progress:
        while network.done < last and not cluster.has_ended(network.sess):
            X, y, begins = next(windows)
            _, state = network.step(X, y, None if begins else state)
            progress.update(network.done - progress.n)
    print("The training has ended")


def train(
    settings, training, share, validation, num_epochs, prime, temperature, top_k,
    checkpoint_dir, resume, plot_file, logdir, server, cluster,
):
    """Train, drawing as it goes; return the curves: lists of [epoch, loss in nats].

    settings: the network's arguments and its vocabulary; the texts are indices, share
    what this machine learns from: all of training, or its part of it in a cluster.
    """
    sizes, vocabulary = settings["network"], settings["vocabulary"]
    batch_size, num_steps = sizes["batch_size"], sizes["num_steps"]
    num_batches, workers = sizes["num_batches"], cluster.workers if cluster else 1
    every = num_batches // workers // 20 + 1  # losses to a point of the training curve
    references = what_counting_knows(training, validation, len(vocabulary))
    picture = LivePicture("char_rnn", plot_file, figsize=(11, 5.5))
    plot = make_plot(picture.figure, num_epochs, references)
    state = None
    place = [num_batches, workers]
    notes = {"step": 0, "losses": [], "training": [], "validation": [], "place": place}
    moved = False
    if sizes["model"] == "numpy":
        names = ["vocab_size", "num_hidden_units", "learning_rate", "seed"]
        network = NumpyModel(*[sizes[name] for name in names])
    else:
        network = Model(**sizes)
        if resume:
            state, notes = network.restore("newest", checkpoint_dir)
            moved = notes["place"] != place  # there were more or fewer workers
            if moved:  # and other rows, whose state it is
                notes["step"] = notes["step"] * num_batches // notes["place"][0]
                network.global_step.load(notes["step"], network.sess)
                state, notes["place"], notes["losses"] = None, place, []
            if notes["step"] >= num_epochs * num_batches:
                done = notes["step"] // num_batches
                refuse(f"{done} epochs are done in {checkpoint_dir}: go on with a"
                       " larger --num_epochs")
        try:
            checkpoint_dir = begin_run(checkpoint_dir, settings)
        except OSError as error:
            sys.exit(f"Nothing saved, what was there before still is: {error}")
        print("Checkpoints in", checkpoint_dir)
    print(f"{len(training)} characters to learn from,"
          f" {len(validation)} to validate with")
    for name, loss in references.items():
        print(f"{name:18}{nats_and_bits(loss)} a character")
    log = contextlib.nullcontext()
    if logdir:
        log = tf.summary.FileWriter(logdir, tf.get_default_graph())

    def add_summary(tag, value):
        if logdir:
            value = tf.Summary.Value(tag=tag, simple_value=value)
            log.add_summary(tf.Summary(value=[value]), notes["step"])

    def save(name):
        if sizes["model"] != "numpy":
            try:
                network.save(name, checkpoint_dir, state, notes)
            except (tf.errors.OpError, OSError) as error:
                why = str(error).splitlines()[0]
                sys.exit(f"Nothing saved, what was there before still is: {why}")

    def end_epoch(epoch, speed, left):
        """Validate, write and print; save the network if there was no better one."""
        loss = evaluate(reader, validation, batch_size, num_steps)
        notes["validation"].append([epoch, loss])
        add_summary("validation_loss", loss)
        chars = reader.sample(prime, 500, temperature, top_k, sizes["seed"])
        text = "".join(vocabulary[idx] for idx in [*prime, *chars])
        tqdm.write(
            f"Epoch {epoch:2}  training {nats_and_bits(np.mean(notes['losses']))} "
            f" validation {nats_and_bits(loss)}  {speed:.0f} characters/s "
            f" {tqdm.format_interval(left)} left"
        )
        tqdm.write(textwrap.indent(text, "  | ", lambda line: True))
        notes["losses"] = []
        if loss == min(loss for _, loss in notes["validation"]):
            save("best")
        return text

    step = first = notes["step"]
    last = num_epochs * num_batches
    windows = epochs(share, step, batch_size, num_steps, num_batches)
    progress = Progress(total=last, initial=first, unit="batch", disable=None)
    start = next_draw = time.time()
    next_save = start + 60
    text, seconds, timed_from = "", 0, None
    characters = batch_size * num_steps  # in a step
    if cluster and cluster.synchronous:
        characters *= workers

    with picture, log, progress:
        if not resume or moved:
            save("newest")
        learner = reader = network
        if server:  # what it saved would be its files
            learner = reader = Model(server, **sizes)
            learner.copy(network)
        if cluster:
            learner = Model(cluster=cluster, folder=checkpoint_dir, **sizes)
        with cluster or contextlib.nullcontext():
            while step < last:
                input_X, input_y, begins = next(windows)  # [batch_size, num_steps]
                if begins:
                    state = None  # before its first characters all is zeros
                seconds -= time.time()
                total_loss, state = learner.step(input_X, input_y, state)
                seconds += time.time()
                before, step = step, learner.done if cluster else step + 1
                epoch, batch_idx = divmod(before, num_batches)
                if not np.isfinite(total_loss):
                    sys.exit(f"Loss {total_loss}, epoch {epoch + 1}, step {batch_idx}:"
                             " try a smaller --learning_rate.")
                saving = step // num_batches > epoch or time.time() > next_save
                if saving and learner is not network:
                    step = network.copy(learner)
                at_end = step // num_batches > epoch
                notes["step"] = step
                notes["losses"].append(float(total_loss))
                add_summary("loss", total_loss)
                if len(notes["losses"]) % every == 0:
                    point = [step / num_batches, np.mean(notes["losses"][-every:])]
                    notes["training"].append(point)
                timed_from = step - 1 if timed_from is None else timed_from
                if at_end:
                    speed = (step - timed_from) * characters / seconds
                    left = (time.time() - start) / (step - first) * max(last - step, 0)
                    text = end_epoch(epoch + 1, speed, left)
                    seconds, timed_from = 0, None
                if saving:
                    save("newest")
                    next_save = time.time() + 60
                if at_end or time.time() > next_draw:
                    plot(notes, text)
                    picture.redraw()
                    next_draw = time.time() + 0.3
                try:
                    progress.update(step - before)
                except SystemExit:  # Ctrl-C
                    if learner is not network:
                        notes["step"] = network.copy(learner)
                    save("newest")
                    raise
        progress.close()
        picture.wait_until_closed()
    return notes


def write(settings, checkpoint_dir, prime, length, temperature, top_k, seed, server):
    """Print and return prime and length characters more, by the best network saved."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the loop in the graph hears no other
    network = Model(**settings["network"])
    best = os.path.join(checkpoint_dir, latest["best"])
    network.restore("best" if os.path.exists(best) else "newest", checkpoint_dir)
    if server:
        saved, network = network, Model(server, **settings["network"])
        network.copy(saved)
    chars = network.sample(prime, length, temperature, top_k, seed)
    text = "".join(settings["vocabulary"][idx] for idx in [*prime, *chars])
    print(text)
    return text


def check(settings, training, seed, server):
    """Print and return by how much numpy, manual and rnn differ on one window.

    One layer, the same weights; and the largest gradients from finite differences.
    """
    sizes = dict(settings["network"], batch_size=1, num_layers=1)
    num_hidden_units, num_steps = sizes["num_hidden_units"], sizes["num_steps"]
    X, y = next(generate_batch(training, 1, num_steps))
    network = NumpyModel(sizes["vocab_size"], num_hidden_units, 0.1, seed)
    random = np.random.RandomState(seed)
    for w in network.weights.values():
        w[:] = random.normal(0, 0.1, w.shape)
    hprev = random.uniform(-1, 1, (num_hidden_units, 1))
    loss, xs, hs, ps = network.forward_pass(X[0], y[0], hprev)
    gradients = network.backward_pass(y[0], xs, hs, ps)
    states = np.hstack([hs[t] for t in range(num_steps)]).T
    differences = {}

    for model in ("manual", "rnn"):
        Wxh, Whh, bh, Why, by = (w.T for w in network.weights.values())
        dWxh, dWhh, dbh, dWhy, dby = (d.T / num_steps for d in gradients.values())
        if model == "rnn":  # its kernel goes on from the embedding: let it copy that
            Whh = np.vstack([np.eye(num_hidden_units), Whh])
            dWhh = np.vstack([Wxh.T @ dWxh, dWhh])
        other = Model(server, **dict(sizes, model=model))
        for variable, w in zip(tf.trainable_variables(), [Wxh, Whh, bh, Why, by]):
            variable.load(w.reshape(variable.shape), other.sess)
        found = other.sess.run(
            [other.loss, other.outputs, *map(tf.convert_to_tensor, other.gradients)],
            {other.X: X, other.y: y, other.initial_state: (hprev.T,)},
        )
        wanted = [loss / num_steps, states, dWxh, dWhh, dbh, dWhy, dby]
        for name, a, b in zip(["loss", "states", *gradients], found, wanted):
            differences[f"{model} {name}"] = np.abs(a - np.reshape(b, a.shape)).max()

    for name, w in network.weights.items():
        errors = []
        for idx in np.argsort(-np.abs(gradients[name]), axis=None)[:10]:
            slope = 0
            for way in (1e-5, -1e-5):
                w.flat[idx] += way
                slope += network.forward_pass(X[0], y[0], hprev)[0] / way / 2
                w.flat[idx] -= way
            errors.append(abs(slope - gradients[name].flat[idx]) / num_steps)
        differences[f"slopes {name}"] = max(errors)
    print("Largest differences: of manual and rnn to numpy, of numpy to finite slopes")
    for name, difference in differences.items():
        print(f"  {name:16}{difference:.1e}")
    return differences


def folders_of_runs():
    """Return the folders here that runs without --checkpoint_dir made, by number."""
    found = [re.fullmatch(r"char_rnn_(\d+)", name) for name in os.listdir(".")]
    return {int(match[1]): match[0] for match in found if match}


def begin_run(folder, settings):
    """Write the settings to the folder, by default one with the next free number."""
    if folder is None:
        folder = f"char_rnn_{max(folders_of_runs(), default=0) + 1}"
        os.mkdir(folder)
    path = os.path.join(folder, "settings.json")
    with open(path + ".part", "w", encoding="utf-8") as f:
        json.dump(settings, f, indent=1)
    os.replace(path + ".part", path)
    return folder


def open_session(server, inter_op_threads):
    """Return a session in this process or on a server, for operations of one thread.

    Of a server's variables it sees its own only; silence of 30 s is an error.
    """
    return tf.Session(server, config=tf.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=inter_op_threads,
        isolate_session_state=True, operation_timeout_in_ms=30000 if server else 0,
    ))


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
    parser.add_argument(
        "--model", choices=["numpy", "manual", "rnn", "gru", "lstm"], default="gru",
        help="numpy: section III; manual: section IV; the others: V (default: gru)",
    )
    parser.add_argument(
        "--data", default="python", metavar="FILE",
        help="a text in UTF-8; shakespeare: downloaded once; python: the manual that"
        " comes with Python (default: python)",
    )
    for name, default, low, high, meaning in [
        ("num_epochs", num_epochs, 1, 2**31, "how often the text is gone through"),
        ("batch_size", batch_size, 1, 2**31, "rows of the text, read side by side"),
        ("num_steps", num_steps, 1, 2**31,
         "characters in a window: how far back a gradient can reach"),
        ("num_hidden_units", num_hidden_units, 1, 2**31, "numbers in a layer's state"),
        ("num_layers", num_layers, 1, 2**31, "cells on top of each other"),
        ("learning_rate", learning_rate, 1e-9, 1e9, "how far an update goes, at first"),
        ("decay_rate", decay_rate, 1e-9, 1,
         "factor on the learning rate after each epoch"),
        ("max_gradient_norm", max_gradient_norm, 1e-9, 1e9,
         "longer gradients are cut to this length"),
        ("dropout", 0.0, 0, 0.99, "part of each cell's outputs hidden in training"),
        ("input_dropout", 0.0, 0, 0.99, "part of the embeddings hidden in training"),
        ("average_decay", 0.0, 0, 0.99999,
         "validate and write with running averages of the weights, 0: with the last"),
        ("seed", 1, 0, 2**31 - 1, "the same seed gives the same losses and texts"),
        ("temperature", 1.0, 0, 1e9,
         "for writing: below 1 bold guesses are rare, at 0 there are none"),
        ("top_k", 0, 0, 2**31 - 1,
         "for writing: draw from so many of the likeliest characters, 0: from all"),
    ]:
        parser.add_argument(
            "--" + name, type=number(type(default), low, high), default=default,
            help=meaning + " (default: %(default)s)",
        )
    parser.add_argument(
        "--prime", metavar="TEXT",
        help="what the written goes on from (default: the text's first character in"
        " code order, most often a line's end)",
    )
    parser.add_argument(
        "--sample", type=number(int, 1, 2**31 - 1), metavar="N", dest="length",
        help="write N characters with a saved network, instead of training",
    )
    parser.add_argument(
        "--checkpoint_dir", metavar="DIR",
        help="where to save, or where --resume and --sample find what was saved"
        " (default: char_rnn_1 and so on, a new one or the newest)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on training where a run ended"
    )
    parser.add_argument(
        "--check", action="store_true",
        help="compare numpy, manual and rnn with each other, instead of training",
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
    parser.add_argument(
        "--synchronous", action="store_true",
        help="with TF_CONFIG: one update for the windows of all workers, not one each",
    )
    parser.add_argument(
        "--patience", type=number(int, 1, 10**6), default=300, metavar="SECONDS",
        help="with TF_CONFIG: how long a missing machine is waited for (default:"
        " %(default)s)",
    )
    flags = parser.parse_args(argv)
    names = ["model", "batch_size", "num_steps", "num_hidden_units", "num_layers",
             "learning_rate", "decay_rate", "max_gradient_norm", "dropout",
             "input_dropout", "average_decay", "seed"]

    saved = cluster = None
    config = os.environ.get("TF_CONFIG") or "{}"
    try:
        if json.loads(config).get("cluster") and not (flags.length or flags.check):
            cluster = Cluster(json.loads(config), flags.synchronous, flags.patience)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        parser.error(f"TF_CONFIG {config}: {error!r}")
    if cluster:
        if flags.model == "numpy" or flags.server:
            parser.error("TF_CONFIG goes neither with --model numpy nor --server")
        if not cluster.chief:  # the same command: these are for the chief
            flags.resume, flags.checkpoint_dir = False, None
    if flags.model == "numpy":
        if flags.resume or flags.length or flags.checkpoint_dir:
            parser.error("--model numpy keeps no checkpoints")
        if flags.server and not flags.check:
            parser.error("--model numpy computes here, not on a --server")
        parser.set_defaults(**section_III)
    if flags.resume or flags.length:  # what is not given is as it was
        runs = folders_of_runs()
        run = flags.checkpoint_dir or runs.get(max(runs, default=0))
        if run is None:
            parser.error("no folder char_rnn_1 or the like here: train first")
        try:
            with open(os.path.join(run, "settings.json"), encoding="utf-8") as f:
                saved = json.load(f)
            parser.set_defaults(
                checkpoint_dir=run, **saved["network"], **saved["flags"]
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            parser.error(f"no run to be read in {run}: {error}")
    if saved or flags.model == "numpy":
        flags = parser.parse_args(argv)
    flags.cluster = cluster
    sizes = {name: getattr(flags, name) for name in names}
    if flags.model == "numpy" and (flags.batch_size, flags.num_layers) != (1, 1):
        parser.error("--model numpy has one row and one layer")
    if flags.model in ("numpy", "manual") and (flags.dropout or flags.input_dropout):
        parser.error(f"--model {flags.model} has no dropout")

    if flags.length:
        flags.settings = saved
    else:
        try:
            text = read_text(flags.data)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            parser.error(f"--data {flags.data}: {why}")
        if len(text) < 20:
            parser.error(f"--data {flags.data}: {len(text)} characters, at least 20"
                         " are needed")
        vocabulary, ids = encode(text)
        flags.training, flags.validation = np.split(ids, [len(ids) * 9 // 10])
        fitting = min(flags.num_steps, len(flags.validation) - 1)
        workers, share = 1, 0
        if cluster:
            workers, share = cluster.workers, cluster.share
        length = len(flags.training) // workers
        flags.share = flags.training[share * length :][:length]
        rows = min(flags.batch_size, (length - 1) // fitting)
        if (rows, fitting) != (flags.batch_size, flags.num_steps):
            parser.error(f"--data {flags.data}: {len(text)} characters are too few;"
                         f" --batch_size {rows} --num_steps {fitting} would do")
        num_batches = (length - 1) // rows // fitting
        num_batches *= 1 if flags.synchronous else workers
        sizes.update(vocab_size=len(vocabulary), num_batches=num_batches)
        flags.settings = {
            "network": sizes,
            "flags": {"data": flags.data, "num_epochs": flags.num_epochs},
            "vocabulary": vocabulary,
            "text": hashlib.sha256(ids.tobytes()).hexdigest(),
        }
    if flags.resume:
        differing = [
            f"--{name} is {saved['network'][name]} there, not {sizes[name]}"
            for name in names if saved["network"][name] != sizes[name]
        ]
        if saved["text"] != flags.settings["text"]:
            differing.insert(0, f"its text is not that of --data {flags.data}")
        if differing:
            parser.error(f"{flags.checkpoint_dir}: {', '.join(differing)}")
    elif flags.checkpoint_dir and not flags.length:
        if os.path.exists(os.path.join(flags.checkpoint_dir, "settings.json")):
            parser.error(f"{flags.checkpoint_dir} holds a run: go on with --resume")
        try:
            folder(flags.checkpoint_dir)
        except argparse.ArgumentTypeError as error:
            parser.error(f"--checkpoint_dir {error}")

    vocabulary = flags.settings["vocabulary"]
    prime = vocabulary[0] if flags.prime is None else flags.prime
    for char in prime:
        if char not in vocabulary:
            parser.error(f"--prime: {char!r} is not in the text")
    if not prime:
        parser.error("--prime: one character is the least")
    flags.prime = [vocabulary.index(char) for char in prime]
    return flags


def main(argv=None):
    """Run the program; return the curves, or what was written, or the differences."""
    flags = parse_flags(argv)
    with contextlib.suppress(AttributeError):  # where output is no terminal or file
        sys.stdout.reconfigure(errors="replace")  # it may not have all letters
    if flags.check:
        return check(flags.settings, flags.training, flags.seed, flags.server)
    if flags.length:
        return write(
            flags.settings, flags.checkpoint_dir, flags.prime, flags.length,
            flags.temperature, flags.top_k, flags.seed, flags.server,
        )
    cluster = flags.cluster
    if cluster:
        cluster.start()
        if cluster.job == "ps":
            return cluster.serve()
        if not cluster.chief:
            try:
                return work(flags.settings, flags.share, flags.num_epochs, cluster)
            except tf.errors.InvalidArgumentError:
                refuse("This worker's text or flags are not those of the chief.")
    return train(
        flags.settings, flags.training, flags.share, flags.validation, flags.num_epochs,
        flags.prime, flags.temperature, flags.top_k, flags.checkpoint_dir, flags.resume,
        flags.plot_file, flags.logdir, flags.server, cluster,
    )


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
