"""Records for other people's dashboards, written by their own libraries; nothing here is in the training loop."""

LIBRARIES = {"parquet": "pyarrow", "wandb": "wandb", "mlflow": "mlflow", "tensorboard": "tensorboard"}
"""Where records go, and by which library: the module of that name in this room has `export`, and the extra of that
name installs the library."""
