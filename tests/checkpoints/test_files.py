"""Checkpoint files: the right numbers from real ones, one line for broken ones, and nothing run for hostile ones.

golden/torch_files/ was written by torch, numpy and safetensors; expected.json is torch's own reading of it.
"""

import copyreg
import errno
import io
import json
import os
import pathlib
import pickle
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_fpn.checkpoints.files import read_checkpoint, write_safetensors
from keras_fpn.console.errors import UserError

FOLDER = pathlib.Path(__file__).parents[1] / "golden" / "torch_files"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
PICKLED = b"\x80\x02%b."


def integer(value):
    """Instructions that put an int on the stack."""
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def tuple_of(*items):
    return b"(" + b"".join(items) + b"t"


def storage(count, kind=b"Float", key="0", part=b""):
    return tuple_of(text("storage"), b"ctorch\n%bStorage\n" % kind, text(key), text("cpu"), integer(count), part) + b"Q"


def tensor(stored, shape, strides, offset=0, rebuild=b"_rebuild_tensor_v2"):
    sizes = [tuple_of(*map(integer, sizes)) for sizes in (shape, strides)]
    return b"ctorch._utils\n%b\n" % rebuild + tuple_of(stored, integer(offset), *sizes, b"\x89", b"}") + b"R"


def state_dict(**entries):
    return PICKLED % (b"}(" + b"".join(text(name) + value for name, value in entries.items()) + b"u")


def torch_zip(pickled, storages=(), compression=zipfile.ZIP_STORED, order=b"little"):
    """A torch file of a pickle and raw storages."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", order)
        for key, raw in enumerate(storages):
            archive.writestr(f"archive/data/{key}", raw)
    return content.getvalue()


def torch_legacy(pickled, storages=()):
    """The same in the form before torch 1.6; the storages as (key, count, raw)."""
    heads = [PICKLED % integer(0x1950A86A20F9469CFC6C), PICKLED % integer(1001), PICKLED % b"}", pickled]
    keys = PICKLED % (b"](" + b"".join(text(key) for key, _, _ in storages) + b"e")
    return b"".join([*heads, keys, *(struct.pack("<q", count) + raw for _, count, raw in storages)])


@pytest.fixture
def saved(tmp_path):
    """`saved(bytes, name)` -> the path of a file with that content."""

    def save(content, name="model.pth"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return save


def refusal(path):
    """The message of the UserError, which is one line with the file's name."""
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < 600
    return message.removeprefix(f"{path}: ")


# Real files


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_kind_of_file_gives_the_tensors_that_torch_reads(name):
    tensors = read_checkpoint(FOLDER / name).tensors
    assert set(tensors) == set(EXPECTED[name])
    for key, expected in EXPECTED[name].items():
        values = np.array(expected["values"], expected["dtype"]).reshape(expected["shape"])
        np.testing.assert_array_equal(tensors[key], values, strict=True)
        assert tensors[key].flags.c_contiguous and tensors[key].flags.writeable


def test_metadata_comes_along():
    assert read_checkpoint(FOLDER / "bfloat16.safetensors").metadata == {"format": "pt", "made by": "hand"}
    zoo = read_checkpoint(FOLDER / "detectron2_2.pkl").metadata
    assert zoo == {"__author__": "the example", "matching_heuristics": "True"}
    assert read_checkpoint(FOLDER / "nested.pth").metadata == {"iteration": "269999"}


def test_the_content_decides_and_not_the_suffix(saved):
    for name in ("zip.pth", "legacy.pth", "detectron2_2.pkl", "bfloat16.safetensors"):
        assert set(read_checkpoint(saved((FOLDER / name).read_bytes(), "weights.bin")).tensors) == set(EXPECTED[name])


def test_npz(tmp_path):
    arrays = {"half": np.float16([1, 2.5]), "order": np.asfortranarray([[1.0, 2, 3], [4, 5, 6]]), "count": np.int64(3)}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        tensors = read_checkpoint(tmp_path / "a.npz").tensors
        assert tensors["half"].dtype == tensors["order"].dtype == np.float32
        assert tensors["half"].tolist() == [1, 2.5] and tensors["order"].tolist() == [[1, 2, 3], [4, 5, 6]]
        assert tensors["count"].dtype == np.int64 and tensors["count"] == 3


def test_a_big_endian_machine_s_file(saved):
    pickled = state_dict(
        w=tensor(storage(2), (2,), (1,)), b=tensor(storage(2, b"BFloat16", "1"), (2,), (1,)),
        n=tensor(storage(1, b"Long", "2"), (), ()),
    )  # fmt: skip
    # 0x3f80 and 0xc010 are the upper halves of 1.0 and -2.25
    content = torch_zip(pickled, [struct.pack(">2f", 1.5, -3), b"\x3f\x80\xc0\x10", struct.pack(">q", 5)], order=b"big")
    tensors = read_checkpoint(saved(content)).tensors
    assert tensors["w"].tolist() == [1.5, -3] and tensors["b"].tolist() == [1, -2.25] and tensors["n"] == 5


def test_a_part_of_a_storage_and_the_oldest_rebuild_function(saved):
    """torch 0.4 could save a slice of a storage: elements 2, 3, 4 of six; the tensor begins at the second of them."""
    part = tuple_of(text("9"), integer(2), integer(3))
    pickled = state_dict(w=tensor(storage(6, part=part), (2,), (1,), 1, b"_rebuild_tensor"))
    content = torch_legacy(pickled, [("0", 6, struct.pack("<6f", *range(6)))])
    assert read_checkpoint(saved(content)).tensors["w"].tolist() == [3, 4]


def test_module_stays_where_not_all_names_have_it(saved):
    both = {"module.a": tensor(storage(1), (1,), (1,)), "head": tensor(storage(1), (1,), (1,))}
    assert list(read_checkpoint(saved(torch_zip(state_dict(**both), [b"\0" * 4]))).tensors) == ["module.a", "head"]


@pytest.mark.parametrize("wrapper", ("module.", "model."))
def test_what_a_wrapper_put_before_every_name_goes(saved, wrapper):
    both = {f"{wrapper}{name}": tensor(storage(1), (1,), (1,)) for name in ("a", "model.b")}
    assert list(read_checkpoint(saved(torch_zip(state_dict(**both), [b"\0" * 4]))).tensors) == ["a", "model.b"]


def test_memory_holds_the_weights_about_twice_at_most(saved):
    raw = np.ones(1_000_000, np.float32).tobytes()
    large = state_dict(w=tensor(storage(1_000_000), (1_000_000,), (1,)))
    for content in (
        torch_zip(large, [raw]),
        torch_legacy(large, [("0", 1_000_000, raw)]),
        pickle.dumps({"model": {str(i): np.ones(250_000, np.float32) for i in range(4)}}, 2),
    ):
        path = saved(content)
        del content
        tracemalloc.start()
        tensors = read_checkpoint(path).tensors
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sum(array.nbytes for array in tensors.values()) == 4_000_000
        assert peak < 2 * 4_000_000


# Writing


def test_written_and_read_again(tmp_path):
    """Read by the safetensors library; a transposed and a 0-d array are what a careless writer gets wrong."""
    path = tmp_path / "out.safetensors"
    tensors = {"t": np.arange(6, dtype=np.float32).reshape(2, 3).T, "n": np.array(7), "e": np.zeros((0, 2), np.float32)}
    write_safetensors(path, tensors, {"source": "test"})
    for read in (safetensors.numpy.load_file(path), read_checkpoint(path).tensors):
        for name, array in tensors.items():
            np.testing.assert_array_equal(read[name], array, strict=True)
    assert read_checkpoint(path).metadata == {"source": "test"}
    assert os.listdir(tmp_path) == ["out.safetensors"]


def test_a_write_that_fails_leaves_the_file_that_was(tmp_path, monkeypatch):
    path = tmp_path / "out.safetensors"
    path.write_bytes(b"before")

    def full(*_):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space left: '.*/out.safetensors'"):
        write_safetensors(path, {"w": np.zeros(3)}, {})
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["out.safetensors"]


# Mistakes


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>404</html>", "is a web page"),
        (b"<HTML><body>Sign in</body></HTML>", "is a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "error message of a web server"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 167502836\n", "git lfs pull"),
        (b"\x1f\x8b\x08\x00", "gunzip"),
        (b"weights", "no checkpoint of a known kind"),
        (PICKLED % integer(3), "no dict of tensors"),
        (state_dict(), "holds no tensors, only an empty dict"),
        (state_dict(epoch=integer(3), net=b"}"), "holds no tensors, only epoch, net"),
        (state_dict(model=b"}" + text("a") + integer(1) + b"s"), "holds no tensors, only a"),
        (torch_zip(state_dict(), compression=zipfile.ZIP_DEFLATED), "compressed, as torch never does"),
    ],
)
def test_what_is_no_checkpoint_is_told_in_a_line(content, told, saved):
    assert told in refusal(saved(content))


def test_missing_folder_script_and_keras_files(tmp_path):
    assert refusal(tmp_path / "none.pth").startswith("does not exist")
    assert refusal(tmp_path).startswith("is a folder")
    assert "TorchScript" in refusal(FOLDER / "script.pt")
    for member, told in (("model.weights.h5", "Keras model"), ("readme.txt", "zip archive without")):
        with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
            archive.writestr(member, "")
        assert told in refusal(tmp_path / "m.zip")


@pytest.mark.parametrize(
    ("kind", "raw"),
    [(b"Float", struct.pack("<f", np.nan)), (b"Double", struct.pack("<d", 1e39)), (b"BFloat16", b"\x80\x7f")],
)
def test_values_that_are_not_finite_are_named(kind, raw, saved):
    good, bad = tensor(storage(1, b"Byte", "1"), (1,), (1,)), tensor(storage(1, kind), (1,), (1,))
    message = refusal(saved(torch_zip(state_dict(fine=good, layer1=bad, layer2=bad), [raw, b"\1"])))
    assert "layer1, layer2;" in message and "fine" not in message


# Hostile files


class Hostile:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_in_a_file_is_run(protocol, saved, tmp_path):
    mark = tmp_path / "was_run"
    for function, arguments, named in (
        (os.system, (f"touch {mark}",), "posix.system"),
        (eval, (f"open({str(mark)!r}, 'w')",), ".eval"),
        (exec, (f"open({str(mark)!r}, 'w')",), ".exec"),
        (np.load, (str(mark),), "numpy.load"),
        (getattr, ("", "join"), ".getattr"),
    ):
        pickled = pickle.dumps({"model": {"w": Hostile(function, *arguments)}}, protocol)
        for content in (pickled, torch_zip(pickled), torch_legacy(pickled)):
            message = refusal(saved(content))
            assert named in message and "which is no tensor; nothing of it was run" in message
    assert not mark.exists()


@pytest.mark.parametrize(
    "name",
    [
        "torch._utils _rebuild_tensor_v2.__globals__", "torch._utils _rebuild_tensor_v2.__call__", "torch load",
        "torch._utils __builtins__", "torch FloatStorage.from_file", "torch.storage _load_from_bytes",
        "numpy dtype.type", "collections OrderedDict.fromkeys", "_codecs decode", "numpy.core.multiarray fromfile",
        "builtins type", "keras_fpn.checkpoints.pickles load", "torch.hub load\x1b[2J",
    ],
)  # fmt: skip
def test_what_only_resembles_a_known_global_is_refused(name, saved):
    module, attribute = name.split(" ")
    for find in (f"c{module}\n{attribute}\n".encode(), text(module) + text(attribute) + b"\x93"):
        message = refusal(saved(state_dict(w=find)))
        assert f"{module}.{attribute}".replace("\x1b", "?") in message


@pytest.mark.parametrize(
    ("instructions", "named"),
    [
        (b"(ios\nsystem\n", "INST"),
        (b"(ccollections\nOrderedDict\no", "OBJ"),
        (b"\x82\x01", "EXT1"),
        (b"\x97", "NEXT_BUFFER"),
        (b"Pkey\n", "PERSID"),
        (b"S'text'\n", "STRING"),
    ],
)
def test_instructions_that_no_tensor_file_needs_are_refused(instructions, named, saved):
    assert f"instruction {named}" in refusal(saved(state_dict(w=instructions)))


FOUR_BYTES = [struct.pack("<f", 1)]


@pytest.mark.parametrize(
    ("entry", "storages"),
    [
        (tensor(storage(1), (2,), (1,)), FOUR_BYTES),
        (tensor(storage(1), (1,), (1,), offset=1), FOUR_BYTES),
        (tensor(storage(1), (1,), (1,), offset=-1), FOUR_BYTES),
        (tensor(storage(1), (2**40,), (0,)), FOUR_BYTES),
        (tensor(storage(1), (2**31, 2**31), (0, 0)), FOUR_BYTES),
        (tensor(storage(1), (0, 2**47, 2**47), (1, 1, 1)), FOUR_BYTES),
        (tensor(storage(1), (1,), (-1,)), FOUR_BYTES),
        (tensor(storage(1), (1,) * 70, (1,) * 70), FOUR_BYTES),
        (tensor(storage(1), (1, 1), (1,)), FOUR_BYTES),
        (tensor(storage(2**60), (1,), (1,)), FOUR_BYTES),
        (tensor(storage(2**40), (1,), (1,)), FOUR_BYTES),
        (tensor(storage(2), (1,), (1,)), FOUR_BYTES),
        (tensor(storage(1, key="../../data.pkl"), (1,), (1,)), FOUR_BYTES),
        (tensor(storage(1, part=tuple_of(text("1"), integer(1), integer(1))), (1,), (1,)), FOUR_BYTES),
        (tensor(storage(1), (1,), (1,)), []),
        (tensor(b"N", (1,), (1,)), FOUR_BYTES),
        (tensor(text("storage"), (1,), (1,)), FOUR_BYTES),
        (storage(1) + b"0" + tensor(storage(1, b"Int"), (1,), (1,)), FOUR_BYTES),
    ],
)
def test_a_tensor_that_shows_more_than_the_file_holds_is_refused(entry, storages, saved):
    begun = time.monotonic()
    assert "damaged" in refusal(saved(torch_zip(state_dict(w=entry), storages)))
    assert time.monotonic() - begun < 2


def test_one_storage_shown_a_thousand_times_is_refused(saved):
    """A megabyte of halves as a thousand tensors would be two gigabytes."""
    many = {f"w{index}": tensor(storage(2**19, b"Half"), (2**19,), (1,)) for index in range(1000)}
    assert "as no checkpoint does" in refusal(saved(torch_zip(state_dict(**many), [b"\0" * 2**20])))


@pytest.mark.parametrize("count", [2, 2**40, 2**62, -1])
def test_a_legacy_storage_of_another_length_is_refused(count, saved):
    pickled = state_dict(w=tensor(storage(1), (1,), (1,)))
    assert "damaged" in refusal(saved(torch_legacy(pickled, [("0", count, FOUR_BYTES[0])])))


def numpy_array(shape, raw, code=b"U\x02f4"):
    """The instructions of a numpy array; `raw` is an instruction that puts its bytes on the stack."""
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
    dtype = b"cnumpy\ndtype\n(" + code + b"K\x00K\x01tR"
    return made + tuple_of(integer(1), tuple_of(*map(integer, shape)), dtype, b"\x89", raw) + b"b"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (numpy_array((1,), b"]K\x01a", b"U\x02O8"), "array of Python objects"),
        (numpy_array((1,), b"U\x04abcd", b"U\x02S4"), "array of type S4"),
        (numpy_array((2**40,), b"U\x04abcd"), "damaged"),
        (numpy_array((2**63, 2**63), b"U\x04abcd"), "damaged"),
        (numpy_array((-1,), b"U\x04abcd"), "damaged"),
        (numpy_array((1,), b"N"), "damaged"),
        (numpy_array((1,), b"c_codecs\nencode\n" + tuple_of(text("abcd"), text("rot13")) + b"R"), "damaged"),
    ],
)
def test_hostile_numpy_arrays_in_a_pickle(entry, told, saved):
    assert told in refusal(saved(state_dict(w=entry), "model.pkl"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (PICKLED % (b"B" + struct.pack("<I", 2**32 - 1)), "ends within a value"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**40), "ends within a value"),
        (b"\x80\x05\x96" + struct.pack("<Q", 2**62), "ends within a value"),
        (PICKLED % (b"Nr\xff\xff\xff\x7f"), "no dict"),  # a memo of two thousand million places
        (PICKLED % (b"N" + b"\x85" * 200_000), "no dict"),  # a tuple in a tuple in a tuple ...
        (PICKLED % (b"}N" + b"\x85" * 200_000 + b"Ns"), "no tensors"),  # ... as the key of a dict
        (torch_legacy(state_dict())[:-len(PICKLED % b"](e")] + PICKLED % (b"]N" + b"\x85" * 200_000 + b"a"), "damaged"),
        (PICKLED % (b"}" + (text("a") + b"}") * 200_000 + b"s" * 200_000), "no tensors"),
        (PICKLED % (b"(" * 200_000), "damaged"),
        (b"\x80\x04" + b"\x8f" * 1_000_001 + b".", "instructions"),  # empty sets: 216 bytes for one
        (PICKLED % (b"ccollections\nOrderedDict\n" + integer(1) + b"R"), "damaged"),
        (PICKLED % (text("os.system") + b"(tR"), "damaged"),
        (PICKLED % (b"ctorch\nFloatStorage\n)R"), "damaged"),
        (PICKLED % b"}}b", "no tensors"),
        (PICKLED % b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f", "damaged"),
    ],
)
def test_bombs_of_pickle_instructions(content, told, saved):
    path, begun = saved(content), time.monotonic()
    assert told in refusal(path)
    assert time.monotonic() - begun < 20


SYSTEM = b"cposix\nsystem\n"
# What pickles may call by a number of one, two and four bytes.
NUMBERS = {7: ("posix", "system"), 7777: ("os", "system"), 777777: ("subprocess", "getoutput")}
PROGRAMS = [
    # What would run a command; RUN stands for the command's text.
    SYSTEM + b"(RUNtR",
    SYSTEM + b"q\x00RUNq\x010h\x00h\x01\x85R",
    text("posix") + text("system") + b"\x93RUN\x85R",
    text("posix") + b"\x94" + text("system") + b"\x94h\x00h\x01\x93RUN\x85R",
    b"(RUNiposix\nsystem\n",
    b"(" + SYSTEM + b"RUNo",
    SYSTEM + b"RUN\x85\x81",
    SYSTEM + b"RUN\x85}\x92",
    b"\x82\x07RUN\x85R",
    b"\x83" + struct.pack("<H", 7777) + b"RUN\x85R",
    b"\x84" + struct.pack("<i", 777777) + b"RUN\x85R",
    b"\x84" + struct.pack("<i", -1),
    # Names of several parts, of none, and of what is no text.
    b"ccollections\nOrderedDict.__init__.__globals__\n",
    text("collections") + text("OrderedDict.__init__.__globals__") + b"\x93",
    b"ccollections.OrderedDict\n__class__\n",
    b"ckeras_fpn.checkpoints.pickles\nNumpyArray.build\n",
    b"c\n\n",
    b"c.\nsystem\n",
    b"NN\x93",
    text("numpy") + b"(" + text("dtype") + b"t\x93",
    b"cnumpy\n\xff\n",
    text("numpy") + b"X\x03\0\0\0\xed\xa0\x80\x93",
    # State set on, items put into, and calls of what a global stands for.
    b"cnumpy\ndtype\n}" + text("build") + b"Nsb",
    b"cnumpy\ndtype\nN}" + text("build") + b"Ns\x86b",
    b"ccollections\nOrderedDict\nN}" + text("__defaults__") + b"K\x01\x85s\x86b",
    b"ctorch\nfloat32\n(K\x03" + text(">") + b"NNNK\x00K\x00K\x00tb",
    b"cnumpy\ndtype\n" + text("f4") + b"K\x00K\x01\x87R(K\x03" + text("swapped") + b"tb",
    storage(1) + b"}" + text("count") + integer(2**60) + b"sb",
    b"cnumpy\ndtype\nNa",
    b"cnumpy\ndtype\nNNs",
    b"ctorch\nSize\n)RNa",
    *(
        called + b")" + call
        for called in (b"cnumpy\nndarray\n", b"ctorch\nfloat32\n", b"}", b"N", storage(1))
        for call in (b"R", b"\x81")
    ),
    *(
        b"c%b\n%bR" % (name, arguments)
        for arguments in (b")", b"N\x85", b"(" + b"N" * 40 + b"t", b"N", b"]", b"}")
        for name in (b"torch._utils\n_rebuild_tensor_v2", b"torch._utils\n_rebuild_tensor_v3", b"numpy\ndtype",
                     b"torch._utils\n_rebuild_parameter", b"_codecs\nencode", b"numpy.core.multiarray\nscalar",
                     b"numpy._core.numeric\n_frombuffer")
    ),
    # Persistent ids.
    *(pid + b"Q" for pid in (b"N", b"K\x01", text("storage"), b"]", b"}", b")", b"(" + b"N" * 300 + b"t")),
    tuple_of(text("storage"), text("FloatStorage"), text("0"), text("cpu"), integer(1)) + b"Q",
    tuple_of(text("storage"), b"ctorch\nfloat32\n", integer(0), text("cpu"), integer(1)) + b"Q",
    tuple_of(text("storage"), b"ctorch\nfloat32\n", text("0"), text("cpu"), b"\x88") + b"Q",
    tuple_of(b"ctorch\nfloat32\n", b"ctorch\nfloat32\n", text("0"), text("cpu"), integer(1)) + b"Q",
    storage(-1),
    *(storage(1, part=part) for part in (b"K\x01", b")", tuple_of(text("1"), b"NN"), tuple_of(text("1"), b"K\0M\2\0"))),
    # Lengths of what is not there, numbers of memos, and numbers of many digits.
    *(code + b"\xff\xff\xff\x7f" for code in (b"\x8b", b"T", b"B", b"X", b"\x94J")),
    *(code + b"\xff\xff\xff\xff" for code in (b"\x8b", b"T", b"B", b"X", b"\x8a", b"U", b"C", b"\x8c")),
    *(code + b"\0\0\0\0\0\1\0\0" for code in (b"\x8d", b"\x8e", b"\x96", b"\x95")),
    *(code + b"\xff" * 8 for code in (b"\x8d", b"\x8e", b"\x96", b"\x95")),
    b"Nr\xff\xff\xff\xff0",
    b"Np99999999999999999999\n",
    b"Np-1\n",
    b"h\xff",
    b"j\xff\xff\xff\xff",
    b"g1\n",
    b"I1" + b"0" * 9999 + b"\n",
    # Frames cut short and in each other, buffers out of band, a stack with too little on it, unknown protocols.
    b"\x95\x01",
    b"\x95\x09" + b"\0" * 7 + b"\x95\xff" + b"\0" * 7,
    *(b"\x97", b"N\x98", b"\x97\x98", b"0" * 9, b"1", b"e", b"u", b"(", b"(R", b"(b", b"\x90", b"\x91"),
    *(b"\x80\xff", b"\xff"),
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_that_lead_nowhere(program, saved, tmp_path):
    """As an entry, alone and cut short, in the three forms of a file; a good file reads as before afterwards."""
    mark = tmp_path / "was_run"
    program = program.replace(b"RUN", text(f"touch {mark}"))
    for number, called in NUMBERS.items():
        copyreg.add_extension(*called, number)
    try:
        for pickled in (state_dict(w=program), PICKLED % program, b"\x80\x02" + program):
            for content in (pickled, torch_zip(pickled, FOUR_BYTES), torch_legacy(pickled)):
                refusal(saved(content))
    finally:
        for number, called in NUMBERS.items():
            copyreg.remove_extension(*called, number)
    assert not mark.exists()
    for name in ("zip.pth", "detectron2_2.pkl"):
        assert set(read_checkpoint(FOLDER / name).tensors) == set(EXPECTED[name])


PAIRS = tuple_of(b"](NN\x86q\2" + b"h\2" * 100_000 + b"e")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        # Integers that share one hash, as the keys of a dict.
        (b"}(" + b"".join(integer(index * (2**61 - 1)) + b"N" for index in range(1, 200_000)) + b"u", "no tensors"),
        # A tuple of a tuple twice of a tuple twice ...: small to hold, endless to hash.
        (b"}N\x85" + b"q\x00h\x00\x86" * 100 + b"Ns", "no tensors"),
        (b"\x8f(N\x85" + b"q\x00h\x00\x86" * 100 + b"\x90", "no dict"),
        (b"(N\x85" + b"q\x00h\x00\x86" * 100 + b"\x91", "no dict"),
        # One long list, tuple or persistent id, handed over again and again.
        (b"ccollections\nOrderedDict\nq\0" + PAIRS + b"q\1R" + b"h\0h\1R0" * 100_000, "instructions"),
        (b"ctorch\nSize\nq\0(" + b"N" * 200_000 + b"tq\1R" + b"h\0h\1R0" * 100_000, "instructions"),
        (storage(1)[:-2] + b"N" * 200_000 + b"tq\x00Q" + b"h\x00Q0" * 100_000, "damaged"),
    ],
    ids=["one hash", "key", "set", "frozen set", "pairs", "arguments", "persistent id"],
)
def test_bombs_of_time(body, told, saved):
    path, begun = saved(PICKLED % body), time.monotonic()
    assert told in refusal(path)
    assert time.monotonic() - begun < 20


def test_state_set_on_a_dict_does_not_replace_its_methods(saved):
    """`OrderedDict` takes attributes; "items" or "get" among them would be called by the reader."""
    weights = text("w") + tensor(storage(1), (1,), (1,))
    ordered = b"ccollections\nOrderedDict\n)R(" + weights + b"u}(" + text("items") + b"N" + text("get") + b"Nub"
    tensors = read_checkpoint(saved(torch_zip(PICKLED % ordered, FOUR_BYTES))).tensors
    assert {name: array.tolist() for name, array in tensors.items()} == {"w": [1]}


def npy_header(shape, kind="<f4"):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return np.lib.format.magic(1, 0) + struct.pack("<H", len(header)) + header


@pytest.mark.parametrize("declared", [2**29, 16])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(declared, tmp_path):
    """Half a gigabyte of zeros in half a megabyte, told honestly and told to be sixteen bytes."""
    path = tmp_path / "bomb.npz"
    header = npy_header((declared,), "|u1")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("w.npy", "w") as member:
        member.write(header)
        for _ in range(2**29 // 2**22):
            member.write(bytes(2**22))
    content = path.read_bytes()
    size_at = content.index(b"PK\x01\x02") + 24  # of the uncompressed size in the archive's directory
    path.write_bytes(content[:size_at] + struct.pack("<I", len(header) + declared) + content[size_at + 4 :])
    tracemalloc.start()
    assert ("as no checkpoint does" if declared > 16 else "damaged") in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(3,)", "(-1,)", "(True,)", "'a'", "__import__('os')"])
def test_an_npy_header_that_lies(shape, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("w.npy", npy_header(shape) + b"\0" * 8)
    assert "damaged" in refusal(tmp_path / "a.npz")


def test_a_name_that_a_terminal_would_obey_is_refused(tmp_path):
    write_safetensors(tmp_path / "f.safetensors", {"conv\x1b[2J": np.zeros(3, np.float32)}, {})
    with pytest.raises(UserError, match=r"holds a tensor of the name conv\?\[2J, which is no text"):
        read_checkpoint(tmp_path / "f.safetensors")


def test_objects_in_an_npz_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", w=np.array([Hostile(os.system, "exit")], object))
    assert "array of Python objects" in refusal(tmp_path / "a.npz")


def test_zip_members_that_overlap_compress_or_differ_from_their_checksum(saved):
    content = torch_zip(state_dict(w=tensor(storage(4), (4,), (1,))), [b"weigh" + b"t" * 11])
    assert "damaged at archive/data/0" in refusal(saved(content.replace(b"weight", b"wedged")))
    directory = content.index(b"PK\x01\x02")
    # the offset of the second member's header, 42 bytes into its entry, set to the first one's
    second = content.index(b"PK\x01\x02", directory + 1)
    assert "overlap" in refusal(saved(content[: second + 42] + b"\0" * 4 + content[second + 46 :]))
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(saved(content), "a") as archive:
        archive.writestr("archive/data.pkl", state_dict())
        path = archive.filename
    assert "two members of one name" in refusal(path)


@pytest.mark.parametrize(
    "header",
    [
        b'{"w":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4000000]}}',
        b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
        b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}',
        b'{"w":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,4]}}',
        b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"v":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b'{"w":' + b"[" * 100_000,
    ],
)
def test_a_safetensors_header_that_lies(header, saved):
    told = refusal(saved(struct.pack("<Q", len(header)) + header + b"\0" * 4, "model.safetensors"))
    assert "damaged" in told
    assert "damaged" in refusal(saved(struct.pack("<Q", 2**50) + header + b"\0" * 4, "model.safetensors"))


SMALL = ["unsigned.pth", "views_legacy.pth", "detectron2_2.pkl", "python_2.pkl", "bfloat16.safetensors"]


@pytest.mark.parametrize("name", SMALL)
def test_a_file_cut_short_anywhere_is_told_in_a_line(name, saved):
    content = (FOLDER / name).read_bytes()
    for length in range(len(content)):
        refusal(saved(content[:length], name))


def arrays_or_refusal(path):
    """All that a broken file may lead to."""
    try:
        tensors = read_checkpoint(path).tensors
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert tensors and all(isinstance(name, str) and type(array) is np.ndarray for name, array in tensors.items())


@pytest.mark.parametrize("name", [*SMALL, "zip.pth", "nested_legacy.pth", "detectron2_5.pkl"])
@settings(max_examples=150)
@given(data=st.data())
def test_changed_bytes_lead_to_arrays_or_a_line(name, data, tmp_path_factory):
    content = bytearray((FOLDER / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    arrays_or_refusal(path)


@settings(max_examples=300)
@given(
    parts=st.lists(
        st.one_of(
            st.sampled_from([*b"()}]0NRbsuaeQt."]).map(lambda byte: bytes([byte])),
            st.sampled_from([b"ccollections\nOrderedDict\n", b"cnumpy\ndtype\n", b"q\x00", b"h\x00", b"\x85", b"\x86"]),
            st.sampled_from([storage(1), tensor(storage(1), (1,), (1,)), numpy_array((1,), b"U\x04abcd"), text("w")]),
            st.integers(-(2**70), 2**70).map(integer),
            st.binary(max_size=3),
        ),
        max_size=30,
    )
)
def test_any_program_leads_to_arrays_or_a_line(parts, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "program.pth"
    path.write_bytes(torch_zip(PICKLED % b"".join(parts), FOUR_BYTES))
    arrays_or_refusal(path)
