"""A loss of this package in a training loop of your own: handwritten digits, made long-tailed."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import lt_core as lt

torch.manual_seed(0)
x = torch.tensor(load_digits().data, dtype=torch.float32) / 16
y = torch.tensor(load_digits().target)
train, test = torch.arange(len(y)) < 1000, torch.arange(len(y)) >= 1000
counts = [max(1, 96 // 2**c) for c in range(10)]  # 96, 48, 24, 12, 6, 3, 1, 1, 1, 1
keep = torch.cat([(train & (y == c)).nonzero()[:n, 0] for c, n in enumerate(counts)])
x_train, y_train = x[keep], y[keep]

criterion = lt.losses.LogitAdjustedLoss(counts)  # a list, an array, a tensor or a mapping from the label
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for _ in range(60):  # epochs
    for batch in torch.randperm(len(y_train)).split(32):
        loss = criterion(model(x_train[batch]), y_train[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

predictions = model(x[test]).argmax(1)  # the test set is nearly balanced, so the scores are used as they are
print(lt.metrics.shot_accuracy(predictions, y[test], counts, many=20, few=5))
