"""A loss of this package in Hugging Face's Trainer: handwritten digits, made long-tailed."""

import tempfile

import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, set_seed

import lt_core as lt


class Classifier(nn.Module):
    """Returns a mapping with `loss` and `logits`, which is all that the Trainer asks of a model."""

    def __init__(self, criterion: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.LazyLinear(64), nn.ReLU(), nn.Linear(64, 10))
        self.criterion = criterion

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.model(pixel_values)
        return {"loss": self.criterion(logits, labels), "logits": logits}


class Digits(Dataset):
    def __init__(self, images: torch.Tensor, targets: torch.Tensor) -> None:
        self.images, self.targets = images[:, :1].float() / 255, targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": self.images[index], "labels": self.targets[index]}


set_seed(0)
data = lt.data.digits_lt()
train, test = Digits(data.train_images, data.train_targets), Digits(data.test_images, data.test_targets)
model = Classifier(lt.losses.BalancedSoftmaxLoss(data.class_counts))
model.model(train.images[:1])  # the first layer takes its size from an image
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder, num_train_epochs=20, per_device_train_batch_size=32, learning_rate=0.01, use_cpu=True,
        report_to="none", save_strategy="no", logging_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(model, arguments, train_dataset=train)
    trainer.train()
    scores = torch.as_tensor(trainer.predict(test).predictions)  # balanced: the scores are used as they are
print(lt.metrics.shot_accuracy(scores.argmax(1), data.test_targets, data.class_counts))
