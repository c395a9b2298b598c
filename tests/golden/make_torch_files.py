"""Small checkpoint files as torch, numpy and safetensors write them, and what is in them: torch_files/.

Made with torch 2.14.1, numpy 2.4.6, safetensors 0.8.0 on a CPU. Values are counted or set by hand, none is drawn.
expected.json: {file: {tensor: {"dtype", "shape", "values"}}}, by torch's own reading of the file where it can read it.
Run: python tests/golden/make_torch_files.py
"""

import collections
import json
import pathlib
import pickle
import struct

import numpy as np
import torch
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).with_name("torch_files")


def counted(*shape, dtype=torch.float32):
    """1, 2, 3, ... eighths: exact in every type of float."""
    count = int(np.prod(shape))
    return (torch.arange(1, count + 1) / 8).to(dtype).reshape(shape)


def state_dict():
    """One of everything that a state dict holds: weights, buffers, a 0-d counter, an empty tensor, a flag."""
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    with torch.no_grad():
        for index, parameter in enumerate(network.parameters()):
            parameter.copy_(counted(*parameter.shape) - index)
    tensors = network.state_dict()
    tensors["empty"] = torch.zeros(0, 4)
    tensors["mask"] = torch.tensor([True, False, True])
    tensors["steps"] = torch.tensor(7, dtype=torch.int32)
    return tensors


def views():
    """Several tensors in one storage: offsets, a transposition, a stride of two, one tensor twice."""
    whole = counted(4, 6)
    return {
        "whole": whole, "row": whole[2], "corner": whole[1:3, 2:5], "transposed": whole.t(),
        "even": whole.reshape(-1)[::2], "again": whole, "permuted": counted(2, 3, 4).permute(2, 0, 1),
    }  # fmt: skip


def training_state(tensors):
    """File of a training run: the model among much that is no tensor, and an optimizer's tensors."""
    weight = torch.nn.Parameter(counted(3))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    weight.sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[3, 5])  # milestones are a Counter
    return {
        "model": tensors,
        "optimizer": optimizer.state_dict(),
        "scheduler": schedule.state_dict(),
        "iteration": 269999,
        "devices": [torch.device("cpu"), torch.Size([2]), torch.float16, collections.defaultdict(dict), {1, 2}],
    }


def detectron2_pickle():
    """numpy arrays in a pickle of protocol 2, as the model zoo's files are."""
    return {
        "model": {
            "backbone.bottom_up.stem.conv1.weight": counted(2, 1, 2, 2).numpy(),
            "proposal_generator.anchor_generator.cell_anchors.0": counted(1, 4, dtype=torch.float64).numpy(),
            "order": np.asfortranarray(counted(2, 3).numpy()),
            "count": np.int64(3),
            "big_endian": counted(3).numpy().astype(">f4"),
        },
        "__author__": "the example",
        "matching_heuristics": True,
    }


def python_2_pickle():
    """The same kind of file of a Python 2 process, whose bytes are `str`: instruction by instruction."""
    raw = struct.pack("<3f", 0.5, -1.5, 200.25)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01bt"
        + b"R(K\x01K\x03\x85cnumpy\ndtype\n(U\x02f4K\x00K\x01tR"
        + b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U"
        + bytes([len(raw)]) + raw + b"tb"
    )  # fmt: skip
    return b"\x80\x02}(U\x05model}U\x06weight" + array + b"sU\x0a__author__U\x02meu."


def files():
    """`{file name: (how it is written, what is written)}`."""
    plain, nested = state_dict(), training_state(state_dict())
    types = {
        "half": counted(5, dtype=torch.float16), "bfloat16": counted(5, dtype=torch.bfloat16),
        "double": counted(5, dtype=torch.float64), "counts": torch.tensor([1, 2**40]),
        "small": torch.tensor([-3, 4], dtype=torch.int8), "bytes": torch.tensor([3, 255], dtype=torch.uint8),
    }  # fmt: skip
    parameters = collections.OrderedDict(
        (f"module.{name}", torch.nn.Parameter(counted(2, 2) + index)) for index, name in enumerate("ab")
    )
    legacy = {"_use_new_zipfile_serialization": False}
    return {
        "zip.pth": (plain, {}),
        "legacy.pth": (plain, legacy),
        "views.pth": (views(), {}),
        "views_legacy.pth": (views(), legacy),
        "types.pth": (types, {}),
        "types_legacy.pth": (types, legacy),
        "unsigned.pth": ({"a": torch.tensor([1, 65535], dtype=torch.uint16)}, {}),
        "parameters.pth": (parameters, {}),
        "nested.pth": (nested, {}),
        "nested_legacy.pth": (nested, legacy),
        "protocol_5.pth": ({"state_dict": plain}, {"pickle_protocol": 5}),
    }


def told(tensors):
    """Type, shape and values as JSON can say them, floats as the float32 that a reader is to give."""
    result = {}
    for name, value in tensors.items():
        array = value.detach().float().numpy() if value.is_floating_point() else value.detach().numpy()
        result[name] = {"dtype": str(array.dtype), "shape": list(array.shape), "values": array.ravel().tolist()}
    return result


def loaded(path):
    content = torch.load(path, weights_only=False)
    content = next((content[key] for key in ("model", "state_dict") if key in content), content)
    return {name.removeprefix("module."): value for name, value in content.items()}


def main():
    FOLDER.mkdir(exist_ok=True)
    expected = {}
    for name, (content, options) in files().items():
        torch.save(content, FOLDER / name, **options)
        expected[name] = told(loaded(FOLDER / name))
    zoo = detectron2_pickle()
    for protocol in (2, 5):
        (FOLDER / f"detectron2_{protocol}.pkl").write_bytes(pickle.dumps(zoo, protocol))
        expected[f"detectron2_{protocol}.pkl"] = told(
            {name: torch.tensor(np.array(value, value.dtype.newbyteorder("="))) for name, value in zoo["model"].items()}
        )
    (FOLDER / "python_2.pkl").write_bytes(python_2_pickle())
    expected["python_2.pkl"] = told(
        {"weight": torch.tensor(pickle.loads(python_2_pickle(), encoding="latin1")["model"]["weight"])}
    )
    tensors = {"weight": counted(2, 3, dtype=torch.bfloat16), "scale": torch.tensor(1.5, dtype=torch.float16)}
    save_file(tensors, FOLDER / "bfloat16.safetensors", metadata={"format": "pt", "made by": "hand"})
    expected["bfloat16.safetensors"] = told(tensors)
    torch.jit.save(torch.jit.script(torch.nn.Identity()), FOLDER / "script.pt")
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
