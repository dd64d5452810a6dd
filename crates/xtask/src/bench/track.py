"""Measures one tracking server: `track.py NAME PROGRAM...`, where {port} and {folder} in PROGRAM are filled in.

Prints one JSON object.
"""

import json
import logging
import multiprocessing
import random
import sys
import time

from server import POINTS, Server, bodies, memory, send

name, program = sys.argv[1], sys.argv[2:]
ours = name == "assay"
CHARTS = 20


def rate(server, clients, batches):
    made = [bodies(server.run(), batches) for _ in range(clients)]
    senders = [multiprocessing.Process(target=send, args=(server, own)) for own in made]
    begun = time.perf_counter()
    [sender.start() for sender in senders]
    [sender.join() for sender in senders]
    assert all(sender.exitcode == 0 for sender in senders)
    return clients * batches * POINTS / (time.perf_counter() - begun)


def one_by_one(server, count):
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    client = mlflow.MlflowClient(f"http://127.0.0.1:{server.port}")
    run = server.run()
    client.log_metric(run, "loss", 1.0, timestamp=1, step=0)
    begun = time.perf_counter()
    for step in range(1, count):
        client.log_metric(run, "loss", 1 / step, timestamp=step, step=step)
    return (count - 1) / (time.perf_counter() - begun)


def watch(server, run, stopped):
    """Reads the page of a run with all its charts as the interface does: anew when something changed, for at most a quarter
    of the time."""
    connection = server.connect()
    read = lambda path: server.read(path, connection)
    after, took = json.loads(read("/api/v1/about"))["last_event"], 0
    while not stopped.is_set():
        begun = time.perf_counter()
        after = json.loads(read(f"/api/v1/events?after={after}&wait_secs=1"))["last"]
        changed = time.perf_counter()
        read(f"/api/v1/runs/{run}")
        read(f"/api/v1/series?runs={run}")
        took = max(time.perf_counter() - changed, took / 2)
        time.sleep(max(0, max(0.1, 4 * took) - (time.perf_counter() - begun)))


def rates_of_charts(server, batches):
    """Points a second of twenty series, by turns with none and with all of their charts open."""
    keys = [f"loss{number}" for number in range(CHARTS)]
    each = POINTS // CHARTS
    made = []
    for batch in range(batches):
        points = [
            {"key": key, "value": random.gauss(0, 1), "timestamp": 1_700_000_000_000 + step, "step": step}
            for step in range(batch * each, (batch + 1) * each)
            for key in keys
        ]
        made.append(json.dumps({"run_id": "?", "metrics": points}))
    rates = {False: [], True: []}
    for turn in range(6):
        run = server.run()
        number = server.get("/api/v1/runs?limit=1")["runs"][0]["id"]
        own = [body.replace('"?"', f'"{run}"', 1).encode() for body in made]
        stopped = multiprocessing.Event()
        watcher = multiprocessing.Process(target=watch, args=(server, number, stopped))
        if turn % 2:
            watcher.start()
        begun = time.perf_counter()
        send(server, own)
        rates[bool(turn % 2)].append(batches * POINTS / (time.perf_counter() - begun))
        stopped.set()
        if turn % 2:
            watcher.join()
    return [sorted(of)[1] for of in (rates[False], rates[True])]


def median_ms(call, repeats=15):
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - begun))
    return sorted(times)[repeats // 2]


def search(server, runs):
    connection = server.connect()
    for number in range(runs):
        made = server.post("runs/create", {"experiment_id": "0", "start_time": number + 1}, connection)
        metrics = [{"key": f"m{key}", "value": random.random(), "timestamp": 1, "step": 0} for key in range(3)]
        params = [{"key": "lr", "value": str(number % 7)}]
        server.post("runs/log-batch", {"run_id": made["run"]["info"]["run_id"], "metrics": metrics, "params": params}, connection)
    asked = {"experiment_ids": ["0"], "filter": "metrics.m1 > 0.5 AND params.lr = '3'", "order_by": ["metrics.m2 DESC"], "max_results": 100}
    return median_ms(lambda: server.post("runs/search", asked, connection))


found = {}
with Server(program) as server:
    found["first page s"] = server.first_page_s
    time.sleep(2)
    found["idle MB"] = memory(server.process.pid)
    found["one by one points/s"] = one_by_one(server, 400 if ours else 150)
    found["1 client points/s"] = rate(server, 1, 300 if ours else 15)
    found["8 clients points/s"] = rate(server, 8, 100 if ours else 4)
    found["ingesting MB"] = memory(server.process.pid)
with Server(program) as server:
    before = server.bytes()
    count = 1000 if ours else 30
    send(server, bodies(server.run(), count))
    if ours:
        # What is in the log of the database is folded into it when the server ends.
        server.process.terminate()
        server.process.wait()
    found["bytes a point"] = (server.bytes() - before) / (count * POINTS)
with Server(program) as server:
    runs = 10_000 if ours else 1_000
    found["runs searched"] = runs
    found["search ms"] = search(server, runs)
if ours:
    with Server(program) as server:
        alone, watched = rates_of_charts(server, 1000)
        found["no chart points/s"], found["twenty charts points/s"] = alone, watched
        found["rate kept with twenty charts"] = watched / alone
    with Server(program) as server:
        run = server.run()
        for first in range(0, 10_000_000, 500 * POINTS):
            send(server, bodies(run, 500, first))
        number, connection = server.get("/api/v1/runs?limit=1")["runs"][0]["id"], server.connect()
        for zoom, (first, last) in {"whole": (0, 10_000_000), "a tenth": (3_000_000, 4_000_000), "a thousandth": (5_000_000, 5_010_000)}.items():
            address = f"/api/v1/series?runs={number}&key=loss&first_step={first}&last_step={last}&buckets=1000"
            # Until the last byte is there: what a reader makes of it is the reader's time.
            found[f"chart of {zoom} ms"] = median_ms(lambda: server.read(address, connection))
print(json.dumps(found))
