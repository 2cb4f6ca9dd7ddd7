import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedray.client.optimizers import Adam, Sgd

CASES = [
    (Sgd(lr=0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
    (Sgd(lr=0.1, weight_decay=0.01), lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.01)),
    (Sgd(lr=0.05, momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
    (
        Sgd(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
    ),
    (Adam(lr=0.01), lambda p: torch.optim.Adam(p, lr=0.01)),
    (
        Adam(lr=0.01, beta1=0.8, beta2=0.95, eps=1e-4, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1),
    ),
    (
        Adam(lr=0.01, weight_decay=0.1, decoupled=True),
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    ),
]
IDS = ["sgd", "sgd-decay", "momentum", "nesterov", "adam", "adam-decay", "adamw"]


def gradient(weights: torch.Tensor, step: int) -> torch.Tensor:
    """Of a bumpy function, so that a small difference would grow."""
    return torch.sin(3 * weights) + 0.1 * weights + 0.01 * step


@pytest.mark.parametrize(("ours", "theirs"), CASES, ids=IDS)
def test_equals_torch_bitwise_over_many_steps(ours, theirs):
    torch.manual_seed(0)
    weights = torch.randn(103)
    parameter = torch.nn.Parameter(weights.clone())
    state, optimizer = ours.start(weights), theirs([parameter])
    for step in range(200):
        ours.step(weights, gradient(weights, step), state, ours.lr)
        parameter.grad = gradient(parameter.detach(), step)
        optimizer.step()
    assert torch.equal(weights, parameter.detach())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, len(CASES) - 1), st.integers(1, 7), st.integers(1, 70))
def test_stack_of_clients_equals_one_after_another_bitwise(case: int, num_clients: int, num_parameters: int):
    ours, _ = CASES[case]
    stack = torch.randn(num_clients, num_parameters, generator=torch.Generator().manual_seed(1))
    rows = [row.clone() for row in stack]
    stack_state, row_states = ours.start(stack), [ours.start(row) for row in rows]
    for step in range(10):
        ours.step(stack, gradient(stack, step), stack_state, 0.05)
        for row, state in zip(rows, row_states, strict=True):
            ours.step(row, gradient(row, step), state, 0.05)
    assert torch.equal(stack, torch.stack(rows))


def test_learning_rate_of_the_round_is_what_counts():
    weights, grads = torch.ones(3), torch.ones(3)
    Sgd(lr=99).step(weights, grads, {}, 0.25)
    assert weights.tolist() == [0.75] * 3


def test_state_is_not_kept_between_starts():
    adam, weights = Adam(), torch.ones(3)
    first = adam.start(weights)
    adam.step(weights, torch.ones(3), first, 0.1)
    again = adam.start(weights)
    assert again["mean"].tolist() == [0.0] * 3
    assert float(again["steps"]) == 0
