"""Measures the loggers of other programs in this process: `writers.py NAME POINTS`, one point a call, until all are on
disk. Prints one JSON object with points a second."""

import json
import os
import random
import sys
import tempfile
import time

name, count = sys.argv[1], int(sys.argv[2])
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)
losses = [2 / (1 + step / 5000) + random.gauss(0, 0.05) for step in range(count)]


def trackio():
    os.environ["TRACKIO_DIR"] = folder.name
    import trackio as peer

    peer.init(project="loss", embed=False)
    yield
    for step, loss in enumerate(losses):
        peer.log({"loss": loss}, step=step)
    peer.finish()


def wandb():
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=folder.name)
    import wandb as peer

    run = peer.init(project="loss")
    yield
    for step, loss in enumerate(losses):
        run.log({"loss": loss}, step=step)
    run.finish()


def tensorboard():
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(folder.name)
    yield
    for step, loss in enumerate(losses):
        summary = Summary(value=[Summary.Value(tag="loss", simple_value=loss)])
        writer.add_event(Event(step=step, wall_time=time.time(), summary=summary))
    writer.close()


def aim():
    from aim import Run

    run = Run(repo=folder.name, system_tracking_interval=None, log_system_params=False)
    yield
    for step, loss in enumerate(losses):
        run.track(loss, name="loss", step=step)
    run.close()


work = {"trackio": trackio, "wandb": wandb, "tensorboard": tensorboard, "aim": aim}[name]()
next(work)
begun = time.perf_counter()
next(work, None)
rate = count / (time.perf_counter() - begun)
print("\n" + json.dumps({"points_per_s": rate}))
os._exit(0)  # what they leave running is not measured
