"""Checkpoint files as each source publishes them."""

import pickle

import catalogue
import torch


def write(model, state, path):
    """Write a state dict of torch tensors in the model's own format, under its published names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    if model.suffix == ".pkl":
        arrays = {name: tensor.numpy() for name, tensor in state.items()}
        with partial.open("wb") as file:
            pickle.dump({"model": arrays, "__author__": "Detectron2 Model Zoo"}, file)
    elif model.source == "detectron2":
        torch.save({"model": dict(state), "iteration": 89999}, partial)
    else:
        names = catalogue.old_name if model.old_names else str
        torch.save({names(name): tensor for name, tensor in state.items()}, partial)
    partial.replace(path)
