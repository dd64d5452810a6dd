"""A tracking server that is started for a bench, and what is sent to it. Bodies of requests are made before the clock
starts, by the same code for every server."""

import http.client
import json
import os
import random
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from struct import pack, unpack

POINTS = 1000


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def ready(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/")
    return connection.getresponse().status == 200


def memory(pid):
    """Megabytes of a process and all its children."""
    pids, kilobytes = [pid], 0
    while pids:
        one = pids.pop()
        try:
            for line in Path(f"/proc/{one}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    kilobytes += int(line.split()[1])
            for task in Path(f"/proc/{one}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            pass
    return kilobytes / 1024


class Server:
    """`program` starts it; {port} and {folder} in it are filled in."""

    def __init__(self, program):
        self.program = program

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.port = free_port()
        filled = [word.format(port=self.port, folder=self.folder.name) for word in self.program]
        begun = time.perf_counter()
        self.process = subprocess.Popen(filled, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        while True:
            try:
                if ready(self.port):
                    break
            except OSError:
                time.sleep(0.005)
        self.first_page_s = time.perf_counter() - begun
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
        self.process.wait()
        self.folder.cleanup()

    def post(self, path, body, connection=None):
        connection = connection or self.connect()
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", f"/api/2.0/mlflow/{path}", data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {text[:200]}")
        return json.loads(text)

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port)

    def read(self, path, connection):
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200, f"{path}: {response.status}"
        return response.read()

    def get(self, path):
        return json.loads(self.read(path, self.connect()))

    def bytes(self):
        return sum(file.stat().st_size for file in Path(self.folder.name).rglob("*") if file.is_file())

    def run(self):
        return self.post("runs/create", {"experiment_id": "0", "start_time": 1})["run"]["info"]["run_id"]


def bodies(run, count, first=0):
    """Batches of a loss that falls with noise, as float32 as frameworks have it, a point each 17 to 21 milliseconds."""
    single = lambda value: unpack("f", pack("f", value))[0]
    made = []
    for batch in range(count):
        begin = first + batch * POINTS
        points = [
            {
                "key": "loss",
                "value": single(2 / (1 + step / 5000) + random.gauss(0, 0.05)),
                "timestamp": 1_700_000_000_000 + step * 17 + random.randrange(5),
                "step": step,
            }
            for step in range(begin, begin + POINTS)
        ]
        made.append(json.dumps({"run_id": run, "metrics": points}).encode())
    return made


def send(server, made):
    connection = server.connect()
    for body in made:
        server.post("runs/log-batch", body, connection)
