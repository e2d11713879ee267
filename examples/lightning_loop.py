"""A loss of this package in PyTorch Lightning: handwritten digits, made long-tailed."""

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lt_core as lt


class Classifier(L.LightningModule):
    def __init__(self, criterion: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.LazyLinear(64), nn.ReLU(), nn.Linear(64, 10))
        self.criterion = criterion  # a module: what it accumulates (GALA) moves with the model and is saved with it

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        x, y = batch
        return self.criterion(self(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


L.seed_everything(0, verbose=False)
data = lt.data.digits_lt()
x_train, x_test = (images[:, :1].float() / 255 for images in (data.train_images, data.test_images))
classifier = Classifier(lt.losses.BalancedSoftmaxLoss(data.class_counts))
classifier(x_train[:1])  # the first layer takes its size from an image
trainer = L.Trainer(
    max_epochs=20, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False,
)  # fmt: skip
trainer.fit(classifier, DataLoader(TensorDataset(x_train, data.train_targets), batch_size=32, shuffle=True))

with torch.no_grad():  # the test set is balanced, so the scores are used as they are
    predictions = classifier.eval()(x_test).argmax(1)
print(lt.metrics.shot_accuracy(predictions, data.test_targets, data.class_counts))
