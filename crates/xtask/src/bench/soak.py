"""Logs to a server as fast as it takes it: `soak.py MINUTES PROGRAM...`. Prints one JSON object with the megabytes that it
held, sampled each second."""

import json
import multiprocessing
import sys
import time

from server import POINTS, Server, bodies, memory, send

minutes, program = float(sys.argv[1]), sys.argv[2:]
BATCHES = 1000


def log(server, until, sent):
    made = [body.decode() for body in bodies("?", BATCHES)]
    while time.time() < until:
        run = server.run()
        send(server, (body.replace('"?"', f'"{run}"', 1).encode() for body in made))
        with sent.get_lock():
            sent.value += BATCHES * POINTS


with Server(program) as server:
    sent = multiprocessing.Value("q", 0)
    begun = time.time()
    loggers = [multiprocessing.Process(target=log, args=(server, begun + 60 * minutes, sent)) for _ in range(2)]
    [logger.start() for logger in loggers]
    samples = []
    while any(logger.is_alive() for logger in loggers):
        time.sleep(1)
        samples.append(memory(server.process.pid))
    seconds = time.time() - begun
    assert all(logger.exitcode == 0 for logger in loggers)
    runs = server.get("/api/v1/runs?limit=10000")["runs"]
    kept = sum(run["metrics"]["loss"]["count"] for run in runs if "loss" in run["metrics"])
    fifth = len(samples) // 5
    median = lambda part: sorted(part)[len(part) // 2]
    found = {
        "points": sent.value,
        "points kept": kept,
        "points/s": sent.value / seconds,
        "minutes": seconds / 60,
        "MB in the second fifth": median(samples[fifth : 2 * fifth]),
        "MB in the last fifth": median(samples[-fifth:]),
        "most MB": max(samples),
        "bytes on disk": server.bytes(),
    }
print(json.dumps(found))
