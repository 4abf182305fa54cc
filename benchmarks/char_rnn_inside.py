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
SHAKESPEARE = os.path.join(ROOT, "data", "shakespeare.txt")
MODELS = ["rnn", "gru", "lstm"]
LAGS, READ = [0, 3, 8, 12, 20, 30, 48], [1, 2, 3, 5, 10, 20, 50]
LETTERS = [1, 2, 3, 4, 5]
RATES = ["0", "0.0001", "0.0002", "0.001"]

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--learn_on", action="store_true", help="the second command")
parser.add_argument("--seeds", type=int, nargs="+")
chosen, run = one.parse(parser)

if run:
    ids = run["looked_ids"]
    by_lag, by_read, (costs, units, _, _) = run["look_inside"](ids)
    letters = run["letter_of_word"][:, 1:]
    found = [np.abs(run["follow"](units, run["in_pattern"])).max(),
             run["remember"](units, ids[:, :-1]).max(),
             *by_lag[LAGS], *by_read[np.subtract(READ, 1)],
             *(costs[letters == letter].mean() for letter in LETTERS)]
    print("found:", *found)
    sys.exit()


def ask(folder, *words):
    """Return what Python prints when it is called with these words in the folder."""
    return subprocess.check_output([sys.executable, *words], cwd=folder,
                                   stderr=subprocess.DEVNULL, universal_newlines=True)


def last_tenth(data, folder):
    """Write what a run validates with to a file; return its name."""
    if data == "python":
        import pydoc_data.topics
        text = "\n".join(pydoc_data.topics.topics.values())
    else:
        with open(data, encoding="utf-8") as f:
            text = f.read()
    with open(os.path.join(folder, "tenth.txt"), "w", encoding="utf-8") as f:
        f.write(text[len(text) * 9 // 10 :])
    return "tenth.txt"


def told_range(values):
    low, high = np.min(values), np.max(values)
    return f"{low:.2g} to {high:.2g}" if high < 0.1 else f"{low:.2f} to {high:.2f}"


script = os.path.join(ROOT, "char_rnn.py")
if chosen.learn_on:
    print("| text | seed |", " | ".join(f"rate {rate}" for rate in RATES), "|")
    print("|---" * (len(RATES) + 2) + "|")
    for name, data in ("tiny Shakespeare", SHAKESPEARE), ("Python's manual", "python"):
        for seed in chosen.seeds or [1, 2, 3]:
            with tempfile.TemporaryDirectory() as folder:
                ask(folder, script, "--data", data, "--num_epochs", "4", "--seed",
                    str(seed), "--average_decay", "0.999", "--plot", "p.png")
                tenth = last_tenth(data, folder)
                nats = [re.findall(r"([\d.]+) nats", ask(
                    folder, script, "--score", tenth, "--score_learning_rate", rate))[0]
                    for rate in RATES]
            print(f"| {name} | {seed} |", " | ".join(nats), "|", flush=True)
    sys.exit()

found = {}
for model in MODELS:
    found[model] = []
    for seed in chosen.seeds or [1, 2, 3, 4, 5]:
        with tempfile.TemporaryDirectory() as folder:
            printed = ask(folder, os.path.abspath(__file__), "--one", script,
                          "--num_epochs", "4", "--model", model, "--seed", str(seed),
                          "--plot", "p.png")
        found[model].append(list(map(float, printed.splitlines()[-1].split()[1:])))
measures = ["how well a unit follows quotes, correlation",
            "what is left of a unit 8 characters later",
            *(f"an answer hangs on what stands {lag} back" for lag in LAGS),
            *(f"nats after {read} characters" for read in READ),
            *(f"nats of the letter {letter} of a word" for letter in LETTERS)]
print("| |", " | ".join(MODELS), "|")
print("|---" * (len(MODELS) + 1) + "|")
for i, measure in enumerate(measures):
    ranges = [told_range([each[i] for each in found[model]]) for model in MODELS]
    print(f"| {measure} |", " | ".join(ranges), "|")
