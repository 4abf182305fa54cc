"""After how many epochs echo_rnn.py has learned, over 40 seeds.

    python benchmarks/echo_rnn_seeds.py   # 3 minutes on 2 CPU cores

Learned: the last 100 batches of an epoch cost less than 0.02 nats on average.
"""
import contextlib
import io
import multiprocessing
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import echo_rnn


def learned_within(lowest_weight, seed):
    """Return the fewest of some numbers of epochs that suffice, or None."""
    echo_rnn.LivePicture.save = lambda self: None
    for num_epochs in 1, 2, 3, 5, 9, 15:  # a run is the beginning of any longer one
        with contextlib.redirect_stdout(io.StringIO()):
            losses = echo_rnn.main(
                f"--lowest_weight {lowest_weight} --seed {seed}"
                f" --num_epochs {num_epochs} --plot unused.png".split()
            )
        if losses[-100:].mean() < 0.02:
            return num_epochs
    return None


if __name__ == "__main__":
    print("| first weights from | learned within 1 epoch | 2 | 3 | 5 | 9 | 15 |")
    print("|---|---|---|---|---|---|---|")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for lowest in -1, 0:
            found = pool.starmap(learned_within, [(lowest, s) for s in range(40)])
            counts = [sum(n is not None and n <= k for n in found)
                      for k in (1, 2, 3, 5, 9, 15)]
            print(f"| {lowest} | " + " | ".join(map(str, counts)) + " |", flush=True)
