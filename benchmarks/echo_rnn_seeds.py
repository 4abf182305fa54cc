"""After how many epochs echo_rnn.py has learned, over 40 seeds.

    python benchmarks/echo_rnn_seeds.py   # 10 minutes on 2 CPU cores

Learned: the last 100 batches of an epoch cost less than 0.02 nats on average.
"""
import contextlib
import multiprocessing
import os
import runpy
import sys

import numpy as np
from matplotlib.figure import Figure

ECHO_RNN = os.path.join(os.path.dirname(os.path.dirname(__file__)), "echo_rnn.py")


def learned_after(lowest_weight, seed):
    """Return the epochs that it took, of 15, or 99."""
    Figure.savefig = lambda *_: None  # nothing is drawn
    flags = f"--lowest_weight {lowest_weight} --seed {seed} --num_epochs 15"
    sys.argv = [ECHO_RNN, *flags.split(), "--plot", "unused.png"]
    with contextlib.redirect_stdout(None):
        loss_list = runpy.run_path(ECHO_RNN)["loss_list"]
    at_the_end = np.reshape(loss_list, (15, -1))[:, -100:].mean(axis=1)
    return min([*np.flatnonzero(at_the_end < 0.02) + 1, 99])


if __name__ == "__main__":
    print("| first weights from | learned within 1 epoch | 2 | 3 | 5 | 9 | 15 |")
    print("|---|---|---|---|---|---|---|")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for lowest in -1, 0:
            epochs = pool.starmap(learned_after, [(lowest, s) for s in range(40)])
            counts = [sum(e <= most for e in epochs) for most in (1, 2, 3, 5, 9, 15)]
            print(f"| {lowest} | " + " | ".join(map(str, counts)) + " |", flush=True)
