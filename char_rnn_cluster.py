"""Char-RNN on several machines: TensorFlow's runtime trains one network on them all.

Parameter servers (ps) keep the variables of char_rnn.py's network V, chief and workers
learn from a part of the text each. All have one command, each its task in TF_CONFIG:

    export TF_CONFIG='{"cluster": {"ps": ["10.0.0.1:2222"], "chief": ["10.0.0.2:2222"],
        "worker": ["10.0.0.3:2222"]}, "task": {"type": "ps", "index": 0}}'
    python char_rnn_cluster.py --data shakespeare

The chief, or else worker 0, validates and saves: char_rnn.py --resume --checkpoint_dir
char_rnn_cluster goes on. A lost machine is started again by its command; Ctrl-C on the
chief ends all. Trusted networks only: who reaches a port can run anything. Expect one
worker to learn what char_rnn.py learns, two a bit less, at up to twice the speed.
"""
# /// script
# requires-python = ">=3.9,<3.14"
# dependencies = ["tensorflow>=2.16,<3", "tf_keras>=2.16,<3"]
# ///
# %% Imports
import argparse
import datetime  # noqa: F401 (numpy's C code, loading it, loses a Ctrl-C)
import hashlib
import json
import logging
import os
import pydoc_data.topics
import re
import signal
import socket
import sys
import threading
import time
import warnings

sys.excepthook = lambda kind, *rest: (  # Ctrl-C is a line, wherever it comes
    print("Interrupted", file=sys.stderr) if kind is KeyboardInterrupt
    else sys.__excepthook__(kind, *rest))
if sys.stderr:
    print("TensorFlow loads", file=sys.stderr, flush=True)  # for up to 20 seconds

import numpy as np

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # each lost connection is a line else
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
model = flag("model", "gru", "the cells of section V", choices=["rnn", "gru", "lstm"])
batch_size = flag("batch_size", 50, "rows of a machine's part, read side by side")
num_steps = flag("num_steps", 50, "characters in a window of a row")
num_hidden_units = flag("num_hidden_units", 128, "in a layer's state")
num_layers = flag("num_layers", 2, "cells on top of each other")
parser.add_argument("--synchronous", action="store_true", help="all update at once")
same_flags = vars(parser.parse_known_args(argv)[0])  # on all machines, in all of a run
synchronous = same_flags["synchronous"]
num_epochs = flag("num_epochs", 10, "of the text, or of parts of a long one")
learning_rate = flag("learning_rate", 0.002, "at first", low=1e-9)
decay_rate = flag("decay_rate", 0.97, "factor on it an epoch", low=1e-9)
max_gradient_norm = flag("max_gradient_norm", 5.0, "longer ones are cut to it", 1e-9)
data = flag("data", "python", "or a FILE, or shakespeare, the article's, downloaded")
num_batches = flag("num_batches", 2000, "of a machine in an epoch, at most: the next"
                   " epoch reads on in a longer text")
seed = flag("seed", 1, "the same seed gives one worker the same numbers", low=0,
            high=2**32)
checkpoint_dir = flag("checkpoint_dir", "char_rnn_cluster", "to save and go on in")
patience = flag("patience", 300, "seconds without an answer after which to give up")
# Closed (`>&-`) or not there (pythonw), they take what is printed all the same.
sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")
sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")
if hasattr(sys.stdout, "reconfigure"):  # not in a notebook, which needs none of this
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    if hasattr(signal, "SIGPIPE"):  # not on Windows
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends a run quietly
parser.add_argument("-h", "--help", action="help")
flags = vars(parser.parse_args(argv))  # refuses all others
for name in "checkpoint_dir", "patience", "synchronous":
    del flags[name]  # the rest is saved, for char_rnn.py to go on with

# %% From TensorFlow 2.16 on, cells are in another package. Skip it at first.
try:
    _ = tf.nn.rnn_cell.GRUCell
except ImportError:
    sys.exit("TensorFlow's RNN cells need one more: python -m pip install tf_keras")

# %% II. Char-RNN
url = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare"
sha256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
folder = os.path.dirname(globals().get("__file__", "")) or "."


def read_text(name):
    """Return a file's text, in UTF-8; python's manual and shakespeare are known."""
    try:
        if name == "python":
            return "\n".join(pydoc_data.topics.topics.values())
        if name == "shakespeare":
            name = tf.keras.utils.get_file("shakespeare.txt", f"{url}/input.txt",
                file_hash=sha256, cache_dir=folder, cache_subdir="data")
        with open(name, encoding="utf-8-sig") as f:
            return f.read()
    except UnicodeDecodeError as error:
        parser.error(f"{name} is no text in UTF-8: {error}")
    except Exception as error:  # no such file, no network, …
        hint = ""
        if name == "shakespeare":
            hint = f"; put a copy into {folder}/data/shakespeare.txt"
        parser.error(f"{name} cannot be read: {error}{hint}")


def encode(text, name):
    """Return the indices of the text's characters, in the smallest type for them."""
    unknown = "".join(sorted(set(text) - set(vocabulary)))
    if unknown:
        parser.error(f"{name}: {unknown[:20]!r} is not in the vocabulary")
    return np.fromiter(map(char_to_idx.get, text), np.min_scalar_type(num_classes),
                       len(text))


# Sorted, the vocabulary is the same in every process.
text = read_text(data)
vocabulary = "".join(sorted(set(text)))
char_to_idx = {char: idx for idx, char in enumerate(vocabulary)}
num_classes = len(vocabulary)
raw_data = encode(text, f"--data {data}")
training, validation = np.split(raw_data, [len(text) * 9 // 10])
# For an epoch's parts of a long text a ninth of them, as of the whole.
validation = validation[: max(1, num_batches // 9) * batch_size * num_steps + 1]
text_sha256 = hashlib.sha256(raw_data).hexdigest()


def generate_batch(raw_data, part=0, parts=1):
    """Yield X and y, one character later: windows whose rows go on where they ended.

    X, y: [rows, num_steps]. Of a long text's windows only those of one of the parts.
    """
    rows = min(batch_size, (len(raw_data) - 1) // num_steps)
    row_length = (len(raw_data) - 1) // rows
    data_X = raw_data[: rows * row_length].reshape(rows, row_length)
    data_y = raw_data[1 : rows * row_length + 1].reshape(rows, row_length)
    windows = row_length // num_steps
    for i in range(windows * part // parts, windows * (part + 1) // parts):
        window = slice(i * num_steps, (i + 1) * num_steps)
        yield data_X[:, window], data_y[:, window]


# %% The cluster
try:
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    cluster, job, index = resolver.cluster_spec(), resolver.task_type, resolver.task_id
    address, ps = cluster.task_address(job, index), cluster.job_tasks("ps")
    port = address.rpartition(":")[2]
    tasks = [(name, i) for name in ["chief", "worker"] if name in cluster.jobs
             for i in cluster.task_indices(name)]  # those that learn
    chief = (job, index) == tasks[0]  # the others only learn, or are parameter servers
    rank = 0 if job == "ps" else tasks.index((job, index))
    # gRPC would ask a proxy of the environment for the cluster's machines, in vain.
    addresses = [each for name in cluster.jobs for each in cluster.job_tasks(name)]
    os.environ["no_proxy"] = ",".join(each.rpartition(":")[0] for each in addresses)
    options = tf.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=2,
        gpu_options=tf.GPUOptions(allow_growth=True))  # for others on this machine
    server = tf.train.Server(cluster, job, index, config=options)
except tf.errors.OpError as error:
    parser.error(f"no server at {address}, is the port taken? {error.message}")
except Exception as error:  # of many kinds
    parser.error(f"TF_CONFIG is not like the one at the top of this file: {error!r}")
signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends what waits in the C++ core, too
task = f"/job:{job}/task:{index}"
# A machine needs no other but the servers: a lost worker is no loss to the rest.
config = tf.ConfigProto(device_filters=[task] if job == "ps" else [task, "/job:ps"])
share = np.array_split(training, len(tasks))[rank]  # this machine learns from it
length = len(training) // len(tasks) - num_steps  # of what an epoch reads: cut anew
windows = (length - 1) // batch_size // num_steps
parts = max(1, -(-windows // num_batches))  # so many epochs read the text once
if windows < 1 or len(validation) <= num_steps:
    parser.error(f"--data {data}: {len(text)} characters are too few for --batch_size"
                 f" {batch_size} --num_steps {num_steps} on {len(tasks)} machines")
flags["prime"] = (text.split(None, 1) or vocabulary)[0][:20]  # for char_rnn.py --sample
del text  # of 100 million characters once is enough
batches_an_update = len(tasks) if synchronous else 1
epoch_steps = windows * len(tasks) // batches_an_update // parts
# A folder's run may go on with more or fewer machines, but has one number at a time.
digest = hashlib.sha256(repr([text_sha256, same_flags]).encode()).hexdigest()
run_digest = f"{digest} {len(ps)} {len(tasks)} {epoch_steps}"
last_answer = time.perf_counter()
is_over = threading.Event()


def unreachable():
    """Return which of ps and chief cannot be reached, and why: ": address: reason"."""
    told = ""
    for each in [*ps, cluster.task_address(*tasks[0])]:
        host, _, port = each.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=3).close()
        except (OSError, ValueError) as error:  # such as a name that DNS does not know
            told += f"{',' if told else ':'} {each}: {error}"
    return told


def watch():
    """Say what is waited for; if nothing answers, end: TensorFlow waits for ever."""
    said = None
    while not is_over.wait(1):
        answered = last_answer
        silence = time.perf_counter() - answered
        if silence > 5 and said != answered:
            said = answered
            print(f"Waiting up to {patience} s for ps {ps} and the chief"
                  + unreachable())
        if silence > patience:
            sys.stderr.write(f"Nothing heard for {patience} s from ps {ps} and the"
                             f" chief{unreachable()}. If the training has ended, all is"
                             " well\n")
            sys.stderr.flush()  # os._exit does not
            os._exit(1)


def check_notice(notice):
    """End this machine if the chief, whose notice this is, trains something else."""
    if notice.decode() not in [run_digest, "ended"]:
        parser.error("the chief has another text, other flags or another cluster")


# %% Parameter servers wait for the end of the training, workers for its beginning
tf.reset_default_graph()
threading.Thread(target=watch, daemon=True).start()
# Each server has a notice, that the chief writes, and a list of who has read its last.
collections = [tf.GraphKeys.LOCAL_VARIABLES] if chief else []
notices, readers = [], []
for i in [index] if job == "ps" else range(len(ps)):
    with tf.device(f"/job:ps/task:{i}"):
        notices.append(tf.get_variable(f"notice_{i}", initializer=run_digest,
                                       trainable=False, collections=collections))
        readers.append(tf.get_variable(f"readers_{i}", initializer=[0] * len(tasks),
                                       trainable=False, collections=collections))
is_begun = notices[0].is_initialized()
sign = [each.assign_add(tf.one_hot(rank, len(tasks), dtype=tf.int32))
        for each in readers]
if not chief:
    print(f"The {job} {index} is ready at port {port}", flush=True)
    with tf.Session(server.target, config=config) as sess:
        while not sess.run(is_begun):
            time.sleep(0.2)
        notice, has_read = sess.run([notices[0], readers[0]])
        check_notice(notice)
        stayed = 0  # seconds, since the training ended
        while job == "ps" and stayed < patience and not (
                notice == b"ended" and all(has_read)):
            # A chief that is started again takes the notice back.
            stayed = stayed + 1 if notice == b"ended" else 0
            if stayed == 2:
                print("The training has ended. Staying up to", patience,
                      "s for machines that have not heard it")
            time.sleep(1)
            notice, has_read = sess.run([notices[0], readers[0]])
            last_answer = time.perf_counter()
        if job != "ps" and notice == b"ended":
            sess.run(sign)
    if notice == b"ended":
        is_over.set()
        print("The training has ended")
        time.sleep(1)  # for what the others are just asking
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
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=y)
        total_loss = tf.reduce_mean(losses)
        global_step = tf.train.get_or_create_global_step()
        optimizer = tf.train.AdamOptimizer(tf.train.exponential_decay(
            learning_rate, global_step, epoch_steps, decay_rate, staircase=True))
        if synchronous:
            optimizer = tf.train.SyncReplicasOptimizer(optimizer, len(tasks))
        trainable_vars = tf.trainable_variables()
        grads = tf.gradients(total_loss, trainable_vars)
        grads = [tf.convert_to_tensor(grad) for grad in grads]  # W_input's whole, too
        grads, _ = tf.clip_by_global_norm(grads, max_gradient_norm)
        train_step = optimizer.apply_gradients(zip(grads, trainable_vars), global_step)

# %% A folder for the checkpoints, of one run at a time. Skip it at first.
def claim(folder):
    """Return a lock on the folder, which ends with this process.

    OSError: another run has it, or the folder cannot be written to.
    """
    lock = open(os.path.join(folder, "lock"), "a")
    if os.name == "nt":
        import msvcrt
        msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


settings_file = os.path.join(checkpoint_dir, "settings.json")
curves = {"training": [], "validation": []}  # of pairs, epoch and nats
if chief:
    try:
        os.makedirs(checkpoint_dir, exist_ok=True)
        lock = claim(checkpoint_dir)
    except OSError as error:
        parser.error(f"another run saves in {checkpoint_dir}, or nobody can:"
                     f" {error.strerror}. Wait for its end, or copy that folder")
if chief and os.path.exists(settings_file):
    try:
        with open(settings_file, encoding="utf-8") as f:
            settings = json.load(f)
        if settings.get("digest") != digest:
            parser.error(f"{checkpoint_dir} is of other text or flags")
        curves = settings["curves"]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        parser.error(f"{settings_file} cannot be read: {error!r}")

# %% The chief's copy of the network: workers learn on while it validates and saves
variables = tf.global_variables()
initial_names = [each.initial_value.name for each in variables]
step_name = global_step.initial_value.name
initial_values = {}  # by these names, what the variables begin with; without them, anew
if chief:
    meta_graph = tf.train.export_meta_graph(clear_devices=True)
    with tf.Graph().as_default() as copy_graph:
        tf.train.import_meta_graph(meta_graph)
        copies = tf.global_variables()
        # What is saved knows it, since other machines have other steps in an epoch.
        epochs_done = tf.get_variable(
            "epochs_done",
            initializer=copy_graph.get_tensor_by_name(step_name) / epoch_steps)
        load = tf.global_variables_initializer()
        # If synchronous, Adam's powers lack the scope that char_rnn.py knows them by.
        saved_variables = {re.sub("^beta", "Training/beta", each.op.name): each
                           for each in [*copies, epochs_done]}
        savers = {name: tf.train.Saver(saved_variables, max_to_keep=1,
                                       save_relative_paths=True)
                  for name in ["best", "newest", "checkpoint"]}
    copy_session = tf.Session(graph=copy_graph, config=options)
    copy_losses, copy_initial_state, copy_final_state = tf.nest.map_structure(
        lambda each: each.name, [losses, initial_state, final_state])

    def evaluate(batch_X, batch_y, state, rate=0):
        """Return the losses, [rows, num_steps], and the last state.

        Nothing is learned here, whatever the rate, which is for char_rnn.py.
        """
        global last_answer
        last_answer = time.perf_counter()  # nobody is waited for
        feed_dict = {X.name: batch_X, y.name: batch_y}
        if state is not None:
            feed_dict[copy_initial_state] = state
        return copy_session.run([copy_losses, copy_final_state], feed_dict)


def score(ids, rate=0):
    """Yield the nats of all characters of a text but the first, window by window.

    It is read in rows side by side. Each begins 100 characters or more before its own;
    those only the row above counts. By then so little is left of a state of zeros that
    the rest costs what it would in a single row. With a rate evaluate learns from each
    window once it is scored, and there is a single row.
    """
    faded = -(-100 // num_steps) * num_steps
    rows = 1 if rate else min(batch_size, len(ids) // (2 * faded) + 1)
    own = -(-(len(ids) - 1 - faded) // rows)  # characters that only this row counts
    state = None
    for start in range(0, faded + own, num_steps):
        steps = np.arange(start, start + num_steps)
        places = own * np.arange(rows)[:, None] + steps
        counted = (places < len(ids) - 1) & (steps < faded + own)
        if start < faded:
            counted[1:] = False
        places = np.minimum(places, len(ids) - 2)
        window_losses, state = evaluate(ids[places], ids[places + 1], state, rate)
        yield window_losses[counted]


# %% Checkpoints
def reason(error):
    """Return the line that says it: TensorFlow 2 has others above, both have below."""
    said = str(error).split("\n\t [[")[0].replace("\r\n", " ")  # as Windows ends lines
    return said.split("\n")[-1]


if chief:
    paths = {name: tf.train.latest_checkpoint(checkpoint_dir, name) for name in savers}
    state_file = os.path.join(checkpoint_dir, "checkpoint")
    if os.path.exists(state_file):
        try:
            path = paths["checkpoint"] or state_file
            savers["checkpoint"].restore(copy_session, path)
        except Exception as error:  # of many kinds, and many lines
            parser.error(f"the checkpoint in {checkpoint_dir} cannot be loaded: "
                         + reason(error))
        *read, epochs = copy_session.run([*copies, epochs_done])
        initial_values.update(zip(initial_names, read))
        initial_values[step_name] = round(epochs * epoch_steps)
    for name, path in paths.items():  # the next ones take the place of these
        savers[name].recover_last_checkpoints([path] if path else [])
    # What a kill in the midst of a save has left, nothing names.
    kept = [os.path.basename(path) for path in paths.values() if path]
    unfinished = (r"(best|newest|checkpoint)(-\d+\.(index|data-\d+-of-\d+)"
                  r"(\.tempstate\d+)?|\.tmp\w+)|settings\.json\.part")
    for file in os.listdir(checkpoint_dir):
        if re.fullmatch(unfinished, file) and os.path.splitext(file)[0] not in kept:
            try:
                os.remove(os.path.join(checkpoint_dir, file))
            except OSError:
                pass  # on Windows: it is open elsewhere


def save_network(*kinds):
    """Save the copy as the best, the newest, or what a lost machine goes on from.

    A kill in between harms nothing: each file is whole before it takes its place.
    """
    settings = {"flags": flags, "vocabulary": vocabulary, "curves": curves,
                "text": text_sha256, "digest": digest}
    try:
        with open(settings_file + ".part", "w", encoding="utf-8") as f:
            json.dump(settings, f)
        os.replace(settings_file + ".part", settings_file)
        for kind in kinds:
            savers[kind].save(copy_session, os.path.join(checkpoint_dir, kind),
                              done if kind == "checkpoint" else epoch,
                              latest_filename=kind, write_meta_graph=False)
    except (OSError, tf.errors.OpError) as error:  # such as a full disk
        print("Not saved:", reason(error), flush=True)


def end_epoch():
    """Validate, save as char_rnn.py does, and print."""
    seconds = time.perf_counter() - start
    validation_loss = np.mean(np.concatenate(list(score(validation))))
    if not np.isfinite(validation_loss):
        return  # with weights that are not to be saved: the next loss ends it all
    line = f"Epoch {epoch:2}"
    for name, loss in ("training", np.mean(loss_list)), ("validation", validation_loss):
        line += f"  {name} {loss:.4f} nats"
        curves[name] = [old for old in curves[name] if old[0] < epoch]
        curves[name].append([epoch, float(loss)])
    if validation_loss == min(loss for _, loss in curves["validation"]):
        save_network("best", "newest", "checkpoint")
    else:
        save_network("newest", "checkpoint")
    speed = (done - first) * batches_an_update * batch_size * num_steps / seconds
    print(f"{line}  {speed:.0f} characters/s", flush=True)


# %% Training
class WorkerSessionCreator(tf.train.WorkerSessionCreator):
    def _get_session_manager(self):
        manager = super()._get_session_manager()
        manager._recovery_wait_secs = 1  # not 30 s after a lost server has come back
        return manager


def read_on():
    """Yield this machine's batches for ever, and whether it begins an epoch."""
    while True:
        epoch = done // epoch_steps
        cut = np.random.RandomState([seed, epoch]).randint(num_steps)
        batches = generate_batch(share[cut:][:length], epoch % parts, parts)
        for i, (batch_X, batch_y) in enumerate(batches):
            yield batch_X, batch_y, i == 0


stop = threading.Event()
with tf.control_dependencies([train_step]):
    step = [total_loss, final_state, global_step.read_value(), notices[0].read_value()]
end = tf.group(*[each.assign("ended") for each in notices])
hooks = []
if synchronous:
    hooks.append(optimizer.make_session_run_hook(chief))
    # Each update puts tokens into a queue, and a worker goes on when it has taken one.
    # What fills the queue is cut off at the end, and that is no error.
    threading.excepthook = lambda args: (
        args.exc_type is tf.errors.CancelledError or sys.excepthook(*args[:3]))
    with tf.control_dependencies([end]):  # who waits for an update need wait no longer
        end = optimizer.get_init_tokens_op()
scaffold = tf.train.Scaffold(init_feed_dict=initial_values)
if chief:
    hooks.append(tf.train.FinalOpsHook([end, sign]))
    creator = tf.train.ChiefSessionCreator(scaffold, server.target, config)
else:
    hooks.append(tf.train.FinalOpsHook(sign))
    creator = WorkerSessionCreator(scaffold, server.target, config)
with tf.train.MonitoredSession(creator, hooks, stop_grace_period_secs=1) as sess:
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    first = done = int(sess.run(global_step))
    print(f"The {job} {index} begins at step {done}", flush=True)
    if chief and done >= num_epochs * epoch_steps:
        print(f"All {num_epochs} epochs are done: give more as --num_epochs")
    epoch, loss_list, state, is_ended = done // epoch_steps + 1, [], None, False
    start = saved = time.perf_counter()
    for batch_X, batch_y, is_first in read_on():
        if is_ended or chief and done >= num_epochs * epoch_steps:
            break  # the others learn on till it says so: it may be lost, and come back
        state = None if is_first else state  # an epoch begins with a state of zeros
        feed_dict = {X: batch_X, y: batch_y}
        if state is not None:
            feed_dict[initial_state] = state
        # An update waits for each one's part: after a tenth of the patience, try anew.
        patience_ms = patience * 1000 // 10 if synchronous else 0  # 0: for ever
        try:
            loss, state, done, notice = sess.run(
                step, feed_dict, tf.RunOptions(timeout_in_ms=patience_ms))
            last_answer = time.perf_counter()
            check_notice(notice)
            is_ended = notice == b"ended" or stop.is_set()
            loss_list.append(float(loss))
            if not np.isfinite(loss):
                sess.run(end)
                sys.exit(f"Loss {loss}: try a smaller --learning_rate")
            if chief and (is_ended or done >= epoch * epoch_steps
                          or time.perf_counter() > saved + 60):
                initial_values.update(zip(initial_names, sess.run(variables)))
                copy_session.run(load, initial_values)
                done = int(initial_values[step_name])
                if done >= epoch * epoch_steps:  # else it was lost while it was read
                    end_epoch()
                    epoch, loss_list, first = epoch + 1, [], int(sess.run(global_step))
                    start = time.perf_counter()
                else:
                    save_network("checkpoint")
                saved = time.perf_counter()
        except (tf.errors.AbortedError, tf.errors.UnavailableError,
                tf.errors.DeadlineExceededError):  # of waiting for a lost worker's part
            continue  # once more to the epoch's end, or with a part that stands in
is_over.set()
print("The training has ended at step", done)
