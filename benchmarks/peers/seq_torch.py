"""The network of seq_classify.py in PyTorch: BATCH_SIZE NUM_BATCHES. Prints speed."""
import sys
import time

import torch

batch_size, num_batches = int(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(1)
x_train, y_train = torch.rand(10000, 28, 28), torch.randint(10, (10000,))
gru = torch.nn.GRU(28, 200, 3, batch_first=True, dropout=0.5)
dropout, softmax_layer = torch.nn.Dropout(0.5), torch.nn.Linear(200, 10)
weights = [*gru.parameters(), *softmax_layer.parameters()]
optimizer = torch.optim.RMSprop(weights, lr=0.003)

for _ in range(2):  # the first epoch warms up
    start = time.perf_counter()
    for _ in range(num_batches):
        chosen = torch.randint(10000, (batch_size,))
        optimizer.zero_grad()
        output, _ = gru(x_train[chosen])
        logit = softmax_layer(dropout(output[:, -1]))
        loss = torch.nn.functional.cross_entropy(logit, y_train[chosen])
        loss.backward()
        optimizer.step()
        loss.item()
    print(f"{batch_size * num_batches / (time.perf_counter() - start):.0f} examples/s")
