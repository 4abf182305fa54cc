"""Time char_rnn.py beside PyTorch and Keras, or the article's programs, in turn.

    python benchmarks/char_rnn_speed.py                    # against the libraries
    python benchmarks/char_rnn_speed.py --peers article --models manual gru

A quarter of data/shakespeare.txt is read twice; the speed of the second time counts.
Each program times itself: its steps alone, and the writing of 20,000 characters
(2000 the others).
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import one

HERE = os.path.dirname(os.path.abspath(__file__))
OURS = os.path.join(HERE, "..", "char_rnn.py")
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--rounds", type=int, default=5, help="of all programs")
parser.add_argument("--models", nargs="+", default=["rnn", "gru", "lstm"])
parser.add_argument("--peers", nargs="+", default=["torch", "keras"])
chosen, names = one.parse(parser)

if names:
    batches, state = list(names["generate_batch"](names["training"])), None
    start = time.perf_counter()
    for X, y in batches:
        _, state = names["step"](X, y, state, 0.002)
    seconds = time.perf_counter() - start
    print(f"training {len(batches) * batches[0][0].size / seconds:.0f} characters/s")
    names["sample"](2000)
    start = time.perf_counter()
    names["sample"](20000)
    print(f"sampling {20000 / (time.perf_counter() - start):.0f} characters/s")
    sys.exit()


def run(*words):
    """Run a script in the folder; return the last speeds that it prints."""
    printed = subprocess.check_output(
        [sys.executable, *words], cwd=folder, stderr=subprocess.DEVNULL)
    speeds = dict(re.findall(r"(\w+) ([\d.]+) characters/s", printed.decode()))
    return float(speeds["training"]), float(speeds.get("sampling", "nan"))


def run_ours(model):
    """Return characters a second, in training and in writing."""
    flags = f"--data text.txt --num_epochs 1 --plot p.png --model {model} "
    if model == "manual":
        flags += "--batch_size 32 --num_steps 200 --num_hidden_units 100 --num_layers 1"
    elif chosen.peers == ["article"]:
        flags += "--dropout 0.5"
    return run(os.path.abspath(__file__), "--one", OURS, *flags.split())


def run_peer(peer, model):
    """Return characters a second, in training and in writing; Keras does not write."""
    return run(f"{HERE}/peers/char_rnn_{peer}.py", "text.txt", model)


print("| model | peer | training, characters/s: ours | peer | times faster"
      " (min to max) | writing, characters/s: ours | peer | times faster |")
print("|---|---|---|---|---|---|---|---|")
with tempfile.TemporaryDirectory() as folder:
    text = Path(HERE, "..", "data", "shakespeare.txt").read_text(encoding="utf-8")
    Path(folder, "text.txt").write_text(text[:250000], encoding="utf-8")
    for model in chosen.models:
        speeds = np.array([
            [run_ours(model), *(run_peer(peer, model) for peer in chosen.peers)]
            for _ in range(chosen.rounds)])  # [rounds, programs, training and writing]
        for i, peer in enumerate(chosen.peers, 1):
            cells = [model, peer]
            for ours, theirs in zip(speeds[:, 0].T, speeds[:, i].T):
                ratios = ours / theirs
                digits = 2 if np.median(ratios) < 100 else 0
                cells += [f"{np.median(ours):.0f}", f"{np.median(theirs):.0f}",
                          f"**{np.median(ratios):.{digits}f}**"
                          f" ({min(ratios):.{digits}f} to {max(ratios):.{digits}f})"]
            row = " | ".join(cells).replace("**nan** (nan to nan)", "nan")
            print("|", row.replace("nan", "–"), "|", flush=True)
