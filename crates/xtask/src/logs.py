"""Logs with the writers that people use, imports their files and compares what the server says of them:
`logs.py ADDRESS ASSAY WORKSPACE`. `logs.py --write-only FOLDER` writes the files, and what is in them as expected.json."""

import contextlib
import csv
import hashlib
import json
import logging
import math
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": ""}
os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}

import mlflow
import numpy
from mlflow.entities import Metric, Param, RunTag
from PIL import Image

warnings.filterwarnings("ignore", category=FutureWarning)
for name in ["mlflow", "alembic"]:
    logging.getLogger(name).setLevel(logging.ERROR)

random = numpy.random.default_rng(7)
picture = random.integers(0, 256, (6, 8, 3), dtype=numpy.uint8)
START = 1_750_000_000
SHARES = {"min": 0, "p16": 16, "p50": 50, "p84": 84, "max": 100}

paths = []
"""What is imported."""
expected = {}
"""What was logged: runs by experiment and name. A point is [step, value, milliseconds or None]."""
live = []
"""Logs that are written on later: what it is, experiment, run, how a point is logged to "live", how it is ended."""


def new(experiment, name, **of):
    run = {"status": None, "times": None, "params": {}, "tags": {}, "metrics": {}, "histograms": {}, "files": {}} | of
    expected.setdefault(experiment, {})[name] = run
    return run


def noted(run, key, step, value, milliseconds=None):
    run["metrics"].setdefault(key, []).append([step, value, milliseconds])


def spread(run, key, step, values):
    percentiles = numpy.percentile(values, list(SHARES.values())).tolist()
    run["histograms"].setdefault(key, {})[str(step)] = percentiles


def single(value):
    """The shortest decimal that is this single."""
    return float(str(numpy.float32(value)))


def digest(data):
    return hashlib.sha256(data).hexdigest()


def files_below(folder):
    return {path.relative_to(folder).as_posix(): digest(path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def torch(folder):
    """TensorBoard's files by PyTorch's writer."""
    from torch.utils.tensorboard import SummaryWriter

    odd = {20: math.nan, 21: math.inf, 22: -math.inf, 23: 1e-45, 24: 3.4e38, 25: -0.0, 26: 1 / 3}
    for name in ["first", "deeper/second"]:
        run = new("board", name)
        with SummaryWriter(folder / "board" / name) as writer:
            # Steps go back and come twice.
            for at, step in enumerate([*range(150), 5, 7, 7, *range(150, 200)]):
                seconds = START + at / 8
                value = odd.get(at, math.exp(-at / 50))
                points = [("loss", single(value), {}), ("new", single(value), {"new_style": True})]
                points.append(("val/double", value, {"new_style": True, "double_precision": True}))
                for key, kept, style in points:
                    writer.add_scalar(key, value, step, walltime=seconds, **style)
                    noted(run, key, step, kept, at * 125 + START * 1000)
            for step in range(3):
                values = random.normal(size=5000).astype(numpy.float32)
                writer.add_histogram("layer/weights", values, step)
                spread(run, "layer/weights", step, values)
            writer.add_histogram("layer/zeros", numpy.zeros(9), 4)
            spread(run, "layer/zeros", 4, numpy.zeros(9))
            writer.add_image("val/picture", picture, 30, dataformats="HWC")
            run["files"]["val/picture/30.png"] = digest(picture.tobytes())
            writer.add_text("note", "some *text*, ü", 31)
            run["files"]["note/text_summary/31.txt"] = digest("some *text*, ü".encode())
            for step in range(5):
                pair = {"a": step / 7, "b": -step}
                writer.add_scalars("pair", pair, step, walltime=START + step)
                for key, value in pair.items():
                    beside = expected["board"].get(f"{name}/pair_{key}") or new("board", f"{name}/pair_{key}")
                    noted(beside, "pair", step, single(value), (START + step) * 1000)
            params = {"lr": 0.1, "depth": 3, "optimizer": "adam ü", "nesterov": True}
            writer.add_hparams(params, {"hparam/accuracy": 0.7}, run_name="tuned")
            # PyTorch writes what is true as the number 1.
            tuned = new("board", f"{name}/tuned", params={key: str(value) for key, value in params.items()} | {"nesterov": "1"})
            noted(tuned, "hparam/accuracy", 0, single(0.7))
    with SummaryWriter(folder / "board") as writer:
        writer.add_scalar("loss", 0.25, 1, walltime=START)
    noted(new("board", "board"), "loss", 1, 0.25, START * 1000)
    writer = SummaryWriter(folder / "board" / "live")
    writer.add_scalar("live", 0.5, 0)
    writer.flush()
    noted(new("board", "live"), "live", 0, 0.5)
    live.append(("torch", "board", "live", lambda step: (writer.add_scalar("live", step, step), writer.flush()), writer.close))
    paths.append(folder / "board")


def tensorflow(folder):
    """TensorBoard's files by TensorFlow's writer."""
    try:
        import tensorflow
    except ImportError:
        print("tensorflow is not installed: its writer is left out")
        return
    summary = tensorflow.summary
    for name in ["train", "validation"]:
        run = new("flow", name)
        writer = summary.create_file_writer(str(folder / "flow" / name))
        with writer.as_default():
            for step in range(100):
                value = {3: math.nan, 4: math.inf, 5: -math.inf}.get(step, 1 / (step + 1))
                summary.scalar("epoch_loss", value, step)
                noted(run, "epoch_loss", step, single(value))
            for step in range(3):
                values = random.normal(size=5000).astype(numpy.float32)
                summary.histogram("dense/kernel", values, step)
                spread(run, "dense/kernel", step, values)
            summary.image("picture", picture[None], 7)
            run["files"]["picture/7.png"] = digest(picture.tobytes())
            summary.text("note", "some *text*, ü", 8)
            run["files"]["note/8.txt"] = digest("some *text*, ü".encode())
        writer.close()
    paths.append(folder / "flow")


def wandb(folder):
    """W&B's files of runs that were not sent."""
    import wandb

    root = folder / "offline"
    root.mkdir()
    init = {"project": "project", "dir": str(root)}
    config = {"lr": 0.1, "optimizer": {"name": "adam", "betas": [0.9, 0.99]}, "flag": True, "word": "a \"q\" ü"}
    made = wandb.init(name="whole", notes="two\nlines", tags=["a", "b c"], config=config, **init)
    params = {"lr": "0.1", "optimizer.name": "adam", "optimizer.betas": "[0.9, 0.99]", "flag": "true", "word": config["word"]}
    tags = {"a": "", "b c": "", "mlflow.note.content": "two\nlines", "summary.best": "0.9"}
    run = new("project", "whole", status=["FINISHED"], params=params, tags=tags)
    for step in range(100):
        value = {3: math.nan, 4: math.inf, 5: -math.inf}.get(step, 1 / (step + 3))
        more = {"picture": wandb.Image(picture)} if step == 20 else {}
        if step == 21:
            values = random.normal(size=5000)
            more = {"weights": wandb.Histogram(values)}
            spread(run, "weights", step, values)
        made.log({"loss": value, "val": {"acc": step / 7, "deep": {"n": step}}, "a/b": 2 * step} | more)
        for key, value in {"loss": value, "val.acc": step / 7, "val.deep.n": step, "a/b": 2 * step}.items():
            noted(run, key, step, float(value))
    made.log({"jumped": 1.5}, step=1000)
    noted(run, "jumped", 1000, 1.5)
    made.summary["best"] = 0.9
    made.finish()
    [kept] = root.glob(f"wandb/offline-run-*-{made.id}/files")
    run["files"] = files_below(kept)

    # With a service of its own, which is killed as well.
    own = {key: value for key, value in os.environ.items() if not key.startswith("WANDB") or "SERVICE" not in key}
    killed = [sys.executable, __file__, "--killed", str(root)]
    with subprocess.Popen(killed, stdout=subprocess.PIPE, start_new_session=True, env=own) as program:
        program.stdout.readline()
        os.killpg(program.pid, signal.SIGKILL)
    [kept] = root.glob("wandb/offline-run-*-killed/run-killed.wandb")
    run = new("project", "cut", status=["RUNNING", "FAILED", "KILLED"], params={"lr": "0.5"}, tags={"k": ""})
    run["files"] = files_below(kept.parent / "files")
    for record in records(kept):
        step = record.history.step.num
        for item in record.history.item:
            if list(item.nested_key) == ["loss"]:
                assert json.loads(item.value_json) == 1 / (step + 1), "the record is what was logged"
                noted(run, "loss", step, 1 / (step + 1))
    assert len(run["metrics"].get("loss", [])) > 1000, "some of it was written before it was killed"

    made = wandb.init(name="live", **init)
    new("project", "live", files=None)
    live.append(("wandb", "project", "live", lambda step: made.log({"live": step}, step=step, commit=True), made.finish))
    paths.append(root / "wandb")


def killed(folder):
    import wandb

    init = {"project": "project", "name": "cut", "id": "killed", "tags": ["k"], "config": {"lr": 0.5}, "dir": folder}
    with wandb.init(**init) as run:
        for step in range(4000):
            run.log({"loss": 1 / (step + 1), "long": "x" * (step % 700)})
        print("now", flush=True)
        time.sleep(60)


def records(path):
    """The whole records of a .wandb file, by W&B's own messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, message = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        piece = data[at + 7 : at + 7 + length]
        if kind == 0 or len(piece) < length:
            return
        message = piece if kind in (1, 2) else message + piece
        if kind in (1, 4):
            yield Record.FromString(message)
        at += 7 + length


def store(uri, kind, place):
    """What MLflow keeps in a store; `place` is where the second experiment has its artifacts."""
    client = mlflow.MlflowClient(uri)
    for experiment, artifacts in [(f"{kind} one", None), (f"{kind}: two ü", place)]:
        number = client.create_experiment(experiment, artifact_location=artifacts)
        for order, (name, status) in enumerate([("good", "FINISHED"), ("bad", "FAILED"), ("gone", "FINISHED")]):
            began = START * 1000 + order
            made = client.create_run(number, run_name=name, start_time=began, tags={"team/of": "a ü", "empty": ""})
            client.set_tag(made.info.run_id, "mlflow.note.content", "# two\nlines")
            params = {"lr": "0.1", "model/depth": "3", "lines": "two\nlines ü", "long": "x" * 6000, "spaces": " a "}
            points = [["loss", step, 1 / (step + 5.5), began + 10 * at] for at, step in enumerate([*range(-5, 200), 3, 3])]
            odd = [math.nan, math.inf, -math.inf, 1e-300, 0.1, -0.0]
            points += [["val/odd one", step, value, began + step] for step, value in enumerate(odd)]
            metrics = [Metric(key, value, at, step) for key, step, value, at in points]
            client.log_batch(made.info.run_id, metrics, [Param(*param) for param in params.items()], [RunTag("late", "1")])
            contents = {"top.txt": "ü\n".encode(), "nested/deeper/big.bin": random.bytes(3_000_000), "nested/empty": b""}
            with tempfile.TemporaryDirectory() as written:
                for path, content in contents.items():
                    Path(written, path).parent.mkdir(parents=True, exist_ok=True)
                    Path(written, path).write_bytes(content)
                client.log_artifacts(made.info.run_id, written)
            client.set_terminated(made.info.run_id, status, end_time=began + 5000)
            if name == "gone":
                client.delete_run(made.info.run_id)
                continue
            tags = {"team/of": "a ü", "empty": "", "late": "1", "mlflow.note.content": "# two\nlines"}
            of = {"status": [status], "times": [began, began + 5000], "id": made.info.run_id, "params": params, "tags": tags}
            run = new(experiment, name, **of)
            run["files"] = {path: digest(content) for path, content in contents.items()}
            for key, step, value, at in points:
                # SQLite keeps no sign of zero.
                noted(run, key, step, value + 0.0 if "sqlite" in uri else value, at)
    gone = client.create_experiment(f"{kind} gone")
    client.log_metric(client.create_run(gone, run_name="gone").info.run_id, "loss", 1)
    client.delete_experiment(gone)
    return client


def mlruns(folder):
    """MLflow's file store."""
    root = folder / "mlruns"
    client = store(f"file:{root}", "files", None)
    number = client.get_experiment_by_name("files one").experiment_id
    made = client.create_run(number, run_name="live")
    client.log_metric(made.info.run_id, "live", 0.5, step=0)
    run = new("files one", "live", status=["RUNNING", "FINISHED"], id=made.info.run_id)
    noted(run, "live", 0, 0.5)

    def more(step):
        client.log_metric(made.info.run_id, "live", step, step=step)

    live.append(("mlruns", "files one", "live", more, lambda: client.set_terminated(made.info.run_id)))
    paths.append(root)


def database(folder):
    """MLflow's database, and the artifacts where MLflow puts them by default, and elsewhere."""
    root = folder / "database"
    root.mkdir()
    with contextlib.chdir(root):
        store("sqlite:///mlflow.db", "base", f"file://{root}/elsewhere")
    paths.append(root)


def tables(folder):
    """Lines as Lightning's CSVLogger writes them, and as JSON."""
    root = folder / "tables"
    root.mkdir()
    run = new("*", "history")
    with open(root / "history.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", "step", "train_loss", "val_loss"])
        writer.writeheader()
        for step in range(9, 500, 10):
            ends = (step + 1) % 100 == 0
            loss = math.nan if step == 49 else 1 / step
            lines = [{"train_loss": loss}] + ([{"val_loss": 2 / step}] if ends else [])
            for line in lines:
                writer.writerow({"epoch": step // 100, "step": step} | line)
                for key, value in ({"epoch": step // 100} | line).items():
                    noted(run, key, step, float(value))
    run = new("*", "lines")
    with open(root / "lines.jsonl", "w") as file:
        for step in range(100):
            loss = {3: math.nan, 4: math.inf}.get(step, 1 / (step + 1))
            line = {"step": step, "loss": loss, "val": {"acc": step / 7}, "timestamp": START + step / 8}
            if step % 2:
                del line["val"]
            file.write(json.dumps(line) + "\n")
            # JSON has no word for these numbers, though Python writes them.
            for key, value in {"loss": loss, "val.acc": line.get("val", {}).get("acc")}.items():
                if value is not None:
                    noted(run, key, step, value, START * 1000 + step * 125)
    run = new("*", "epochs")
    with open(root / "epochs.jsonl", "w") as file:
        for epoch in range(1, 20):
            file.write(json.dumps({"epoch": epoch, "acc": epoch / 20, "word": "left out"}) + "\n")
            noted(run, "epoch", epoch, float(epoch))
            noted(run, "acc", epoch, epoch / 20)
    run = new("*", "rows")
    with open(root / "rows.jsonl", "w") as file:
        for row in range(20):
            file.write(json.dumps({"acc": row / 20}) + "\n")
            noted(run, "acc", row, row / 20)
    paths.extend(sorted(root.iterdir()))


WRITERS = [torch, tensorflow, wandb, mlruns, database, tables]
wrong = []


def check(is_so, what):
    if not is_so:
        wrong.append(what)
        print(f"WRONG: {what}"[:600])


def pages(ask):
    token = None
    while True:
        page = ask(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def runs_of(client, experiment):
    """The runs of an experiment, or of all."""
    experiments = list(pages(client.search_experiments))
    wanted = [found.experiment_id for found in experiments if experiment in ("*", found.name)]
    return [run for number in wanted for run in pages(lambda **page: client.search_runs([number], **page))]


def histories(client, run):
    """The points of each metric; those that W&B's program logs of the machine are left out."""
    keys = [key for key in run.data.metrics if not key.startswith("system")]
    return {key: client.get_metric_history(run.info.run_id, key) for key in keys}


def files_of(client, run):
    found, folders = {}, [None]
    while folders:
        for file in client.list_artifacts(run.info.run_id, folders.pop()):
            folders.append(file.path) if file.is_dir else found.setdefault(file.path, file.file_size)
    return found


def as_text(value):
    """A value, as near as programs that write it differently have it."""
    try:
        return str(float(value))
    except ValueError:
        return value.lower().replace(", ", ",")


def exactly(value):
    """A value to the bit; in a database, MLflow keeps the largest number in place of infinity."""
    return repr(math.copysign(math.inf, value) if abs(value) == sys.float_info.max else float(value))


def compare(client, of, run, wanted, exact):
    info, text = run.info, (lambda value: value) if exact else as_text
    check(wanted["status"] is None or info.status in wanted["status"], f"{of}: its status is {info.status}")
    check(wanted["times"] in (None, [info.start_time, info.end_time]), f"{of}: from {info.start_time} to {info.end_time}")
    check(wanted.get("id") in (None, info.run_id), f"{of}: its id is {info.run_id}")
    for kind, found in [("params", run.data.params), ("tags", run.data.tags)]:
        for key, value in wanted[kind].items():
            has = found.get(key)
            check(has is not None and text(has) == text(value), f"{of}: of its {kind}, {key} is {has!r}, not {value!r}")
    check(set(run.data.params) == set(wanted["params"]), f"{of}: its params are {sorted(run.data.params)}")

    points = histories(client, run)
    bands = {f"{key}/{share}" for key in wanted["histograms"] for share in SHARES}
    check(set(points) == set(wanted["metrics"]) | bands, f"{of}: its metrics are {sorted(points)}")
    for key, logged in wanted["metrics"].items():
        timed = logged[0][2] is not None
        logged = sorted((step, exactly(value), at if timed else 0) for step, value, at in logged)
        has = sorted((point.step, exactly(point.value), point.timestamp if timed else 0) for point in points.get(key, []))
        differ = [*set(logged) ^ set(has)][:4]
        check(has == logged, f"{of}: {key} has {len(has)} points where {len(logged)} were logged; differing: {differ}")
    for key, steps in wanted["histograms"].items():
        by_share = [{point.step: point.value for point in points.get(f"{key}/{share}", [])} for share in SHARES]
        for step, percentiles in steps.items():
            has = [values.get(int(step), math.nan) for values in by_share]
            bin_wide = (percentiles[-1] - percentiles[0]) / 30
            near = all(abs(a - b) <= max(bin_wide, abs(b) / 9) + 1e-6 for a, b in zip(has, percentiles))
            check(near and has == sorted(has), f"{of}: {key} at step {step} is {has}, not near {percentiles}")

    found, files = files_of(client, run), wanted["files"]
    check(set(found) == set(files), f"{of}: its files are {sorted(found)}, not {sorted(files)}")
    with tempfile.TemporaryDirectory() as folder:
        for path in set(found) & set(files):
            local = Path(client.download_artifacts(info.run_id, path, folder))
            data = local.read_bytes()
            check(found[path] in (None, len(data)), f"{of}: {path} is said to have {found[path]} bytes of {len(data)}")
            # Of TensorBoard's images the pixels are known.
            if path.endswith(".png") and not path.startswith("media/"):
                data = numpy.asarray(Image.open(local)).tobytes()
            check(digest(data) == files[path], f"{of}: {path} is not what was logged")
    count, bands = sum(map(len, wanted["metrics"].values())), sum(map(len, wanted["histograms"].values()))
    print(f"{of}: {count} points, {bands} histograms, {len(files)} files compared", flush=True)


def compare_all(client, experiments):
    for experiment in experiments:
        found = runs_of(client, experiment)
        # Of a run of W&B's that has just begun, nothing may be in its file yet.
        sure = {name: wanted for name, wanted in expected[experiment].items() if wanted["files"] is not None}
        if experiment != "*":
            names = sorted(run.info.run_name for run in found)
            late = expected[experiment].keys() - sure.keys()
            check([name for name in names if name not in late] == sorted(sure), f"{experiment} has the runs {names}")
        for name, wanted in sure.items():
            named = [run for run in found if run.info.run_name == name]
            check(len(named) == 1, f"{experiment}: {len(named)} runs are called {name}")
            exact = "id" in wanted
            for run in named[:1]:
                compare(client, f"{experiment}, {name}", run, wanted, exact)
    check(not [kind for kind in ["files", "base"] if runs_of(client, f"{kind} gone")], "a deleted experiment was imported")


def counts(client):
    """How many points each run has."""
    of = lambda run: sum(len(points) for points in histories(client, run).values())
    return {run.info.run_id: of(run) for run in runs_of(client, "*")}


def until(what, is_so):
    began = time.monotonic()
    while not (so := is_so()) and time.monotonic() - began < 30:
        time.sleep(0.1)
    if so:
        print(f"{what}: after {time.monotonic() - began:.1f} s", flush=True)
    else:
        check(False, f"{what}: not within 30 s")
    return so


def follow(client):
    """Logs more to what is still written, and waits for it."""
    for what, experiment, name, more, end in live:
        named = lambda: [run.info.run_id for run in runs_of(client, experiment) if run.info.run_name == name]
        if not until(f"{what}: the run is there", named):
            continue
        [run_id] = named()
        history = lambda: [(point.step, point.value) for point in client.get_metric_history(run_id, "live")]
        for first in [1, 101, 201]:
            steps = [*range(first, first + 10)]
            for step in steps:
                more(step)
            until(f"{what}: ten more points are there", lambda: history()[-10:] == [(step, step) for step in steps])
        end()
        # TensorBoard's files do not say that a run has ended.
        if what != "torch":
            until(f"{what}: its end is seen", lambda: client.get_run(run_id).info.status == "FINISHED")
        check(len(history()) == len(set(history())) >= 30, f"{what}: the points are {history()}")


def write(folder):
    for writer in WRITERS:
        began = time.monotonic()
        writer(folder)
        print(f"{writer.__name__}: written in {time.monotonic() - began:.1f} s", flush=True)


def main(address, assay, workspace):
    client = mlflow.MlflowClient(address)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder).resolve())
        for path in paths:
            subprocess.run([assay, "-w", workspace, "import", path], check=True)
        compare_all(client, expected)
        before = counts(client)
        for path in paths:
            subprocess.run([assay, "-w", workspace, "import", path], check=True)
        after = counts(client)
        before, after = [f"{len(of)} runs of {sum(of.values())} points" for of in [before, after]]
        check(after == before, f"a second import made {after} of {before}")
        print(f"imported twice: {after}")
        follow(client)
    sys.exit(f"{len(wrong)} things are wrong" if wrong else 0)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--killed", folder]:
            killed(folder)
        case ["--write-only", folder]:
            folder = Path(folder).resolve()
            folder.mkdir(parents=True)
            write(folder)
            for _, _, _, _, end in live:
                end()
            text = json.dumps({"paths": [str(path) for path in paths], "expected": expected}, indent=1)
            (folder / "expected.json").write_text(text)
        case [address, assay, workspace]:
            main(address, assay, workspace)
        case _:
            sys.exit(__doc__)
