"""Trajectories of torch.optim.SGD and of its schedules: optimizers.npz.

Made with torch 2.14.1 on a CPU; numpy seed 24.
Run: python tests/golden/make_optimizers.py
"""

import pathlib

import numpy as np
import torch

STEPS = 24


def trajectory(start, gradients, rates, weight_decay, clip=None, nesterov=False):
    parameters = [torch.nn.Parameter(torch.tensor(value)) for value in start]
    optimizer = torch.optim.SGD(
        parameters, lr=rates[0], momentum=0.9, weight_decay=weight_decay, nesterov=nesterov
    )
    path = []
    for step, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = float(rate)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.tensor(gradient[step])
        if clip:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        path.append(torch.cat([parameter.detach().flatten() for parameter in parameters]).numpy().copy())
    return np.array(path)


def schedule(base, warmup_steps, warmup_factor, milestones, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, warmup_factor, total_iters=warmup_steps)
    drops = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.1)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        warmup.step()
        drops.step()
    return np.array(rates)


def main():
    rng = np.random.default_rng(24)
    start = [rng.normal(0, 1, (2, 3)).astype(np.float32), rng.normal(0, 1, (4,)).astype(np.float32)]
    gradients = [rng.normal(0, 1, (STEPS, *value.shape)).astype(np.float32) for value in start]
    gradients[1][10:13] = 0.0
    rates = np.concatenate([np.linspace(0.01, 0.2, 10), np.full(7, 0.2), np.full(7, 0.02)]).astype(np.float32)
    kept = {"made_with": f"torch {torch.__version__}", "rates": rates}
    kept.update(
        {"start_0": start[0], "start_1": start[1], "gradient_0": gradients[0], "gradient_1": gradients[1]}
    )
    kept["path"] = trajectory(start, gradients, rates, 1e-2)
    kept["path_without_decay"] = trajectory(start, gradients, rates, 0.0)
    kept["path_clipped"] = trajectory(start, gradients, rates, 1e-2, clip=1.5)
    kept["schedule"] = schedule(
        0.02, 10, 1e-3, [20, 26], 30
    )  # warm-up 10 steps from 1/1000, drops at 20 and 26
    np.savez_compressed(pathlib.Path(__file__).with_name("optimizers.npz"), **kept)


if __name__ == "__main__":
    main()
