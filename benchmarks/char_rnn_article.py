"""The article's two TensorFlow programs with the least mending: sections IV and V.

Written after the text of "Recurrent Neural Networks (RNN) – Part 1: Basic RNN /
Char-RNN" (The Neural Perspective); benchmarks/char_rnn_speed.py drives them beside
char_rnn.py. Kept is what costs time: one-hot inputs, a product for each time step and
predictions fetched with every batch (IV), logits fetched with every batch (V), the
default session, and a sample() that adds operations to the graph for every character.

Mended so that they run on TensorFlow 1.15 and 2: tf.split and tf.concat take their axis
last, squeeze_dims is axis, the cross-entropy has its arguments by name, the lines that
the text lost, a cell of its own for each layer, the loop's break. Section V's text has
no sample(): this one is section IV's with the cell and the softmax of section V.
"""
import os
import random

import numpy as np

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # these lines are the ones of char_rnn.py
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow.compat.v1 as tf

tf.logging.set_verbosity(tf.logging.ERROR)
tf.disable_v2_behavior()
tf.enable_resource_variables()


def generate_batch(FLAGS, raw_data):
    raw_X, raw_y = raw_data
    num_batches = FLAGS.NUM_BATCHES  # rows; BATCH_SIZE is a row's length in the text
    row_length = len(raw_X) // num_batches
    data_X = np.zeros([num_batches, row_length], dtype=np.int32)
    data_y = np.zeros([num_batches, row_length], dtype=np.int32)
    for i in range(num_batches):
        data_X[i, :] = raw_X[row_length * i : row_length * (i + 1)]
        data_y[i, :] = raw_y[row_length * i : row_length * (i + 1)]
    for i in range(row_length // FLAGS.SEQ_LEN):
        X = data_X[:, i * FLAGS.SEQ_LEN : (i + 1) * FLAGS.SEQ_LEN]
        y = data_y[:, i * FLAGS.SEQ_LEN : (i + 1) * FLAGS.SEQ_LEN]
        yield X, y


def draw(FLAGS, logit):
    """Return a character drawn after a division of the logits, as section IV does."""
    next_char_dist = logit / FLAGS.TEMPERATURE
    next_char_dist = tf.exp(next_char_dist)
    next_char_dist /= tf.reduce_sum(next_char_dist)
    dist = next_char_dist.eval()
    prediction = FLAGS.NUM_CLASSES - 1
    point = random.random()
    weight = 0.0
    for index in range(FLAGS.NUM_CLASSES):
        weight += dist[0][index]
        if weight >= point:
            prediction = index
            break
    return prediction


# --- IV. Char-RNN TF Implementation (no RNN abstractions) -----------------------------
class SectionIV:
    def __init__(self, FLAGS):
        self.X = tf.placeholder(tf.int32, [None, None])
        self.y = tf.placeholder(tf.int32, [None, None])
        self.initial_state = tf.zeros([FLAGS.NUM_BATCHES, FLAGS.NUM_HIDDEN_UNITS])

        X_one_hot = tf.one_hot(self.X, FLAGS.NUM_CLASSES)
        rnn_inputs = [
            tf.squeeze(i, axis=[1]) for i in tf.split(X_one_hot, FLAGS.SEQ_LEN, 1)
        ]

        with tf.variable_scope("rnn_cell"):
            tf.get_variable("W_input", [FLAGS.NUM_CLASSES, FLAGS.NUM_HIDDEN_UNITS])
            tf.get_variable("W_hidden", [FLAGS.NUM_HIDDEN_UNITS] * 2)
            tf.get_variable(
                "b_hidden", [FLAGS.NUM_HIDDEN_UNITS],
                initializer=tf.constant_initializer(0.0),
            )

        state = self.initial_state
        rnn_outputs = []
        for rnn_input in rnn_inputs:
            state = self.rnn_cell(FLAGS, rnn_input, state)
            rnn_outputs.append(state)
        self.final_state = rnn_outputs[-1]

        with tf.variable_scope("softmax"):
            tf.get_variable("W_softmax", [FLAGS.NUM_HIDDEN_UNITS, FLAGS.NUM_CLASSES])
            tf.get_variable(
                "b_softmax", [FLAGS.NUM_CLASSES],
                initializer=tf.constant_initializer(0.0),
            )
        logits = [self.rnn_logits(FLAGS, rnn_output) for rnn_output in rnn_outputs]
        self.predictions = [tf.nn.softmax(logit) for logit in logits]

        y_as_list = [
            tf.squeeze(i, axis=[1]) for i in tf.split(self.y, FLAGS.SEQ_LEN, 1)
        ]
        losses = [
            tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logit, labels=label)
            for logit, label in zip(logits, y_as_list)
        ]
        self.total_loss = tf.reduce_mean(losses)
        self.train_step = tf.train.AdagradOptimizer(FLAGS.LEARNING_RATE).minimize(
            self.total_loss
        )

    def rnn_cell(self, FLAGS, rnn_input, state):
        with tf.variable_scope("rnn_cell", reuse=True):
            W_input = tf.get_variable("W_input")
            W_hidden = tf.get_variable("W_hidden")
            b_hidden = tf.get_variable("b_hidden")
        return tf.tanh(
            tf.matmul(rnn_input, W_input) + tf.matmul(state, W_hidden) + b_hidden
        )

    def rnn_logits(self, FLAGS, rnn_output):
        with tf.variable_scope("softmax", reuse=True):
            W_softmax = tf.get_variable("W_softmax")
            b_softmax = tf.get_variable("b_softmax")
        return tf.matmul(rnn_output, W_softmax) + b_softmax

    def step(self, sess, batch_X, batch_y, initial_state=None):
        """Return the loss and the final state, after one update."""
        input_feed = {self.X: batch_X, self.y: batch_y}
        if initial_state is not None:
            input_feed[self.initial_state] = initial_state
        output_feed = [
            self.predictions, self.total_loss, self.final_state, self.train_step
        ]
        outputs = sess.run(output_feed, input_feed)
        return outputs[1], outputs[2]

    def sample(self, FLAGS):
        state = tf.zeros([1, FLAGS.NUM_HIDDEN_UNITS])
        predictions = []
        for char in FLAGS.START_TOKEN:
            idx_one_hot = tf.one_hot(FLAGS.char_to_idx[char], FLAGS.NUM_CLASSES)
            rnn_input = tf.reshape(idx_one_hot, [1, FLAGS.NUM_CLASSES])
            state = self.rnn_cell(FLAGS, rnn_input, state)
        logit = self.rnn_logits(FLAGS, state)
        prediction = tf.argmax(tf.nn.softmax(logit), 1)[0].eval()
        predictions.append(prediction)
        for _ in range(FLAGS.PREDICTION_LENGTH - 1):
            idx_one_hot = tf.one_hot(prediction, FLAGS.NUM_CLASSES)
            rnn_input = tf.reshape(idx_one_hot, [1, FLAGS.NUM_CLASSES])
            state = self.rnn_cell(FLAGS, rnn_input, state)
            prediction = draw(FLAGS, self.rnn_logits(FLAGS, state))
            predictions.append(prediction)
        return predictions


# --- V. TF RNN Library Implementation -------------------------------------------------
class SectionV:
    def __init__(self, FLAGS):
        self.input_data = tf.placeholder(tf.int32, [None, None])
        self.targets = tf.placeholder(tf.int32, [None, None])

        self.stacked_cell = self.rnn_cell(FLAGS)
        self.initial_state = self.stacked_cell.zero_state(FLAGS.NUM_BATCHES, tf.float32)

        with tf.variable_scope("rnn_inputs"):
            tf.get_variable("W_input", [FLAGS.NUM_CLASSES, FLAGS.NUM_HIDDEN_UNITS])
        inputs = self.rnn_inputs(FLAGS, self.input_data)
        outputs, state = tf.nn.dynamic_rnn(
            cell=self.stacked_cell, inputs=inputs, initial_state=self.initial_state
        )
        outputs = tf.reshape(tf.concat(outputs, 1), [-1, FLAGS.NUM_HIDDEN_UNITS])

        with tf.variable_scope("rnn_softmax"):
            tf.get_variable("W_softmax", [FLAGS.NUM_HIDDEN_UNITS, FLAGS.NUM_CLASSES])
            tf.get_variable("b_softmax", [FLAGS.NUM_CLASSES])
        self.logits = self.rnn_softmax(FLAGS, outputs)
        self.probabilities = tf.nn.softmax(self.logits)

        y_as_list = tf.reshape(self.targets, [-1])
        self.loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(
                logits=self.logits, labels=y_as_list
            )
        )
        self.final_state = state

        self.lr = tf.Variable(FLAGS.LEARNING_RATE, trainable=False)
        trainable_vars = tf.trainable_variables()
        grads, _ = tf.clip_by_global_norm(
            tf.gradients(self.loss, trainable_vars), FLAGS.GRAD_CLIP
        )
        optimizer = tf.train.AdamOptimizer(self.lr)
        self.train_optimizer = optimizer.apply_gradients(zip(grads, trainable_vars))

    def rnn_cell(self, FLAGS):
        rnn_cell_type = {
            "rnn": tf.nn.rnn_cell.BasicRNNCell,
            "gru": tf.nn.rnn_cell.GRUCell,
            "lstm": tf.nn.rnn_cell.BasicLSTMCell,
        }[FLAGS.MODEL]
        return tf.nn.rnn_cell.MultiRNNCell([
            tf.nn.rnn_cell.DropoutWrapper(
                rnn_cell_type(FLAGS.NUM_HIDDEN_UNITS),
                output_keep_prob=1 - FLAGS.DROPOUT,
            )
            for _ in range(FLAGS.NUM_LAYERS)
        ])

    def rnn_inputs(self, FLAGS, input_data):
        with tf.variable_scope("rnn_inputs", reuse=True):
            W_input = tf.get_variable("W_input")
        return tf.nn.embedding_lookup(W_input, input_data)

    def rnn_softmax(self, FLAGS, outputs):
        with tf.variable_scope("rnn_softmax", reuse=True):
            W_softmax = tf.get_variable("W_softmax")
            b_softmax = tf.get_variable("b_softmax")
        return tf.matmul(outputs, W_softmax) + b_softmax

    def step(self, sess, batch_X, batch_y, initial_state=None):
        """Return the loss and the final state, after one update."""
        input_feed = {self.input_data: batch_X, self.targets: batch_y}
        if initial_state is not None:
            input_feed[self.initial_state] = initial_state
        output_feed = [self.loss, self.final_state, self.logits, self.train_optimizer]
        outputs = sess.run(output_feed, input_feed)
        return outputs[0], outputs[1]

    def sample(self, FLAGS):
        state = self.stacked_cell.zero_state(1, tf.float32)
        predictions = []
        for char in FLAGS.START_TOKEN:
            rnn_input = self.rnn_inputs(FLAGS, [FLAGS.char_to_idx[char]])
            outputs, state = self.stacked_cell(rnn_input, state)
        for _ in range(FLAGS.PREDICTION_LENGTH):
            prediction = draw(FLAGS, self.rnn_softmax(FLAGS, outputs))
            predictions.append(prediction)
            rnn_input = self.rnn_inputs(FLAGS, [prediction])
            outputs, state = self.stacked_cell(rnn_input, state)
        return predictions
