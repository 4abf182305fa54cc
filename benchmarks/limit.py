"""How far from the machine's limit the scripts train: GFLOP/s, as Markdown.

    python benchmarks/limit.py    # 3 minutes on 2 CPU cores

A step's GFLOP are those of its matrix products alone, by arithmetic: forward, and twice
as many backward. The limit is TensorFlow's own product in one thread, of as many rows
as the script's batch has by its state and weights, and of 1024 x 1024 matrices. The
scripts may use two threads. Program and products are timed in turn, 3 rounds.
"""
import os
import re
import subprocess
import sys
import tempfile
import time

import numpy as np

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROUNDS = 3


def products_gflops(rows, units, columns):
    """Return GFLOP/s of [rows, units] @ [units, columns] in one thread."""
    times = int(2e9 / (2 * rows * units * columns)) + 1
    with tf.Graph().as_default():
        x, w = tf.random.normal([rows, units]), tf.random.normal([units, columns])

        def again(i, total):
            with tf.control_dependencies([total]):  # one after another
                return i + 1, total + tf.matmul(x + tf.cast(i, tf.float32), w)[0, 0]

        _, total = tf.while_loop(lambda i, _: i < times, again, [0, 0.0],
                                 parallel_iterations=1)
        config = tf.ConfigProto(intra_op_parallelism_threads=1,
                                inter_op_parallelism_threads=1)
        with tf.Session(config=config) as sess:
            sess.run(total)
            start = time.perf_counter()
            sess.run(total)
            return times * 2e-9 * rows * units * columns / (time.perf_counter() - start)


def step_gflop(rows, steps, inputs, units, layers, gates, classes, answers):
    """Return GFLOP of a training step; answers: in how many steps there is an output.

    gates: how many columns of weights each unit has.
    """
    cells = sum(2 * ((units if layer else inputs) + units) * gates * units
                for layer in range(layers))
    outputs = 2 * units * classes
    return 3e-9 * rows * (steps * cells + answers * outputs)


def speed(command, unit):
    """Return what the script prints last as unit/s."""
    with tempfile.TemporaryDirectory() as folder:
        script, *flags = command.split()
        printed = subprocess.check_output(
            [sys.executable, os.path.join(ROOT, script), *flags, "--plot", "p.png"],
            cwd=folder, stderr=subprocess.DEVNULL, universal_newlines=True)
    return float(re.findall(rf"(\d+) {unit}/s", printed)[-1])


def char_rnn(model, gates, widest):
    """Return a row of PROGRAMS; widest: the columns of its largest weights."""
    command = f"char_rnn.py --num_epochs 2 --num_batches 100 --model {model}"
    gflop = step_gflop(50, 50, 128, 128, 2, gates, 100, 50)  # about 100 characters
    return command, "characters", 2500, gflop, (50, 256, widest)


# Command, what its speed counts and how many of them a step has, the step's GFLOP, and
# the shape of its largest product.
PROGRAMS = [
    char_rnn("rnn", 1, 128),
    char_rnn("gru", 3, 256),
    char_rnn("lstm", 4, 512),
    ("seq_classify.py --num_epochs 2 --num_batches 50", "examples", 20,
     step_gflop(20, 28, 28, 200, 3, 3, 10, 1), (20, 400, 400)),
]

print("| command | GFLOP a step | steps/s | GFLOP/s (min to max) | a product of its"
      " size, one thread | 1024 x 1024 |\n|---|---|---|---|---|---|")
for command, unit, many, gflop, shape in PROGRAMS:
    rounds = np.array([
        (speed(command, unit) / many, products_gflops(*shape),
         products_gflops(1024, 1024, 1024)) for _ in range(ROUNDS)])
    steps, own, large = np.median(rounds, axis=0)
    reached = rounds[:, 0] * gflop
    print(f"| `{command}` | {gflop:.3f} | {steps:.1f} | **{np.median(reached):.0f}**"
          f" ({reached.min():.0f} to {reached.max():.0f}) | {own:.0f} | {large:.0f} |",
          flush=True)
