"""What char_rnn.py's networks have learned, over the seeds, as Markdown.

    python benchmarks/char_rnn_inside.py              # a quarter of an hour
    python benchmarks/char_rnn_inside.py --learn_on   # from data/shakespeare.txt

The first command looks into each of the cells after four epochs of Python's manual, the
second one scores last tenths with networks that stay as they are, or learn on.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

import numpy as np
import one

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TRAIN = os.path.join(ROOT, "char_rnn.py")
INSIDE = os.path.join(ROOT, "char_rnn_inside.py")
SHAKESPEARE = os.path.join(ROOT, "data", "shakespeare.txt")
MODELS = ["rnn", "gru", "lstm"]
LAGS, READ = [0, 8, 20, 48], [1, 3, 10, 50]
LETTERS = [1, 2, 5]
RATES = ["0", "0.0001", "0.0002", "0.001"]

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--learn_on", action="store_true", help="the second command")
parser.add_argument("--seeds", type=int, nargs="+")
parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
chosen, run = one.parse(parser)

if run:
    (_, follows), (_, remembers) = run["found"]
    correlation = re.findall(r"correlation -?([\d.]+)", follows)
    left = re.findall(r"remembers: ([\d.]+)", remembers)
    by_letter = [run["piece_losses"][run["letter_of_word"] == i].mean()
                 for i in LETTERS]
    by_read = run["short_losses"].mean(axis=0)
    print("found:", *correlation, *left, *run["looks_back"][LAGS],
          *by_read[np.subtract(READ, 1)], *by_letter)
    sys.exit()


def ask(folder, *words):
    """Return what Python prints when it is called with these words in the folder."""
    return subprocess.check_output(
        [sys.executable, *words, "--plot", "p.png"], cwd=folder,
        stderr=subprocess.DEVNULL, universal_newlines=True, encoding="utf-8")


def told_range(values):
    low, high = np.min(values), np.max(values)
    return f"{low:.2g} to {high:.2g}" if high < 0.1 else f"{low:.2f} to {high:.2f}"


if chosen.learn_on:
    print("| text | seed |", " | ".join(f"rate {rate}" for rate in RATES), "|")
    print("|---" * (len(RATES) + 2) + "|")
    for name, data in ("tiny Shakespeare", SHAKESPEARE), ("Python's manual", "python"):
        for seed in chosen.seeds or [1, 2, 3]:
            with tempfile.TemporaryDirectory() as folder:
                ask(folder, TRAIN, "--data", data, "--num_epochs", "4", "--seed",
                    str(seed), "--average_decay", "0.999")
                nats = [re.findall(r"([\d.]+) nats", ask(
                    folder, INSIDE, "--learning_rate", rate))[0] for rate in RATES]
            print(f"| {name} | {seed} |", " | ".join(nats), "|", flush=True)
    sys.exit()

found = {}
for model in chosen.models:
    found[model] = []
    for seed in chosen.seeds or [1, 2, 3, 4, 5]:
        with tempfile.TemporaryDirectory() as folder:
            ask(folder, TRAIN, "--num_epochs", "4", "--model", model, "--seed",
                str(seed))
            printed = ask(folder, os.path.abspath(__file__), "--one", INSIDE)
        found[model].append(list(map(float, printed.splitlines()[-1].split()[1:])))
measures = ["how well a unit follows quotes, correlation",
            "what is left of a unit 8 characters later",
            *(f"an answer hangs on what stands {lag} back" for lag in LAGS),
            *(f"nats after {read} characters" for read in READ),
            *(f"nats of the letter {letter} of a word" for letter in LETTERS)]
print("| |", " | ".join(chosen.models), "|")
print("|---" * (len(chosen.models) + 1) + "|")
for i, measure in enumerate(measures):
    ranges = [told_range([each[i] for each in found[model]]) for model in chosen.models]
    print(f"| {measure} |", " | ".join(ranges), "|")
