"""Time echo_rnn.py against the article's program, whole processes in turn.

    python benchmarks/echo_rnn_speed.py     # 5 minutes on 2 CPU cores

Without a display all of it runs under xvfb-run.
"""
import argparse
import importlib
import os
import runpy
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ARTICLE = os.path.join(HERE, "peers", "echo_rnn_article.py")
OURS = os.path.join(os.path.dirname(HERE), "echo_rnn.py")
# The situation, matplotlib's backend, flags for the article's program, and for ours.
SITUATIONS = [
    ("no picture, ours with one in a file", "Agg", ["--no_drawing"], []),
    ("window", "TkAgg", [], []),
]


def run_here(path, flags):
    """Run a program to its end, without waiting for its window to be closed."""
    if path == OURS and os.environ["MPLBACKEND"] == "TkAgg":
        import matplotlib.pyplot as plt
        from matplotlib.backends.backend_tkagg import FigureCanvasTkAgg

        FigureCanvasTkAgg.start_event_loop = lambda *_: plt.close("all")
    sys.argv = [path, *flags]
    for library in ["matplotlib.pyplot", "tensorflow.compat.v1"]:
        importlib.import_module(library)
    start = time.perf_counter()
    runpy.run_path(path, run_name="__main__")
    print("seconds", time.perf_counter() - start)


def measure(backend, *words):
    """Return a program's seconds without the imports, and those of the process."""
    command = [sys.executable, os.path.abspath(__file__), "--run", *words]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        out = subprocess.check_output(
            command, cwd=folder, env=dict(os.environ, MPLBACKEND=backend),
            stderr=subprocess.DEVNULL, universal_newlines=True,
        )
    return float(out.split()[-1]), time.perf_counter() - start


def times_faster(pairs):
    """Return three cells of a table: both medians, and that of the ratios."""
    article, ours = (statistics.median(side) for side in zip(*pairs))
    ratios = sorted(a / b for a, b in pairs)
    return (f"{article:.1f} | {ours:.1f} | **{statistics.median(ratios):.1f}**"
            f" ({ratios[0]:.1f} to {ratios[-1]:.1f})")


def main():
    if sys.argv[1:2] == ["--run"]:
        return run_here(sys.argv[2], sys.argv[3:])
    if sys.platform == "linux" and "DISPLAY" not in os.environ:
        screen = ["xvfb-run", "-a", "-s", "-screen 0 1280x1024x24"]
        os.execvp(screen[0], screen + [sys.executable] + sys.argv)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="pairs for a row")
    parser.add_argument("--num_epochs", default="10", help="of each run")
    flags = parser.parse_args()
    print("| situation | article, s | ours, s | times faster (min to max) "
          "| imports included: article, s | ours, s | times faster |")
    print("|---|---|---|---|---|---|---|")
    for situation, backend, for_article, for_ours in SITUATIONS:
        epochs = ["--num_epochs", flags.num_epochs]
        runs = [(measure(backend, ARTICLE, *epochs, *for_article),
                 measure(backend, OURS, *epochs, *for_ours)) for _ in range(flags.runs)]
        without = times_faster([(article[0], ours[0]) for article, ours in runs])
        whole = times_faster([(article[1], ours[1]) for article, ours in runs])
        print(f"| {situation} | {without} | {whole} |", flush=True)


if __name__ == "__main__":
    main()
