"""Test errors and validation losses at the end of a run, seed by seed, as Markdown.

    python benchmarks/seeds.py            # an hour on 2 CPU cores
    python benchmarks/seeds.py --drawn    # what needs no download, and its time
    python benchmarks/seeds.py --predict  # the answers of "Predict, then run"
    python benchmarks/seeds.py --minutes  # the best in 1 and 5 minutes: half an hour
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHORT = [f"char_rnn.py --data shakespeare --model {m}" for m in ("rnn", "gru", "lstm")]
SHORT.append("seq_classify.py --data mnist")
SHORT += [f"seq_label.py --data ocr {flags}" for flags in (
    "--cell none --split words", "--cell gru --split words", "--cell gru --split folds",
    "--cell gru --bidirectional 1 --split folds")]
DRAWN = ["seq_classify.py", "seq_label.py --cell none", "seq_label.py",
         "seq_label.py --bidirectional 1"]
PREDICT = ["rnn_internals.py", "rnn_internals.py --rnn_size 2",
           "rnn_internals.py --rnn_size 1", "rnn_internals.py --number_of_steps 1",
           "rnn_internals.py --number_of_features 24", "char_rnn.py",
           "char_rnn.py --model rnn", "char_rnn.py --num_steps 5",
           "seq_classify.py --truncated_backprop_length 7",
           "seq_classify.py --decay 1"]
SHAKESPEARE = "char_rnn.py --data shakespeare --num_hidden_units 256"
MNIST = ("seq_classify.py --data mnist --num_units 128 --num_layers 2 --dropout 0.25"
         " --batch_size 100 --learning_rate 0.002")
MINUTES = [
    f"{SHAKESPEARE} --num_epochs 2 --learning_rate 0.004 --decay_rate 0.4",
    f"{SHAKESPEARE} --num_epochs 8 --learning_rate 0.003 --dropout 0.2"
    " --average_decay 0.999",
    f"{MNIST} --num_batches 100 --decay 0.75",
    f"{MNIST} --num_batches 600 --decay 0.7 --shift 1",
]

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--drawn", action="store_true", help="what needs no download")
parser.add_argument("--predict", action="store_true", help="the pages' questions")
parser.add_argument("--minutes", action="store_true", help="the best in 1 and 5")
parser.add_argument("--only", default="", help="just commands with this in them")
parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
chosen = parser.parse_args()
print("| command |", " | ".join(f"seed {seed}" for seed in chosen.seeds), "|")
print("|---" * (len(chosen.seeds) + 1) + "|")
chosen_commands = SHORT
if chosen.minutes:
    chosen_commands = MINUTES
elif chosen.drawn:
    chosen_commands = DRAWN
elif chosen.predict:
    chosen_commands = PREDICT
for command in chosen_commands:
    if chosen.only not in command:
        continue
    print(f"| `{command}`", end=" ", flush=True)
    for seed in chosen.seeds:
        with tempfile.TemporaryDirectory() as folder:
            script, *words = command.split()
            start = time.time()
            printed = subprocess.check_output(
                [sys.executable, os.path.join(ROOT, script), *words, "--seed",
                 str(seed), "--plot", "unused.png"],
                cwd=folder, stderr=subprocess.DEVNULL, universal_newlines=True)
        results = re.findall(r"(?:error|validation|the network) +"
                             r"(\d[\d.]*%?(?: \(known .+?\))?)", printed)
        print(f"| {results[-1]}", end=" ", flush=True)
        if chosen.drawn or chosen.minutes:
            print(f"({time.time() - start:.0f} s)", end=" ", flush=True)
    print("|", flush=True)
