"""Time echo_rnn.py against the article's program, whole processes side by side.

    python benchmarks/echo_rnn_speed.py           # the table: 8 minutes on 2 CPU cores
    python benchmarks/echo_rnn_speed.py --long    # 100 epochs in a window: 1 minute
    python benchmarks/echo_rnn_speed.py --tried   # other ways to train: 1 minute

Without a display all of it runs under xvfb-run.
"""
import argparse
import importlib
import inspect
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from unittest.mock import MagicMock

HERE = os.path.dirname(os.path.abspath(__file__))
ARTICLE = os.path.join(HERE, "echo_rnn_article.py")
sys.path.insert(0, os.path.dirname(HERE))

# The situation, matplotlib's backend, flags of the article's program, how ours draws.
SITUATIONS = [
    ("no drawing", "Agg", ["--no_drawing"], "none"),
    ("drawing, Agg", "Agg", [], "canvas"),
    ("drawing, window", "TkAgg", [], "window"),
]


# --- In a process of its own ----------------------------------------------------------
def run_article(article_flags):
    """Run the article's program; return its seconds without the imports."""
    for library in ["numpy", "matplotlib.pyplot", "tensorflow.compat.v1"]:
        importlib.import_module(library)
    sys.argv[1:] = article_flags
    start = time.perf_counter()
    runpy.run_path(ARTICLE, run_name="__main__")
    return {"seconds": time.perf_counter() - start}


def run_ours(drawing, our_flags):
    """Run echo_rnn.py; return its seconds without the imports, and each picture's."""
    import echo_rnn

    class Picture(echo_rnn.LivePicture):
        def __init__(self, *args, **settings):
            super().__init__(*args, **settings)
            self.window |= drawing == "canvas"  # redrawn like a window, never shown
            assert self.window, "no window could be opened"

        def wait_until_closed(self):
            """Return at once, though the window is open."""

    seconds = []  # of each plot() and each redraw()

    def timed(function):
        def timed_function(*args):
            start = time.perf_counter()
            function(*args)
            seconds.append(time.perf_counter() - start)

        return timed_function

    make_plot = echo_rnn.make_plot
    echo_rnn.LivePicture = Picture
    echo_rnn.make_plot = lambda *args: timed(make_plot(*args))
    Picture.redraw = timed(Picture.redraw)
    if drawing == "none":
        echo_rnn.LivePicture = echo_rnn.make_plot = MagicMock()
    start = time.perf_counter()
    echo_rnn.main(our_flags)
    whole = time.perf_counter() - start
    return {
        "seconds": whole,
        "pictures": [a + b for a, b in zip(seconds[::2], seconds[1::2])],
    }


def run_tried(rounds=30, block=200):
    """Print the time of a training step as it is, and in other ways."""
    # Else the process has one pool of threads, and its first session says how many.
    os.environ["TF_OVERRIDE_GLOBAL_THREADPOOL"] = "1"
    os.environ["TF_XLA_FLAGS"] = "--tf_xla_cpu_global_jit"  # else XLA leaves CPUs alone
    import numpy as np

    import echo_rnn
    from echo_rnn import tf

    constants = echo_rnn.parse_flags([])
    batch_shape = [constants.batch_size, constants.truncated_backprop_length]
    batchX = batchY = np.random.randint(constants.num_classes, size=batch_shape)

    def threads(intra, inter):
        return tf.ConfigProto(
            intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter,
            use_per_session_threads=inter > 0,
        )

    def make_step(config, head="ours", predictions=False, callable=False):
        """Return a function from a state to the next that does one training step."""
        with tf.Graph().as_default():
            graph = echo_rnn.build_graph(**{
                name: getattr(constants, name)
                for name in inspect.signature(echo_rnn.build_graph).parameters
            })
            total_loss, train_step = graph.total_loss, graph.train_step
            if head == "article":  # ours stays in the graph, but nothing asks for it
                total_loss = tf.reduce_mean([
                    tf.nn.sparse_softmax_cross_entropy_with_logits(
                        logits=tf.matmul(state, graph.W2) + graph.b2, labels=labels
                    )
                    for state, labels in zip(graph.states_series, graph.labels_series)
                ])
                optimizer = tf.train.AdagradOptimizer(constants.learning_rate)
                train_step = optimizer.minimize(total_loss)
            sess = tf.Session(config=config)
            sess.run(tf.global_variables_initializer())
        fetches = [graph.current_state, total_loss, train_step]
        if predictions:
            fetches.append(graph.predictions_series)
        feeds = [graph.init_state, graph.batchX_placeholder, graph.batchY_placeholder]
        if callable:
            run = sess.make_callable(fetches, feed_list=feeds)
            return lambda state: run(state, batchX, batchY)[0]
        return lambda state: sess.run(
            fetches, dict(zip(feeds, [state, batchX, batchY]))
        )[0]

    ours, xla = threads(1, -1), threads(1, -1)
    xla.graph_options.optimizer_options.global_jit_level = tf.OptimizerOptions.ON_1
    steps = {
        "as it is: intra 1, inter -1": make_step(ours),
        "`make_callable`": make_step(ours, callable=True),
        "XLA, `global_jit_level` ON_1": make_step(xla),
        "default session": make_step(None),
        "threads: intra 1, inter 1": make_step(threads(1, 1)),
        "threads: intra 1, inter 2": make_step(threads(1, 2)),
        "threads: intra 2, inter 1": make_step(threads(2, 1)),
        "the article's head, step by step": make_step(ours, head="article"),
        "predictions fetched at every step": make_step(ours, predictions=True),
    }
    times = {name: [] for name in steps}
    state = np.zeros([constants.batch_size, constants.state_size])
    for round_idx in range(-1, rounds):  # round -1 warms up
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(block):
                state = step(state)
            if round_idx >= 0:
                times[name].append((time.perf_counter() - start) / block)
    print("| training step | median µs | time against `as it is` (min to max) |")
    print("|---|---|---|")
    for name, seconds in times.items():
        ratios = np.divide(seconds, times["as it is: intra 1, inter -1"])
        print(f"| {name} | {1e6 * np.median(seconds):.0f} | {np.median(ratios):.2f}"
              f" ({ratios.min():.2f} to {ratios.max():.2f}) |")


# --- In the process that starts them --------------------------------------------------
def measure(backend, program, *program_flags):
    """Run a program in a new process; return what it measured, and all it took."""
    command = [sys.executable, os.path.abspath(__file__), "--worker", program]
    command += program_flags
    env = dict(os.environ, MPLBACKEND=backend)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True
        )
        whole = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]), whole=whole)


def print_table(runs, num_epochs):
    import numpy as np

    print("| situation | article, s | ours, s | times faster (min to max) "
          "| imports included: article, s | ours, s | times faster |")
    print("|---|---|---|---|---|---|---|")
    for situation, backend, article_flags, drawing in SITUATIONS:
        epochs = ["--num_epochs", str(num_epochs)]
        pairs = [
            (measure(backend, "article", *epochs, *article_flags),
             measure(backend, drawing, *epochs))
            for _ in range(runs)
        ]
        cells = [situation]
        for figure in ["seconds", "whole"]:
            article, ours = np.transpose([[a[figure], b[figure]] for a, b in pairs])
            ratios = article / ours
            cells += [f"{np.median(article):.2f}", f"{np.median(ours):.2f}",
                      f"**{np.median(ratios):.1f}**"
                      f" ({ratios.min():.1f} to {ratios.max():.1f})"]
        print("|", " | ".join(cells), "|", flush=True)


def print_long(num_epochs=100):
    import numpy as np

    result = measure("TkAgg", "window", "--num_epochs", str(num_epochs))
    pictures = 1000 * np.array(result["pictures"])
    print("| 100 epochs in a window | |\n|---|---|")
    print(f"| seconds | {result['seconds']:.1f} |")
    print(f"| seconds, imports included | {result['whole']:.1f} |")
    print(f"| of it drawing | {pictures.sum() / 10 / result['seconds']:.1f} % |")
    print(f"| pictures | {len(pictures)} |")
    print(f"| a picture, median of the first 50 | {np.median(pictures[:50]):.1f} ms |")
    print(f"| a picture, median of the last 50 | {np.median(pictures[-50:]):.1f} ms |")


def main():
    if sys.argv[1:2] == ["--worker"]:
        program, program_flags = sys.argv[2], sys.argv[3:]
        if program == "article":
            result = run_article(program_flags)
        else:
            result = run_ours(program, program_flags)
        print(json.dumps(result))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="pairs for a row")
    parser.add_argument("--num_epochs", type=int, default=10, help="of each run")
    parser.add_argument("--long", action="store_true", help="100 epochs in a window")
    parser.add_argument("--tried", action="store_true", help="the training step alone")
    flags = parser.parse_args()
    if flags.tried:
        run_tried()
        return
    if sys.platform == "linux" and "DISPLAY" not in os.environ:
        screen = ["xvfb-run", "-a", "-s", "-screen 0 1280x1024x24"]
        os.execvp(screen[0], screen + [sys.executable] + sys.argv)
    if flags.long:
        print_long()
    else:
        print_table(flags.runs, flags.num_epochs)


if __name__ == "__main__":
    main()
