"""Measures one tracking server: `track.py NAME PROGRAM...`, where {port} and {folder} in PROGRAM are filled in.

Prints one JSON object. Bodies of requests are made before the clock starts, by the same code for both servers.
"""

import http.client
import json
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from struct import pack, unpack

POINTS = 1000
name, program = sys.argv[1], sys.argv[2:]
ours = name == "assay"


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
    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        filled = [word.format(port=self.port, folder=self.folder.name) for word in program]
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
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.port)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", f"/api/2.0/mlflow/{path}", data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {text[:200]}")
        return json.loads(text)

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())

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
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    for body in made:
        server.post("runs/log-batch", body, connection)


def rate(server, clients, batches):
    made = [bodies(server.run(), batches) for _ in range(clients)]
    senders = [multiprocessing.Process(target=send, args=(server, own)) for own in made]
    begun = time.perf_counter()
    [sender.start() for sender in senders]
    [sender.join() for sender in senders]
    assert all(sender.exitcode == 0 for sender in senders)
    return clients * batches * POINTS / (time.perf_counter() - begun)


def one_by_one(server, count):
    import logging

    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    client = mlflow.MlflowClient(f"http://127.0.0.1:{server.port}")
    run = server.run()
    client.log_metric(run, "loss", 1.0, timestamp=1, step=0)
    begun = time.perf_counter()
    for step in range(1, count):
        client.log_metric(run, "loss", 1 / step, timestamp=step, step=step)
    return (count - 1) / (time.perf_counter() - begun)


def median_ms(call, repeats=15):
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - begun))
    return sorted(times)[repeats // 2]


def search(server, runs):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    for number in range(runs):
        made = server.post("runs/create", {"experiment_id": "0", "start_time": number + 1}, connection)
        metrics = [{"key": f"m{key}", "value": random.random(), "timestamp": 1, "step": 0} for key in range(3)]
        params = [{"key": "lr", "value": str(number % 7)}]
        server.post("runs/log-batch", {"run_id": made["run"]["info"]["run_id"], "metrics": metrics, "params": params}, connection)
    asked = {"experiment_ids": ["0"], "filter": "metrics.m1 > 0.5 AND params.lr = '3'", "order_by": ["metrics.m2 DESC"], "max_results": 100}
    return median_ms(lambda: server.post("runs/search", asked, connection))


found = {}
with Server() as server:
    found["first page s"] = server.first_page_s
    time.sleep(2)
    found["idle MB"] = memory(server.process.pid)
    found["one by one points/s"] = one_by_one(server, 400 if ours else 150)
    found["1 client points/s"] = rate(server, 1, 300 if ours else 15)
    found["8 clients points/s"] = rate(server, 8, 100 if ours else 4)
    found["ingesting MB"] = memory(server.process.pid)
with Server() as server:
    before = server.bytes()
    count = 1000 if ours else 30
    send(server, bodies(server.run(), count))
    if ours:
        # What is in the log of the database is folded into it when the server ends.
        server.process.terminate()
        server.process.wait()
    found["bytes a point"] = (server.bytes() - before) / (count * POINTS)
with Server() as server:
    runs = 10_000 if ours else 1_000
    found["runs searched"] = runs
    found["search ms"] = search(server, runs)
if ours:
    with Server() as server:
        run = server.run()
        for first in range(0, 10_000_000, 500 * POINTS):
            send(server, bodies(run, 500, first))
        number = server.get("/api/v1/runs?limit=1")["runs"][0]["id"]
        for zoom, (first, last) in {"whole": (0, 10_000_000), "a tenth": (3_000_000, 4_000_000), "a thousandth": (5_000_000, 5_010_000)}.items():
            address = f"/api/v1/series?runs={number}&key=loss&first_step={first}&last_step={last}&buckets=1000"
            found[f"chart of {zoom} ms"] = median_ms(lambda: server.get(address))
print(json.dumps(found))
