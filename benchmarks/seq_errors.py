"""The test errors of seq_classify.py and seq_label.py, seed by seed, as Markdown.

    python benchmarks/seq_errors.py --seeds 1 2 3            # the article's settings
    python benchmarks/seq_errors.py --long --seeds 1 2 3     # the longer commands
"""
import argparse
import contextlib
import io
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import seq_classify
import seq_label

FOLDS = "--split folds --fold 0 --invert"
SHORT = [
    (seq_classify, "--data mnist"),
    *((seq_label, f"--data ocr {cell} {split}".strip())
      for split in ("--split words", FOLDS)
      for cell in ("--cell none", "--cell gru", "--cell gru --bidirectional")),
]
LONG = [
    (seq_classify, "--data mnist --num_units 128 --num_layers 2 --dropout 0.25"
     " --batch_size 100 --num_batches 600 --learning_rate 0.002 --decay 0.75"
     " --shift 2"),
    (seq_label, "--data ocr --bidirectional --num_units 100 --num_layers 1"
     " --hidden_units 1024 --dropout 0.4 --batch_size 50 --num_batches 200"
     " --num_epochs 14 --learning_rate 0.002 --decay 0.85 --shift 1 --swap 1"),
    (seq_label, f"--data ocr {FOLDS} --num_units 200 --num_layers 1"
     " --hidden_units 1024 --batch_size 50 --num_batches 200 --num_epochs 14"
     " --learning_rate 0.002 --decay 0.85 --shift 1"),
    (seq_label, "--data ocr --cell none --hidden_units 1024 --dropout 0.4"
     " --batch_size 50 --num_batches 200 --num_epochs 14 --learning_rate 0.002"
     " --decay 0.85 --shift 1"),
]


def last_error(script, flags, seed):
    """Return the test error after the last epoch, in percent; of letters, in words."""
    script.LivePicture.save = lambda self: None
    with contextlib.redirect_stdout(io.StringIO()):
        results = script.main(f"{flags} --seed {seed} --plot unused.png".split())
    error = results.errors[-1]
    return 100 * (error[0] if isinstance(error, tuple) else error)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="the longer commands")
    parser.add_argument("--only", default="", help="just commands with this in them")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    chosen = parser.parse_args()
    print("| command |", " | ".join(f"seed {seed}" for seed in chosen.seeds), "|")
    print("|---" * (len(chosen.seeds) + 1) + "|")
    for script, flags in LONG if chosen.long else SHORT:
        command = f"{script.__name__}.py {flags}"
        if chosen.only in command:
            print(f"| `{command}`", end=" ", flush=True)
            for seed in chosen.seeds:
                print(f"| {last_error(script, flags, seed):.2f} %", end=" ", flush=True)
            print("|", flush=True)
