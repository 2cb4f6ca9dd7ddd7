"""The tasks that can be chosen by name, and how one is made."""

from typing import Annotated

from fedray.config import Choices
from fedray.errors import ConfigError
from fedray.messages import DataSpec
from fedray.models.classification import Classification, ClassificationConfig
from fedray.models.regression import Regression, RegressionConfig
from fedray.models.task_base import Task, TaskConfig, merge

__all__ = ["TASKS", "AnyTask", "Classification", "Regression", "Task", "TaskConfig", "make_task", "merge"]

TASKS = Choices("task", {"classification": ClassificationConfig, "regression": RegressionConfig})
AnyTask = Annotated[TaskConfig, TASKS]


def make_task(config: TaskConfig | None, spec: DataSpec) -> Task:
    """The task of this data.

    Args:
        config: Settings; None takes the defaults of the data's own kind of task.
        spec: What the data is.

    Raises:
        ConfigError: The settings do not fit the data.
    """
    if config is None:
        config = ClassificationConfig() if spec.task == "classification" else RegressionConfig()
    if config.name != spec.task:
        raise ConfigError(f"task is {config.name}, but the data is for {spec.task}; change task")
    return config.build(spec)
