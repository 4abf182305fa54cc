"""Draw echo_truncation.png: what the echo-RNN learns, by echo_step and window length.

    python images/echo_truncation.py    # 480 trainings: 12 to 20 minutes on 2 CPU cores

The article says that "truncated_backprop_length need to be significantly larger than
the time dependencies". A cell of the map is the median over the seeds of the mean loss
in the last half of the last epoch; all but its two constants are echo_rnn.py's own.
All cells of a seed see the same data and begin with the same weights. A row of the data
is cut into row length / truncated_backprop_length batches, so a cell with shorter
windows makes more and noisier updates on them.
"""
import argparse
import contextlib
import io
import os
import runpy
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context

import matplotlib.pyplot as plt
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ECHO_RNN = os.path.join(os.path.dirname(HERE), "echo_rnn.py")

state_size, guessing = 4, np.log(2)  # echo_rnn.py's
echo_steps = range(1, 9)
lengths = range(1, 13)


def final_loss(echo_step, truncated_backprop_length, seed, num_epochs):
    """Train without drawing; return the mean loss of the last half epoch, in nats."""
    plt.Figure.savefig = lambda *_, **__: None
    quiet = contextlib.redirect_stdout(io.StringIO())
    with tempfile.TemporaryDirectory() as folder, quiet:
        sys.argv = [
            ECHO_RNN, f"--echo_step={echo_step}", f"--seed={seed}",
            f"--truncated_backprop_length={truncated_backprop_length}",
            f"--num_epochs={num_epochs}", f"--plot={folder}/unused.png",
        ]
        loss_list = runpy.run_path(ECHO_RNN)["loss_list"]
    return np.mean(loss_list[-(len(loss_list) // num_epochs // 2):])


def train_all(num_seeds, num_epochs):
    """Return the map, [echo_steps, lengths], and print it row by row."""
    seeds = range(1, num_seeds + 1)
    cells = product(echo_steps, lengths, seeds, [num_epochs])
    # Spawned, not forked: TensorFlow's threads do not survive a fork.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        losses = pool.map(final_loss, *zip(*cells))
        print("| echo_step |", " | ".join(map(str, lengths)), "|")
        print("|---" * (len(lengths) + 1) + "|")
        rows = []
        for echo_step in echo_steps:
            rows.append([np.median([next(losses) for _ in seeds]) for _ in lengths])
            row = " | ".join(f"{loss:.4f}" for loss in rows[-1])
            print(f"| {echo_step} | {row} |", flush=True)
    return np.array(rows)


def draw(loss_map, num_seeds, num_epochs):
    """Return a figure of the map."""
    figure, axes = plt.subplots(figsize=(10, 6.2), constrained_layout=True)
    mesh = axes.pcolormesh(
        lengths, echo_steps, loss_map, shading="nearest", cmap="viridis_r", vmin=0,
        vmax=guessing,
    )
    for (row, column), loss in np.ndenumerate(loss_map):
        color = "white" if loss > guessing / 2 else "black"
        where = lengths[column], echo_steps[row]
        axes.text(*where, f"{loss:.2f}", color=color, ha="center", va="center")
    reach_x = np.repeat(echo_steps, 2) + 0.5
    reach_y = np.ravel([(step - 0.5, step + 0.5) for step in echo_steps])
    room = axes.axhline(state_size - 0.5, color="tab:red", lw=2, ls="--")
    axes.plot(reach_x, reach_y, "white", lw=5)
    (reach,) = axes.plot(reach_x, reach_y, "tab:red", lw=3)
    axes.legend(
        [reach, room],
        ["truncated_backprop_length = echo_step + 1:"
         " left of it no gradient reaches the echoed bit",
         f"echo_step + 1 = state_size = {state_size}:"
         " above it more bits to remember than numbers in the state"],
        loc="upper center", bbox_to_anchor=(0.5, -0.1), frameon=False,
    )
    axes.set_title(
        "What the echo-RNN learns, by the length of its window and of the echo\n"
        f"loss at the end of {num_epochs} epochs, median of {num_seeds} seeds"
    )
    axes.set(
        xlabel="truncated_backprop_length: time steps in a batch",
        ylabel="echo_step: time steps from a bit to its echo",
        xticks=lengths, yticks=echo_steps,
    )
    axes.tick_params(length=0)
    bar = figure.colorbar(mesh, pad=0.02)
    bar.ax.set_title("loss, nats", size="medium", loc="left", pad=12)
    bar.set_ticks([0, 0.2, 0.4, 0.6, guessing])
    bar.set_ticklabels(["0: learned", "0.2", "0.4", "0.6", "ln 2: guessing"])
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="trainings for a cell")
    parser.add_argument("--num_epochs", type=int, default=3, help="of each training")
    flags = parser.parse_args()
    loss_map = train_all(flags.seeds, flags.num_epochs)
    figure = draw(loss_map, flags.seeds, flags.num_epochs)
    figure.savefig(os.path.join(HERE, "echo_truncation.png"), dpi=100)


if __name__ == "__main__":
    main()
