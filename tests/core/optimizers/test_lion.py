"""Lion's step is the paper's."""

from __future__ import annotations

import torch

from core.optimizers.lion import Lion


def test_two_steps_by_hand() -> None:
    """Algorithm 2: w -= lr (sign(b1 m + (1 - b1) g) + wd w), m = b2 m + (1 - b2) g."""
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = Lion(betas=[0.9, 0.99], weight_decay=0.1).build([{"params": [weight], "lr": 0.01}])
    expected, memory = torch.tensor([1.0, -2.0]), torch.zeros(2)
    for gradient in (torch.tensor([3.0, -1.0]), torch.tensor([-0.01, 5.0])):
        weight.grad = gradient.clone()
        optimizer.step()
        expected = expected - 0.01 * ((0.9 * memory + 0.1 * gradient).sign() + 0.1 * expected)
        memory = 0.99 * memory + 0.01 * gradient
    torch.testing.assert_close(weight.detach(), expected)


def test_each_group_has_its_own_rate() -> None:
    slow, fast = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    for weight in (slow, fast):
        weight.grad = torch.ones(2)
    Lion().build([{"params": [slow], "lr": 0.01}, {"params": [fast], "lr": 0.1}]).step()
    torch.testing.assert_close(slow.detach(), torch.full((2,), -0.01))
    torch.testing.assert_close(fast.detach(), torch.full((2,), -0.1))
