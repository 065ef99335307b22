"""Fits scikit-learn's diabetes data with a small MLP: inputs and targets standardised, Adam, validation each epoch."""

import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from client_hook import watch


def main(epochs: int = 60) -> None:
    torch.manual_seed(0)
    data = load_diabetes()
    inputs = torch.tensor(data.data, dtype=torch.float32)
    targets = torch.tensor(data.target, dtype=torch.float32).unsqueeze(1)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    targets = (targets - targets.mean()) / targets.std()
    loader = DataLoader(TensorDataset(inputs[:350], targets[:350]), batch_size=32, shuffle=True)

    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with watch(model, optimizer, project="examples", name="diabetes regression", config={"epochs": epochs}) as monitor:
        for _ in range(epochs):
            for batch, wanted in loader:
                optimizer.zero_grad()
                loss = F.mse_loss(model(batch), wanted)
                loss.backward()
                optimizer.step()
                monitor.step(loss)
            with torch.no_grad():
                predicted = model(inputs[350:])
                monitor.validation(F.mse_loss(predicted, targets[350:]), mae=F.l1_loss(predicted, targets[350:]))


if __name__ == "__main__":
    main()
