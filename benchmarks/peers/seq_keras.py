"""The network of seq_classify.py in Keras: BATCH_SIZE NUM_BATCHES. Prints speed."""
import sys
import time

import keras
import numpy as np

batch_size, num_batches = int(sys.argv[1]), int(sys.argv[2])
keras.utils.set_random_seed(1)
x_train = np.random.rand(10000, 28, 28).astype(np.float32)
y_train = np.random.randint(10, size=10000)
model = keras.Sequential([keras.Input((28, 28))])
for return_sequences in True, True, False:
    model.add(keras.layers.GRU(200, return_sequences=return_sequences))
    model.add(keras.layers.Dropout(0.5))
model.add(keras.layers.Dense(10))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.RMSprop(0.003), loss)

for _ in range(2):  # the first epoch warms up
    start = time.perf_counter()
    for _ in range(num_batches):
        chosen = np.random.randint(10000, size=batch_size)
        model.train_on_batch(x_train[chosen], y_train[chosen])
    print(f"{batch_size * num_batches / (time.perf_counter() - start):.0f} examples/s")
