"""The network of char_rnn.py in Keras: FILE MODEL. Prints characters/s."""
import os
import sys
import time
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from tensorflow import keras

file, model = sys.argv[1:]
text = Path(file).read_text(encoding="utf-8")
vocabulary, ids = np.unique(list(text), return_inverse=True)
ids = ids[: len(ids) * 9 // 10]
row_length = (len(ids) - 1) // 50 // 50 * 50
rows = [ids[i : i + 50 * row_length].reshape(50, row_length) for i in (0, 1)]
X, y = (np.concatenate(np.split(part, row_length // 50, axis=1)) for part in rows)

layer = {"rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU,
         "lstm": keras.layers.LSTM}[model]
inputs = keras.Input(batch_shape=(50, 50), dtype="int32")
outputs = keras.layers.Embedding(len(vocabulary), 128)(inputs)
for _ in range(2):
    outputs = layer(128, return_sequences=True, stateful=True)(outputs)
network = keras.Model(inputs, keras.layers.Dense(len(vocabulary))(outputs))
network.compile(keras.optimizers.Adam(0.002, global_clipnorm=5.0),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True))
for _ in range(2):
    start = time.time()
    network.fit(X, y, batch_size=50, epochs=1, shuffle=False, verbose=0)
print(f"training {X.size / (time.time() - start):.0f} characters/s")
