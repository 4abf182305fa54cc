"""How many seeds learn, of echo_rnn.py and where it comes to its limits.

    python benchmarks/echo_rnn_seeds.py            # 10 minutes on 2 CPU cores
    python benchmarks/echo_rnn_seeds.py --limits   # 3 minutes

Learned: the last 100 batches of an epoch cost less than 0.02 nats on average.
"""
import contextlib
import io
import multiprocessing
import os
import runpy
import sys
import tempfile

import numpy as np
from matplotlib.figure import Figure

ECHO_RNN = os.path.join(os.path.dirname(os.path.dirname(__file__)), "echo_rnn.py")
LIMITS = [
    "--num_epochs 10 --echo_step 4",
    "--num_epochs 10 --echo_step 5",
    "--num_epochs 3 --truncated_backprop_length 3",
    "--num_epochs 3 --truncated_backprop_length 4",
    "--num_epochs 3 --echo_step 1 --truncated_backprop_length 1",
]


def losses_at_the_end(flags, seed):
    """Return for each epoch the mean loss of its last 100 batches, in nats."""
    Figure.savefig = lambda *_, **__: None  # nothing is drawn
    quiet = contextlib.redirect_stdout(io.StringIO())
    with tempfile.TemporaryDirectory() as folder, quiet:
        sys.argv = [ECHO_RNN, *flags.split(), "--seed", str(seed),
                    "--plot", os.path.join(folder, "unused.png")]
        run = runpy.run_path(ECHO_RNN)
    by_epoch = np.reshape(run["loss_list"], (run["num_epochs"], -1))
    return by_epoch[:, -100:].mean(axis=1)


def print_learning(pool):
    print("| first weights from | learned within 1 epoch | 2 | 3 | 5 | 9 | 15 |")
    print("|---|---|---|---|---|---|---|")
    for lowest in -1, 0:
        flags = f"--num_epochs 15 --lowest_weight {lowest}"
        losses = pool.starmap(losses_at_the_end, [(flags, s) for s in range(40)])
        learned = np.array(losses) < 0.02
        counts = [learned[:, :most].any(axis=1).sum() for most in (1, 2, 3, 5, 9, 15)]
        print(f"| {lowest} |", " | ".join(map(str, counts)), "|", flush=True)


def print_limits(pool):
    seeds = range(1, 9)
    names = " | ".join(f"seed {seed}" for seed in seeds)
    print(f"| flags | learned | {names} |")
    print("|---" * (2 + len(seeds)) + "|")
    for flags in LIMITS:
        losses = pool.starmap(losses_at_the_end, [(flags, seed) for seed in seeds])
        last = [of_seed[-1] for of_seed in losses]
        learned = sum(loss < 0.02 for loss in last)
        print(f"| `{flags}` | {learned} of {len(seeds)} |",
              " | ".join(f"{loss:.2f}" for loss in last), "|", flush=True)


if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        if sys.argv[1:] == ["--limits"]:
            print_limits(pool)
        else:
            print_learning(pool)
