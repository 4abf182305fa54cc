"""The article's sections IV (manual) and V (gru), mended to run: FILE MODEL.

Prints characters/s. Kept is what costs time: one-hot inputs, a product for each time
step, predictions fetched with every batch (IV), logits fetched with every batch and
dropout of 0.5 (V), the default session, a sample() that adds operations to the graph
for each character. Section V's text has no sample(): it is IV's with V's cell.
"""
import os
import random
import sys
import time
from pathlib import Path

import numpy as np

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow.compat.v1 as tf

tf.logging.set_verbosity(tf.logging.ERROR)
tf.disable_v2_behavior()
tf.enable_resource_variables()

file, model = sys.argv[1:]
rows, seq_len, num_hidden_units = (32, 200, 100) if model == "manual" else (50, 50, 128)
text = Path(file).read_text(encoding="utf-8")
vocabulary, ids = np.unique(list(text), return_inverse=True)
ids = ids[: len(ids) * 9 // 10]
num_classes = len(vocabulary)
row_length = (len(ids) - 1) // rows // seq_len * seq_len
data_X, data_y = (ids[i : i + rows * row_length].reshape(rows, -1) for i in (0, 1))
X = tf.placeholder(tf.int32, [None, None])
y = tf.placeholder(tf.int32, [None, None])

W_input = tf.get_variable("W_input", [num_classes, num_hidden_units])
if model == "manual":
    W_hidden = tf.get_variable("W_hidden", [num_hidden_units, num_hidden_units])
    b_hidden = tf.get_variable("b_hidden", [num_hidden_units])

    def cell(char, state):
        product = tf.matmul(tf.one_hot(char, num_classes), W_input)
        state = tf.tanh(product + tf.matmul(state, W_hidden) + b_hidden)
        return state, state

    initial_state = tf.zeros([rows, num_hidden_units])
    first_state = tf.zeros([1, num_hidden_units])
else:
    stacked_cell = tf.nn.rnn_cell.MultiRNNCell([
        tf.nn.rnn_cell.DropoutWrapper(tf.nn.rnn_cell.GRUCell(num_hidden_units),
                                      output_keep_prob=0.5) for _ in range(2)])

    def cell(char, state):
        return stacked_cell(tf.nn.embedding_lookup(W_input, char), state)

    initial_state = stacked_cell.zero_state(rows, tf.float32)
    first_state = stacked_cell.zero_state(1, tf.float32)

W_softmax = tf.get_variable("W_softmax", [num_hidden_units, num_classes])
b_softmax = tf.get_variable("b_softmax", [num_classes])
if model == "manual":
    state, logits = initial_state, []
    for char in tf.split(X, seq_len, 1):
        output, state = cell(tf.squeeze(char, axis=[1]), state)
        logits.append(tf.matmul(output, W_softmax) + b_softmax)
    shown = [tf.nn.softmax(logit) for logit in logits]
    labels = [tf.squeeze(i, axis=[1]) for i in tf.split(y, seq_len, 1)]
    final_state = state
else:
    outputs, final_state = tf.nn.dynamic_rnn(
        stacked_cell, tf.nn.embedding_lookup(W_input, X), initial_state=initial_state)
    outputs = tf.reshape(outputs, [-1, num_hidden_units])
    logits = shown = [tf.matmul(outputs, W_softmax) + b_softmax]
    labels = [tf.reshape(y, [-1])]
total_loss = tf.reduce_mean([
    tf.nn.sparse_softmax_cross_entropy_with_logits(logits=a, labels=b)
    for a, b in zip(logits, labels)])
variables = tf.trainable_variables()
if model == "manual":
    train_step = tf.train.AdagradOptimizer(1e-4).minimize(total_loss)
else:
    grads, _ = tf.clip_by_global_norm(tf.gradients(total_loss, variables), 5.0)
    train_step = tf.train.AdamOptimizer(0.002).apply_gradients(zip(grads, variables))

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for _ in range(2):
        start, feed_dict = time.time(), {}
        for i in range(0, row_length, seq_len):
            feed_dict[X] = data_X[:, i : i + seq_len]
            feed_dict[y] = data_y[:, i : i + seq_len]
            fetches = [shown, total_loss, final_state, train_step]
            feed_dict[initial_state] = sess.run(fetches, feed_dict)[2]
    print(f"training {data_X.size / (time.time() - start):.0f} characters/s")

    start, char, state = time.time(), ids[0], first_state
    for _ in range(100):
        output, state = cell([char], state)
        dist = tf.nn.softmax(tf.matmul(output, W_softmax) + b_softmax).eval()[0]
        char, point = num_classes - 1, random.random()
        for index in range(num_classes):
            point -= dist[index]
            if point <= 0:
                char = index
                break
    print(f"sampling {100 / (time.time() - start):.1f} characters/s")
