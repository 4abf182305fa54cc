"""Time char_rnn.py beside PyTorch, Keras and the article's programs, in turn.

    python benchmarks/char_rnn_speed.py                    # against the libraries
    python benchmarks/char_rnn_speed.py --peers article    # and the article's programs

Each program runs as it is, in a process of its own, two epochs of the first characters
of data/shakespeare.txt; the second counts. PyTorch may live elsewhere: --torch_python.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--pairs", type=int, default=5, help="rounds of all programs")
parser.add_argument("--models", nargs="+", default=["rnn", "gru", "lstm"],
                    choices=["manual", "rnn", "gru", "lstm"])
parser.add_argument("--peers", nargs="+", default=["torch", "keras"],
                    choices=["torch", "keras", "article"])
parser.add_argument("--length", type=int, default=250000, help="characters of text")
parser.add_argument("--torch_python", default=sys.executable)
flags = parser.parse_args()
folder = tempfile.mkdtemp()
file = os.path.join(folder, "text.txt")
with open(os.path.join(HERE, "..", "data", "shakespeare.txt"), encoding="utf-8") as f:
    text = f.read(flags.length)
with open(file, "w", encoding="utf-8") as f:
    f.write(text)


def run(python, *words):
    """Run a script; return what it prints, and the seconds it takes."""
    start = time.time()
    out = subprocess.check_output([python, *words], cwd=folder).decode()
    return out, time.time() - start


def run_ours(model, article):
    """Return characters a second in training, and in writing: of 20000 more."""
    script = os.path.join(HERE, "..", "char_rnn.py")
    saved = tempfile.mkdtemp(dir=folder)
    words = ["--model", model, "--data", file, "--num_epochs", "2", "--plot", "p.png"]
    if model == "manual":  # the article's section IV
        words += "--batch_size 32 --num_steps 200 --num_hidden_units 100".split()
        words += ["--num_layers", "1"]
    elif article:
        words += ["--dropout", "0.5"]
    out, _ = run(sys.executable, script, *words, "--checkpoint_dir", saved)
    speeds = re.findall(r"(\d+) characters/s", out)
    words = [script, "--checkpoint_dir", saved, "--sample"]
    seconds = [run(sys.executable, *words, length)[1] for length in ("1000", "21000")]
    return float(speeds[-1]), 20000 / (seconds[1] - seconds[0])


print("| model | peer | training: ours | peer | times faster (min to max)"
      " | sampling: ours | peer | times faster |\n|---|---|---|---|---|---|---|---|")
for model in flags.models:
    for peer in flags.peers:
        ours, theirs = [], []
        for _ in range(flags.pairs):
            ours.append(run_ours(model, peer == "article"))
            python = flags.torch_python if peer == "torch" else sys.executable
            script = os.path.join(HERE, "peers", f"char_rnn_{peer}.py")
            out, _ = run(python, script, file, model)
            speeds = re.findall(r"([\d.]+) characters/s", out)
            theirs.append([float(speed) for speed in speeds])
        cells = []
        for a, b in zip(np.transpose(ours), np.transpose(theirs)):
            ratios = a / b
            cells += [f"{np.median(a):.0f}", f"{np.median(b):.0f}"]
            spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
            cells.append(f"**{np.median(ratios):.2f}** {spread}")
        print(f"| {model} | {peer} |", " | ".join(cells), "|", flush=True)
