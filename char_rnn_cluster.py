"""Char-RNN on several machines: TensorFlow's runtime trains one network on them all.

The network of char_rnn.py, section V. Parameter servers (ps) keep its variables, chief
and workers learn from a part of the text each; the command is the same on all:

    export TF_CONFIG='{"cluster": {"ps": ["10.0.0.1:2222"], "chief": ["10.0.0.2:2222"],
        "worker": ["10.0.0.3:2222"]}, "task": {"type": "ps", "index": 0}}'
    python char_rnn_cluster.py --data shakespeare

The chief, or else worker 0, validates and saves: char_rnn.py --checkpoint_dir
char_rnn_cluster writes with --sample 500, or goes on with --resume. A lost machine goes
on when its command is given again; Ctrl-C on the chief ends all. Trusted networks only:
who reaches a port can run anything. Expect char_rnn.py's losses, and more speed.
"""
# /// script
# requires-python = ">=3.9,<3.14"
# dependencies = ["tensorflow>=2.16,<3", "tf_keras>=2.16,<3"]
# ///
# %% Imports
import argparse
import hashlib
import itertools
import json
import os
import pydoc_data.topics
import signal
import sys
import threading
import time
import warnings

import numpy as np

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # each lost connection is a line else
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
model = flag("model", "gru", "the cells of section V", choices=["rnn", "gru", "lstm"])
batch_size = flag("batch_size", 50, "rows of a machine's part, read side by side")
num_steps = flag("num_steps", 50, "characters in a window of a row")
num_hidden_units = flag("num_hidden_units", 128, "in a layer's state")
num_layers = flag("num_layers", 2, "cells on top of each other")
parser.add_argument("--synchronous", action="store_true", help="all update at once")
same_flags = vars(parser.parse_known_args(argv)[0])  # on all machines, in all of a run
synchronous = same_flags["synchronous"]
num_epochs = flag("num_epochs", 10, "how often the text is gone through")
learning_rate = flag("learning_rate", 0.002, "at first", low=1e-9)
decay_rate = flag("decay_rate", 0.97, "factor on it an epoch", low=1e-9)
max_gradient_norm = flag("max_gradient_norm", 5.0, "longer ones are cut to it", 1e-9)
data = flag("data", "python", "or a FILE, or shakespeare, the article's, downloaded")
seed = flag("seed", 1, "the same seed gives the same numbers", low=0, high=2**32)
checkpoint_dir = flag("checkpoint_dir", "char_rnn_cluster", "to save and go on in")
patience = flag("patience", 300, "seconds without an answer after which to give up")
parser.add_argument("-h", "--help", action="help")
flags = vars(parser.parse_args(argv))  # refuses all others
for name in "checkpoint_dir", "patience", "synchronous":
    del flags[name]  # the rest is saved, for char_rnn.py to go on with

# %% II. Char-RNN
url = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare"
sha256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
if data == "python":
    text = "\n".join(pydoc_data.topics.topics.values())
else:
    file = data if data != "shakespeare" else tf.keras.utils.get_file(
        "shakespeare.txt", f"{url}/input.txt", file_hash=sha256, cache_subdir="data",
        cache_dir=os.path.dirname(globals().get("__file__", "")) or ".")
    with open(file, encoding="utf-8-sig") as f:
        text = f.read()

vocabulary = "".join(sorted(set(text)))  # sorted: the same in every process
char_to_idx = {char: idx for idx, char in enumerate(vocabulary)}
raw_data = np.fromiter(map(char_to_idx.get, text), np.int32, len(text))
training, validation = np.split(raw_data, [len(text) * 9 // 10])

# %% The cluster
try:
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    cluster, job, index = resolver.cluster_spec(), resolver.task_type, resolver.task_id
    address, ps = cluster.task_address(job, index), cluster.job_tasks("ps")
    tasks = [(name, i) for name in ["chief", "worker"] if name in cluster.jobs
             for i in cluster.task_indices(name)]  # those that learn
    chief = (job, index) == tasks[0]  # the others only learn, or are parameter servers
    rank = 0 if job == "ps" else tasks.index((job, index))
    server = tf.train.Server(cluster, job, index, config=tf.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=2))
except tf.errors.OpError as error:
    parser.error(f"no server at {address}, is the port taken? {error.message}")
except Exception as error:  # of many kinds
    parser.error(f"TF_CONFIG is not like the one at the top of this file: {error!r}")
signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends what waits in the C++ core, too
task = f"/job:{job}/task:{index}"
# A machine needs no other but the servers: a lost worker is no loss to the rest.
config = tf.ConfigProto(device_filters=[task] + ["/job:ps"] * (job != "ps"))
share = np.array_split(training, len(tasks))[rank]  # this machine learns from it
windows = len(tasks) if synchronous else 1  # for an update; num_batches are an epoch
num_batches = (len(share) - 1) // batch_size // num_steps * len(tasks) // windows
if num_batches < 1 or len(validation) <= num_steps:
    parser.error(f"--data {data}: {len(text)} characters are too few for these flags")
digest = hashlib.sha256(repr([text, len(tasks), same_flags]).encode()).hexdigest()
last_answer = time.perf_counter()


def watch():
    """End the program if nothing answers: TensorFlow would wait for ever."""
    while time.perf_counter() < last_answer + patience:
        time.sleep(1)
    sys.stderr.write(f"Nothing heard for {patience} s from ps {ps} and the chief\n")
    sys.stderr.flush()  # os._exit does not
    os._exit(1)


def generate_batch(raw_data):
    """Yield X and y, one character later: windows whose rows go on where they ended."""
    rows = min(batch_size, (len(raw_data) - 1) // num_steps)
    row_length = (len(raw_data) - 1) // rows
    data_X = raw_data[: rows * row_length].reshape(rows, row_length)
    data_y = raw_data[1 : rows * row_length + 1].reshape(rows, row_length)
    for i in range(0, row_length - num_steps + 1, num_steps):
        yield data_X[:, i : i + num_steps], data_y[:, i : i + num_steps]


# %% Parameter servers wait for the end of the training, workers for its beginning
tf.reset_default_graph()
threading.Thread(target=watch, daemon=True).start()
notices = []  # each on a server, which sees its own; the chief writes them at last
for i in [index] if job == "ps" else range(len(ps)):
    with tf.device(f"/job:ps/task:{i}"):
        notices.append(tf.get_variable(
            f"notice_{i}", initializer=digest, trainable=False,
            collections=[tf.GraphKeys.LOCAL_VARIABLES] * chief))
is_begun = notices[0].is_initialized()
if not chief:
    print(f"The {job} {index} is ready at {address}", flush=True)
    with tf.Session(server.target, config=config) as sess:
        while not sess.run(is_begun):
            time.sleep(0.2)
        if sess.run(notices[0]).decode() not in [digest, "ended"]:
            parser.error("the chief has another text or other flags")
        while job == "ps" and sess.run(notices[0]) != b"ended":
            last_answer = time.perf_counter()
            time.sleep(1)
if job == "ps":
    time.sleep(3)  # for workers in their last step
    sys.exit()

# %% V. TF RNN Library Implementation
tf.set_random_seed(seed)
rnn_cell_types = {"rnn": tf.nn.rnn_cell.BasicRNNCell, "gru": tf.nn.rnn_cell.GRUCell,
                  "lstm": tf.nn.rnn_cell.BasicLSTMCell}
with tf.device(tf.train.replica_device_setter(worker_device=task, cluster=cluster)):
    X, y = [tf.placeholder(tf.int32, [None, num_steps]) for _ in range(2)]
    W_input = tf.get_variable("rnn_inputs/W_input", [len(vocabulary), num_hidden_units],
                              initializer=tf.random_uniform_initializer(-1, 1))
    # W_input whole is less to send than a row for each character.
    inputs = tf.nn.embedding_lookup(tf.identity(W_input), X)
    cells = [rnn_cell_types[model](num_hidden_units) for _ in range(num_layers)]
    stacked_cell = tf.nn.rnn_cell.MultiRNNCell(cells)
    initial_state = stacked_cell.zero_state(tf.shape(X)[0], tf.float32)
    outputs, final_state = tf.nn.dynamic_rnn(stacked_cell, inputs, None, initial_state)
    logits = tf.layers.dense(outputs, len(vocabulary), name="softmax")
    with tf.name_scope("Training"):
        total_loss = tf.losses.sparse_softmax_cross_entropy(y, logits)
        global_step = tf.train.get_or_create_global_step()
        optimizer = tf.train.AdamOptimizer(tf.train.exponential_decay(
            learning_rate, global_step, num_batches, decay_rate, staircase=True))
        if synchronous:
            optimizer = tf.train.SyncReplicasOptimizer(optimizer, len(tasks))
        trainable_vars = tf.trainable_variables()
        grads = tf.gradients(total_loss, trainable_vars)
        grads = [tf.convert_to_tensor(grad) for grad in grads]  # W_input's whole, too
        grads, _ = tf.clip_by_global_norm(grads, max_gradient_norm)
        train_step = optimizer.apply_gradients(zip(grads, trainable_vars), global_step)

# %% Checkpoints
variables = {each.op.name: each for each in tf.global_variables()}
for name in {"beta1_power", "beta2_power"} & set(variables):  # if synchronous
    variables[f"Training/{name}"] = variables.pop(name)  # as char_rnn.py names it
savers = {name: tf.train.Saver(variables, max_to_keep=1, save_relative_paths=True)
          for name in ["best", "newest", "checkpoint"]}
settings_file = os.path.join(checkpoint_dir, "settings.json")
curves = {"training": [], "validation": []}  # lists of [epoch, nats]
if chief and os.path.exists(settings_file):
    with open(settings_file, encoding="utf-8") as f:
        settings = json.load(f)
    if settings.get("digest") != digest:
        parser.error(f"{checkpoint_dir} is of other text, flags, or machines")
    curves = settings["curves"]


def end_epoch(sess):
    """Validate, save as char_rnn.py does, and print."""
    global last_answer
    validation_losses, seconds = [], time.perf_counter() - start
    state = sess.run(initial_state, {X: next(generate_batch(validation))[0]})
    for batch_X, batch_y in generate_batch(validation):
        loss, state = sess.run([total_loss, final_state],
                               {X: batch_X, y: batch_y, initial_state: state})
        validation_losses.append(float(loss))
        last_answer = time.perf_counter()
    loss, line = np.mean(validation_losses), f"Epoch {epoch:2}"
    if not np.isfinite(loss):
        return  # with weights that are not to be saved: the next loss ends it all
    for name, nats in ("training", np.mean(loss_list)), ("validation", loss):
        line += f"  {name} {nats:.4f} nats"
        curves[name] = [old for old in curves[name] if old[0] < epoch] + [[epoch, nats]]
    with open(settings_file + ".part", "w", encoding="utf-8") as f:
        json.dump({"flags": flags, "vocabulary": vocabulary, "curves": curves,
                   "digest": digest}, f)
    os.replace(settings_file + ".part", settings_file)
    best = loss == min(loss for _, loss in curves["validation"])
    for name in savers if best else ["newest", "checkpoint"]:
        savers[name].save(sess, os.path.join(checkpoint_dir, name), epoch,
                          latest_filename=name, write_meta_graph=False)
    speed = (done - first) * windows * batch_size * num_steps / seconds
    print(f"{line}  {speed:.0f} characters/s", flush=True)


# %% Training
stop = threading.Event()
with tf.control_dependencies([train_step]):
    step = [total_loss, final_state, global_step.read_value(), notices[0].read_value()]
end = tf.group(*[each.assign("ended") for each in notices])
hooks, saver = [], savers["checkpoint"]
if synchronous:
    hooks = [optimizer.make_session_run_hook(chief)]
    threading.excepthook = lambda args: (  # not of its queue, which is cut off
        args.exc_type is tf.errors.CancelledError or sys.excepthook(*args[:3]))
    with tf.control_dependencies([end]):  # who waits for an update need wait no longer
        end = optimizer.get_init_tokens_op()
hooks += [tf.train.FinalOpsHook(end)] * chief
with tf.train.MonitoredTrainingSession(
        server.target, chief, checkpoint_dir, tf.train.Scaffold(saver=saver), hooks,
        config=config, save_checkpoint_secs=60, stop_grace_period_secs=1) as sess:
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    first = done = int(sess.run(global_step))
    print(f"The {job} {index} begins at step {done}", flush=True)
    epoch, start, loss_list = done // num_batches + 1, time.perf_counter(), []
    batches, is_ended = itertools.cycle(generate_batch(share)), False
    state = sess.run(initial_state, {X: next(batches)[0]})
    while done < num_epochs * num_batches and not is_ended:
        batch_X, batch_y = next(batches)
        try:
            loss, state, done, told = sess.run(
                step, {X: batch_X, y: batch_y, initial_state: state},
                tf.RunOptions(timeout_in_ms=patience * 100 * synchronous))
            last_answer = time.perf_counter()
            is_ended = told == b"ended" or stop.is_set()
            loss_list.append(float(loss))
            if not np.isfinite(loss):
                sess.run(end)
                sys.exit(f"Loss {loss}: try a smaller --learning_rate")
            if chief and done >= epoch * num_batches:
                # A Saver needs the session inside, which does not survive a server.
                end_epoch(sess.run_step_fn(lambda step_context: step_context.session))
                epoch, first, loss_list = epoch + 1, done, []
                start = time.perf_counter()
        except (tf.errors.AbortedError, tf.errors.UnavailableError,
                tf.errors.DeadlineExceededError):  # of waiting for a lost worker's part
            continue  # once more to the epoch's end, or with a part that stands in
print("The training has ended at step", done)
