"""Time char_rnn.py against PyTorch, Keras and the article's programs, in turn.

    python benchmarks/char_rnn_speed.py            # the tables: about 20 minutes
    python benchmarks/char_rnn_speed.py --threads  # session settings: 15 minutes
    python benchmarks/char_rnn_speed.py --growth   # longer text, more layers: 3 minutes

PyTorch may live in another environment: --torch_python PATH.
"""
import argparse
import json
import os
import pydoc_data.topics
import subprocess
import sys
import time
from types import SimpleNamespace
from unittest import mock

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
SHAKESPEARE = os.path.join(os.path.dirname(HERE), "data", "shakespeare.txt")
START_TOKEN = "Thou "

# batch_size, num_steps, num_hidden_units, num_layers
SIZES = {"manual": (32, 200, 100, 1)}  # of the article's section IV
SIZES.update({model: (50, 50, 128, 2) for model in ("rnn", "gru", "lstm")})

# intra_op_parallelism_threads, inter_op_parallelism_threads; the first is the script's
SETTINGS = [(1, 2), (2, 2), (1, -1), (1, 1), (2, 1), (0, 0)]


# --- In a process of its own ----------------------------------------------------------
def read_text():
    """Return the vocabulary and the text as indices: Shakespeare, if he is in data."""
    text = "\n".join(pydoc_data.topics.topics.values())
    if os.path.exists(SHAKESPEARE):
        with open(SHAKESPEARE, encoding="utf-8") as f:
            text = f.read()
    vocabulary = "".join(sorted(set(text)))
    index = {char: idx for idx, char in enumerate(vocabulary)}
    return vocabulary, np.array([index[char] for char in text], np.int32)


def windows_of(ids, batch_size, num_steps):
    """Return all windows X and targets y of the text, each [batch_size, num_steps]."""
    row_length = (len(ids) - 1) // batch_size // num_steps * num_steps
    raw_X, raw_y = (
        ids[later : later + batch_size * row_length].reshape(batch_size, -1)
        for later in (0, 1)
    )
    pieces = row_length // num_steps
    return list(zip(np.split(raw_X, pieces, 1), np.split(raw_y, pieces, 1)))


def training_speed(step, windows, seconds):
    """Return characters a second of step(X, y, state), which returns the next state."""
    state = None
    for X, y in windows[:20]:  # warms up
        state = step(X, y, state)
    done, start = 0, time.perf_counter()
    while True:
        for X, y in windows:
            state = step(X, y, state)
            done += X.shape[0] * X.shape[1]
            passed = time.perf_counter() - start
            if passed > seconds:
                return done / passed


def sampling_speed(sample, length, seconds):
    """Return characters a second of sample(), which draws length characters."""
    sample()  # warms up
    done, start = 0, time.perf_counter()
    while True:
        sample()
        done += length
        passed = time.perf_counter() - start
        if passed > seconds:
            return done / passed


def our_model(model, vocab_size, dropout=0.0, num_layers=None):
    import char_rnn

    batch_size, num_steps, num_hidden_units, usual_layers = SIZES[model]
    return char_rnn.Model(
        model=model, vocab_size=vocab_size, batch_size=batch_size, num_steps=num_steps,
        num_hidden_units=num_hidden_units, num_layers=num_layers or usual_layers,
        learning_rate=0.002, decay_rate=0.97, num_batches=400, max_gradient_norm=5.0,
        dropout=dropout, input_dropout=0.0, average_decay=0.0, seed=1,
    )


def run_ours(flags):
    import char_rnn

    tf = char_rnn.tf
    ConfigProto = tf.ConfigProto

    def config(**settings):
        if flags.config:
            settings["intra_op_parallelism_threads"] = flags.config[0]
            settings["inter_op_parallelism_threads"] = flags.config[1]
        return ConfigProto(**settings)

    vocabulary, ids = read_text()
    with mock.patch.object(tf, "ConfigProto", config):
        network = our_model(flags.model, len(vocabulary), flags.dropout)
    prime = [vocabulary.index(char) for char in START_TOKEN]
    windows = windows_of(ids, *SIZES[flags.model][:2])
    result = {"version": f"TensorFlow {tf.__version__}"}
    result["training"] = training_speed(
        lambda X, y, state: network.step(X, y, state)[1], windows, flags.seconds
    )
    if flags.length:
        result["sampling"] = sampling_speed(
            lambda: network.sample(prime, flags.length, 1.0, 0, 1),
            flags.length, flags.seconds / 2,
        )
    return result


def run_torch(flags):
    import torch
    from torch import nn

    torch.set_num_threads(2)
    torch.manual_seed(1)
    batch_size, num_steps, num_hidden_units, num_layers = SIZES[flags.model]
    vocabulary, ids = read_text()
    num_classes = len(vocabulary)
    kind = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[flags.model]
    embedding = nn.Embedding(num_classes, num_hidden_units)
    rnn = kind(num_hidden_units, num_hidden_units, num_layers, batch_first=True)
    head = nn.Linear(num_hidden_units, num_classes)
    parameters = list(nn.ModuleList([embedding, rnn, head]).parameters())
    optimizer = torch.optim.Adam(parameters, lr=0.002)

    def step(X, y, state):
        outputs, state = rnn(embedding(X), state)
        logits = head(outputs).reshape(-1, num_classes)
        loss = nn.functional.cross_entropy(logits, y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        loss.item()  # ours returns it, too
        if flags.model == "lstm":
            return tuple(part.detach() for part in state)
        return state.detach()

    @torch.inference_mode()
    def sample():
        prime = [[vocabulary.index(char) for char in START_TOKEN]]
        char, state, chars = torch.tensor(prime), None, []
        for _ in range(flags.length):
            outputs, state = rnn(embedding(char), state)
            probabilities = torch.softmax(head(outputs[:, -1]), 1)
            char = torch.multinomial(probabilities, 1)
            chars.append(char.item())
        return chars

    windows = [
        (torch.from_numpy(X).long(), torch.from_numpy(y).long())
        for X, y in windows_of(ids, batch_size, num_steps)
    ]
    return {
        "version": f"PyTorch {torch.__version__}",
        "training": training_speed(step, windows, flags.seconds),
        "sampling": sampling_speed(sample, flags.length, flags.seconds / 2),
    }


def run_keras(flags):
    import tensorflow as tf
    from tensorflow import keras

    batch_size, num_steps, num_hidden_units, num_layers = SIZES[flags.model]
    vocabulary, ids = read_text()
    num_classes = len(vocabulary)
    kind = {
        "rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU,
        "lstm": keras.layers.LSTM,
    }[flags.model]
    inputs = keras.Input(batch_shape=(batch_size, num_steps), dtype="int32")
    outputs = keras.layers.Embedding(num_classes, num_hidden_units)(inputs)
    for _ in range(num_layers):
        outputs = kind(num_hidden_units, return_sequences=True, stateful=True)(outputs)
    network = keras.Model(inputs, keras.layers.Dense(num_classes)(outputs))
    # TensorFlow 1.15's optimizers clip each gradient by itself.
    clip = "clipnorm" if tf.__version__ < "2" else "global_clipnorm"
    network.compile(
        keras.optimizers.Adam(0.002, **{clip: 5.0}),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    windows = windows_of(ids, batch_size, num_steps)[:100]
    X, y = (np.concatenate(pieces) for pieces in zip(*windows))

    def epoch():
        network.fit(X, y, batch_size=batch_size, epochs=1, shuffle=False, verbose=0)

    return {
        "version": f"Keras {keras.__version__}",
        "training": sampling_speed(epoch, X.size, flags.seconds),
    }


def run_article(flags):
    import char_rnn_article
    from char_rnn_article import tf

    batch_size, num_steps, num_hidden_units, num_layers = SIZES[flags.model]
    vocabulary, ids = read_text()
    FLAGS = SimpleNamespace(
        MODEL=flags.model, NUM_CLASSES=len(vocabulary), NUM_BATCHES=batch_size,
        SEQ_LEN=num_steps, NUM_HIDDEN_UNITS=num_hidden_units, NUM_LAYERS=num_layers,
        LEARNING_RATE=0.002, GRAD_CLIP=5.0, DROPOUT=flags.dropout, TEMPERATURE=1.0,
        START_TOKEN=START_TOKEN, PREDICTION_LENGTH=flags.length,
        char_to_idx={char: idx for idx, char in enumerate(vocabulary)},
    )
    tf.set_random_seed(1)
    manual = flags.model == "manual"
    section = char_rnn_article.SectionIV if manual else char_rnn_article.SectionV
    network = section(FLAGS)
    windows = list(char_rnn_article.generate_batch(FLAGS, (ids[:-1], ids[1:])))
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        training = training_speed(
            lambda X, y, state: network.step(sess, X, y, state)[1],
            windows, flags.seconds,
        )
        start = time.perf_counter()
        network.sample(FLAGS)  # once: every call adds to the graph
        sampling = flags.length / (time.perf_counter() - start)
    return {"training": training, "sampling": sampling}


# --- In the process that starts them --------------------------------------------------
def measure(side, model, seconds, python=sys.executable, **more):
    """Measure one side in a new process; return its characters a second."""
    command = [python, os.path.abspath(__file__), "--side", side]
    command += ["--model", model, "--seconds", str(seconds)]
    for name, value in more.items():
        command += [f"--{name}", *map(str, np.ravel(value))]
    env = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
    env.pop("TF_USE_LEGACY_KERAS", None)  # char_rnn.py sets it, a user of Keras doesn't
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def compare(runs, side, figure, show):
    """Return cells: the other side's median as show writes it, and how we compare."""
    if side not in runs[0]:
        return ["–", "–"]
    ours, other = ([run[who][figure] for run in runs] for who in ("ours", side))
    ratios = np.divide(ours, other)
    return [
        show(np.median(other)),
        f"**{np.median(ratios):.2f}** ({ratios.min():.2f} to {ratios.max():.2f})",
    ]


def median(runs, figure, show):
    return show(np.median([run["ours"][figure] for run in runs]))


def print_row(*cells):
    print("|", " | ".join(cells), "|", flush=True)


def print_libraries(flags, torch):
    """Print the table against PyTorch and Keras at 2 x 128, 50 x 50."""
    if not torch:
        print(f"PyTorch is left out: {flags.torch_python} cannot import it.\n")
    print("| model | training, characters/s: ours | PyTorch | times faster (min to max)"
          " | Keras | times faster | sampling, µs a character: ours | PyTorch"
          " | times faster |")
    print("|---|---|---|---|---|---|---|---|---|")
    versions = {}
    for model in flags.models:
        runs = []
        for _ in range(flags.pairs):
            run = {"ours": measure("ours", model, flags.seconds, length=2000)}
            if torch:
                run["torch"] = measure(
                    "torch", model, flags.seconds, flags.torch_python, length=2000
                )
            run["keras"] = measure("keras", model, flags.seconds)
            runs.append(run)
            versions.update({side: run[side]["version"] for side in run})

        def speed(value):
            return f"{value:.0f}"

        def microseconds(value):
            return f"{1e6 / value:.0f}"

        print_row(
            model, median(runs, "training", speed),
            *compare(runs, "torch", "training", speed),
            *compare(runs, "keras", "training", speed),
            median(runs, "sampling", microseconds),
            *compare(runs, "torch", "sampling", microseconds),
        )
    print(f"\n{', '.join(versions.values())}\n")


def print_article(flags):
    """Print the table against the article's programs, with its dropout of 0.5."""
    length = flags.article_length  # its time grows with the square of that
    print("| program | training, characters/s: ours | article | times faster (min to "
          f"max) | sampling {length} characters, s: ours | article | times faster |")
    print("|---|---|---|---|---|---|---|")
    for model in ["manual", *flags.models]:
        dropout = 0.0 if model == "manual" else 0.5
        runs = [
            {
                side: measure(
                    side, model, flags.seconds, length=length, dropout=dropout
                )
                for side in ("ours", "article")
            }
            for _ in range(flags.pairs)
        ]

        def speed(value):
            return f"{value:.0f}"

        def seconds(value):
            return f"{length / value:.2g}"

        print_row(
            "section IV" if model == "manual" else f"section V, {model}",
            median(runs, "training", speed),
            *compare(runs, "article", "training", speed),
            median(runs, "sampling", seconds),
            *compare(runs, "article", "sampling", seconds),
        )


def print_threads(flags):
    """Print training speeds under other thread settings of the session."""
    print("| intra, inter |", " | ".join(
        f"{model}, characters/s | against ours (min to max)" for model in flags.models
    ), "|")
    print("|---|" + "---|---|" * len(flags.models))
    speeds = {
        model: np.transpose([
            [measure("ours", model, flags.seconds, config=config)["training"]
             for config in SETTINGS]
            for _ in range(flags.pairs)
        ])
        for model in flags.models
    }
    for i, config in enumerate(SETTINGS):
        cells = ["{}, {}".format(*config)]
        cells[0] += {0: " (ours)", len(SETTINGS) - 1: " (default)"}.get(i, "")
        for model in flags.models:
            ratios = speeds[model][i] / speeds[model][0]
            cells += [
                f"{np.median(speeds[model][i]):.0f}",
                f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})",
            ]
        print_row(*cells)


def print_growth(flags, model="gru"):
    """Print how the time grows with the text, the layers and num_steps."""
    vocabulary, ids = read_text()
    batch_size, num_steps = SIZES[model][:2]
    networks = {  # each has a graph and a session of its own
        num_layers: our_model(model, len(vocabulary), num_layers=num_layers)
        for num_layers in (1, 2, 3, 4)
    }

    def seconds(windows, num_layers=2):
        network, state = networks[num_layers], None
        start = time.perf_counter()
        for X, y in windows:
            state = network.step(X, y, state)[1]
        return time.perf_counter() - start

    def medians(jobs):
        """Return the median seconds of each job, after one round that warms up."""
        for windows, num_layers in jobs:
            seconds(windows[:20], num_layers)
        return np.median(
            [[seconds(*job) for job in jobs] for _ in range(flags.pairs)], axis=0
        )

    lengths = [len(ids) // 4, len(ids) // 2, len(ids)]
    jobs = [(windows_of(ids[:length], batch_size, num_steps), 2) for length in lengths]
    print(f"| characters of text | seconds an epoch ({model}) | µs a character |")
    print("|---|---|---|")
    for length, found in zip(lengths, medians(jobs)):
        print_row(f"{length}", f"{found:.2f}", f"{1e6 * found / length:.2f}")

    windows = jobs[0][0][:40]
    print("\n| num_layers | ms a step | more than one layer less |\n|---|---|---|")
    before = 0
    for num_layers, found in zip(networks, medians([(windows, n) for n in networks])):
        found *= 1000 / len(windows)
        print_row(f"{num_layers}", f"{found:.1f}", f"{found - before:.1f}")
        before = found

    all_steps = [25, 50, 100, 200]
    jobs = [(windows_of(ids, batch_size, n)[: 2000 // n], 2) for n in all_steps]
    print("\n| num_steps | ms a step | ms a time step |\n|---|---|---|")
    for n, (windows, _), found in zip(all_steps, jobs, medians(jobs)):
        found *= 1000 / len(windows)
        print_row(f"{n}", f"{found:.1f}", f"{found / n:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="rounds of all sides")
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement")
    parser.add_argument("--models", nargs="+", default=["rnn", "gru", "lstm"])
    parser.add_argument("--against", nargs="+", default=["libraries", "article"],
                        choices=["libraries", "article"])
    parser.add_argument("--torch_python", default=sys.executable, metavar="PATH",
                        help="the Python that has PyTorch")
    parser.add_argument("--article_length", type=int, default=100, metavar="N",
                        help="characters that the article's programs sample")
    parser.add_argument("--threads", action="store_true", help="session settings")
    parser.add_argument("--growth", action="store_true",
                        help="longer text, more layers, more steps")
    parser.add_argument("--side", choices=["ours", "torch", "keras", "article"],
                        help="measure this side alone, in this process")
    parser.add_argument("--model", choices=list(SIZES), default="gru", help="of a side")
    parser.add_argument("--length", type=int, default=0, help="of a side's sample")
    parser.add_argument("--dropout", type=float, default=0.0, help="of a side")
    parser.add_argument("--config", type=int, nargs=2, help="of a side: intra, inter")
    flags = parser.parse_args()
    if flags.side:
        sides = {"ours": run_ours, "torch": run_torch, "keras": run_keras,
                 "article": run_article}
        print(json.dumps(sides[flags.side](flags)))
    elif flags.threads:
        print_threads(flags)
    elif flags.growth:
        print_growth(flags)
    else:
        if "libraries" in flags.against:
            found = subprocess.run(
                [flags.torch_python, "-c", "import torch"], capture_output=True
            )
            print_libraries(flags, torch=found.returncode == 0)
        if "article" in flags.against:
            print_article(flags)


if __name__ == "__main__":
    main()
