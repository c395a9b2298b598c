"""Published files, drawn by name, and a server of files on loopback."""

import dataclasses
import hashlib
import http.server
import json
import re
import threading

import numpy as np
import pytest

from keras_fpn.checkpoints import conversion, downloading, published_cache
from keras_fpn.checkpoints.files import write_safetensors
from keras_fpn.checkpoints.published_files import FILES
from keras_fpn.console.errors import UserError
from tests.checkpoints.layouts import WIDTHS, unfolded


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        server.asked.append((self.path, int(wanted[1]) if wanted else None))
        if server.codes:
            return self.send_error(server.codes.pop(0))
        begin = int(wanted[1]) if wanted and server.ranges else 5 if server.unasked else 0
        if begin and begin >= len(server.content):
            return self.send_error(416)
        shown = begin + server.shift if begin else 0
        self.send_response(206 if begin else 200)
        self.send_header("Content-Type", server.type)
        if begin:
            size = len(server.content)
            self.send_header("Content-Range", f"bytes {shown}-{size - 1}/{size}")
        self.send_header("Content-Length", str(len(server.content) - shown))
        self.end_headers()
        server.hold.wait(20)
        rest = server.content[shown:]
        self.wfile.write(rest[: server.cuts.pop(0)] if server.cuts else rest)

    def log_message(self, *_):
        pass


@pytest.fixture
def file_server(monkeypatch):
    """A server that gives `content` under every path; pauses between attempts are short.

    Its attributes: `url` without a path; `type`; `ranges`, whether it gives a part that is asked for, and `shift`, how
    many bytes further on it then begins; `unasked`, whether it gives a part in any case; `codes`, errors that it
    answers first; `cuts`, after how many bytes it first breaks off; `hold`, an event without which no content comes;
    `asked`, `[(path, first byte or None)]` so far.
    """
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    made.content, made.type, made.ranges, made.shift = b"", "application/octet-stream", True, 0
    made.unasked = False
    made.codes, made.cuts, made.asked, made.hold = [], [], [], threading.Event()
    made.hold.set()
    made.url = f"http://127.0.0.1:{made.server_port}"
    monkeypatch.setattr(downloading, "PAUSES", (0.01, 0.01))
    monkeypatch.setenv("no_proxy", "*")
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.hold.set()
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def publish(file_server, monkeypatch, tmp_path):
    """`publish(name, content)`: the server gives it as the published file of that name; returns the `PublishedFile`.

    The folder of published files is `tmp_path / "home" / "weights"`.
    """
    monkeypatch.setenv(published_cache.HOME, str(tmp_path / "home"))
    monkeypatch.setenv(published_cache.MIRROR, file_server.url)
    monkeypatch.delenv(published_cache.OFFLINE, raising=False)

    def publish(name, content):
        file_server.content = content
        digest = FILES[name].digest
        digits = hashlib.new(digest.algorithm, content).hexdigest()[: len(digest.digits)]
        file = dataclasses.replace(FILES[name], digest=dataclasses.replace(digest, digits=digits))
        monkeypatch.setitem(FILES, name, file)
        return file

    return publish


@pytest.fixture(scope="module")
def state_dict(request, draws):
    """`state_dict("torchvision/fasterrcnn_resnet50_fpn", narrow=True)`: its tensors, drawn by name."""
    tables = json.loads((request.config.rootpath / "tests" / "golden" / "state_dicts.json").read_text())

    def draw(name, narrow=True):
        tensors = {}
        for module, stored in tables[name]:
            for tensor, shape in unfolded(stored):
                key = f"{module}.{tensor}" if module else tensor
                is_body = "mobilenet" in name and ".body." in key
                if narrow and not is_body:
                    shape = [size // 8 if size in WIDTHS else size for size in shape]
                counter = np.zeros((), np.int64)
                tensors[key] = counter if tensor == "num_batches_tracked" else draws.weight(key, tuple(shape))
        return tensors

    return draw


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """`write(tensors, "name.safetensors")` -> the file's path."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def write(tensors, name="checkpoint.safetensors", metadata=None):
        write_safetensors(folder / name, tensors, metadata or {})
        return folder / name

    return write


@pytest.fixture
def refused(write):
    """`refused(tensors, ...)`: the message of the refusal, one line that begins with the file's name."""

    def refuse(tensors, name="checkpoint.safetensors", **arguments):
        path = write(tensors, name)
        with pytest.raises(UserError) as error:
            conversion.convert_checkpoint(path, **arguments)
        message = str(error.value)
        assert message.startswith(f"{path}: ") and "\n" not in message
        return message.removeprefix(f"{path}: ")

    return refuse
