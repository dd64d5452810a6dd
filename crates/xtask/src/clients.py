"""Logs to a tracking server with the clients that people use, and reads back what they logged: `clients.py ADDRESS`."""

import logging
import math
import sys
import tempfile
from pathlib import Path

import mlflow
import numpy

address = sys.argv[1]
mlflow.set_tracking_uri(address)
client = mlflow.MlflowClient()
logging.getLogger("mlflow").setLevel(logging.ERROR)


def fluent():
    mlflow.set_experiment("fluent")
    with mlflow.start_run(run_name="parent", tags={"team": "a"}) as parent:
        mlflow.log_params({"lr": 1e-3, "depth": 5})
        for step in range(20):
            mlflow.log_metrics({"loss": 1 / (step + 1), "odd": math.nan if step == 3 else step}, step=step)
        mlflow.log_dict({"a": 1}, "notes/a.json")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "big.bin").write_bytes(b"7" * 5_000_000)
            mlflow.log_artifacts(folder, "files")
        with mlflow.start_run(nested=True):
            mlflow.log_metric("loss", 0.5)
    found = mlflow.search_runs(filter_string="metrics.loss < 0.1 AND params.depth = '5'")
    assert list(found["run_id"]) == [parent.info.run_id], found
    assert [point.value for point in client.get_metric_history(parent.info.run_id, "loss")] == [1 / (step + 1) for step in range(20)]
    assert math.isnan(client.get_metric_history(parent.info.run_id, "odd")[3].value)
    assert mlflow.artifacts.load_dict(f"{parent.info.artifact_uri}/notes/a.json") == {"a": 1}
    path = mlflow.artifacts.download_artifacts(f"runs:/{parent.info.run_id}/files/big.bin")
    assert Path(path).stat().st_size == 5_000_000
    assert client.get_run(parent.info.run_id).info.status == "FINISHED"
    try:
        with mlflow.start_run() as failing:
            raise ValueError("planned")
    except ValueError:
        assert client.get_run(failing.info.run_id).info.status == "FAILED"


def scikit_learn():
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    mlflow.set_experiment("scikit-learn")
    mlflow.sklearn.autolog(log_datasets=True, registered_model_name="iris")
    images, labels = load_iris(return_X_y=True)
    with mlflow.start_run() as run:
        model = LogisticRegression(max_iter=300).fit(images, labels)
    found = client.get_run(run.info.run_id)
    assert found.data.params["max_iter"] == "300" and found.data.metrics["training_accuracy_score"] > 0.9, found
    assert found.inputs.dataset_inputs, "the dataset is noted"
    client.set_registered_model_alias("iris", "champion", "1")
    loaded = mlflow.pyfunc.load_model("models:/iris@champion")
    assert numpy.array_equal(loaded.predict(images), model.predict(images))
    mlflow.sklearn.autolog(disable=True)


def lightning():
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.loggers import MLFlowLogger

    class Line(LightningModule):
        def __init__(self):
            super().__init__()
            self.save_hyperparameters({"width": 3})
            self.layer = torch.nn.Linear(3, 1)

        def training_step(self, batch, _):
            loss = self.layer(batch).square().mean()
            self.log("train_loss", loss, on_step=True)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    logger = MLFlowLogger("lightning", tracking_uri=address, log_model=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=3, logger=logger, log_every_n_steps=1, default_root_dir=folder,
            enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        )
        trainer.fit(Line(), torch.utils.data.DataLoader(torch.randn(32, 3), batch_size=8))
    found = client.get_run(logger.run_id)
    assert found.info.status == "FINISHED" and found.data.params["width"] == "3", found
    assert len(client.get_metric_history(logger.run_id, "train_loss")) == 12
    assert any(file.is_dir for file in client.list_artifacts(logger.run_id)), "the checkpoint is kept"


for clients in [fluent, scikit_learn, lightning]:
    clients()
    print(f"{clients.__name__.replace('_', '-')}: logged and read back")
