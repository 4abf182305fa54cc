"""Training speed of the network of seq_classify.py against PyTorch and Keras.

    python benchmarks/seq_speed.py   # 7 rounds: ours, PyTorch, Keras, ours, …

The same network in each: 3 layers of 200 GRU units, half of the outputs dropped, a
softmax on the last step, RMSProp; random images of 28 rows of 28 pixels.
"""
import argparse
import json
import os
import subprocess
import sys
import time

NUM_UNITS, NUM_LAYERS, STEPS, FEATURES, CLASSES = 200, 3, 28, 28, 10


def make_step_of_ours():
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import seq_classify

    graph = seq_classify.build_graph("gru", NUM_UNITS, NUM_LAYERS, FEATURES, CLASSES)
    threads = seq_classify.tf.ConfigProto(  # as in seq_classify.train
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=2
    )
    sess = seq_classify.tf.Session(config=threads)
    sess.run(seq_classify.tf.global_variables_initializer())

    def step(x, y):
        feed = {graph.data: x, graph.target: y, graph.dropout: 0.5, graph.rate: 0.003}
        return sess.run([graph.loss, graph.train_step], feed)[0]

    return step


def make_step_of_torch():
    import torch

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = torch.nn.GRU(
                FEATURES, NUM_UNITS, NUM_LAYERS, batch_first=True, dropout=0.5
            )
            self.dropout = torch.nn.Dropout(0.5)
            self.softmax = torch.nn.Linear(NUM_UNITS, CLASSES)

        def forward(self, x):
            return self.softmax(self.dropout(self.gru(x)[0][:, -1]))

    network = Network()
    optimizer = torch.optim.RMSprop(network.parameters(), lr=0.003)

    def step(x, y):
        optimizer.zero_grad()
        logit = network(torch.from_numpy(x))
        loss = torch.nn.functional.cross_entropy(logit, torch.from_numpy(y))
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def make_step_of_keras():
    os.environ["TF_USE_LEGACY_KERAS"] = "0"  # Keras 3, not the one the scripts need
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    layers = [keras.Input((STEPS, FEATURES))]
    for i in range(NUM_LAYERS):
        layers.append(keras.layers.GRU(NUM_UNITS, return_sequences=i < NUM_LAYERS - 1))
        layers.append(keras.layers.Dropout(0.5))
    model = keras.Sequential([*layers, keras.layers.Dense(CLASSES)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.RMSprop(0.003), loss)
    return model.train_on_batch


def serve(program):
    """Answer each line [batch_size, batches] with the seconds that so many took."""
    import numpy as np

    step = globals()[f"make_step_of_{program}"]()
    numbers = np.random.RandomState(0)
    for line in sys.stdin:
        batch_size, batches = json.loads(line)
        x = numbers.rand(batch_size, STEPS, FEATURES).astype(np.float32)
        y = numbers.randint(CLASSES, size=batch_size).astype(np.int64)
        for _ in range(3):
            step(x, y)
        start = time.perf_counter()
        for _ in range(batches):
            step(x, y)
        print("seconds", time.perf_counter() - start, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="of all three, in turn")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.serve:
        serve(flags.serve)
        return
    import numpy as np

    # All three live at once, in processes of their own, and only one computes.
    command = [sys.executable, os.path.abspath(__file__), "--serve"]
    servers = {
        program: subprocess.Popen(
            [*command, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )
        for program in ("ours", "torch", "keras")
    }

    def measure(program, batch_size, batches):
        order = json.dumps([batch_size, batches])
        print(order, file=servers[program].stdin, flush=True)
        for line in servers[program].stdout:
            if line.startswith("seconds"):
                return batch_size * batches / float(line.split()[1])
        sys.exit(f"{program} does not run here")

    print("| batch | ours, examples/s | PyTorch | times faster (min to max) | Keras |"
          " times faster |\n|---|---|---|---|---|---|")
    for batch_size, batches in (10, 40), (100, 15):
        rounds = [
            [measure(program, batch_size, batches) for program in servers]
            for _ in range(flags.rounds + 1)
        ][1:]  # the first one warms up
        ours, torch, keras = np.transpose(rounds)
        cells = [f"{batch_size}", f"{np.median(ours):.0f}"]
        for other in torch, keras:
            ratios = ours / other
            cells += [f"{np.median(other):.0f}", f"**{np.median(ratios):.2f}**"
                      f" ({ratios.min():.2f} to {ratios.max():.2f})"]
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
