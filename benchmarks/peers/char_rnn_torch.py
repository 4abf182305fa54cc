"""The network of char_rnn.py in PyTorch: FILE MODEL. Prints characters/s."""
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

file, model = sys.argv[1:]
text = Path(file).read_text(encoding="utf-8")
vocabulary, ids = np.unique(list(text), return_inverse=True)
ids = torch.from_numpy(ids[: len(ids) * 9 // 10].astype(np.int64))
row_length = (len(ids) - 1) // 50 // 50 * 50
X = ids[: 50 * row_length].reshape(50, row_length)
y = ids[1 : 50 * row_length + 1].reshape(50, row_length)

torch.set_num_threads(2)
torch.manual_seed(1)
embedding = nn.Embedding(len(vocabulary), 128)
kind = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[model]
rnn = kind(128, 128, 2, batch_first=True)
head = nn.Linear(128, len(vocabulary))
parameters = [*embedding.parameters(), *rnn.parameters(), *head.parameters()]
optimizer = torch.optim.Adam(parameters, lr=0.002)
for _ in range(2):
    state, start = None, time.time()
    for i in range(0, row_length, 50):
        outputs, state = rnn(embedding(X[:, i : i + 50]), state)
        logits = head(outputs).reshape(-1, len(vocabulary))
        loss = nn.functional.cross_entropy(logits, y[:, i : i + 50].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        loss.item()  # char_rnn.py fetches it, too
        state = tuple(s.detach() for s in state) if model == "lstm" else state.detach()
print(f"training {X.nelement() / (time.time() - start):.0f} characters/s")

with torch.inference_mode():
    char, state, chars, start = ids[:1].reshape(1, 1), None, [], time.time()
    for _ in range(2000):
        outputs, state = rnn(embedding(char), state)
        char = torch.multinomial(torch.softmax(head(outputs[:, -1]), 1), 1)
        chars.append(char.item())
print(f"sampling {2000 / (time.time() - start):.0f} characters/s")
