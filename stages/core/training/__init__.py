from stages.core.training.identity import training_identity
from stages.core.training.loop import Task, TrainingOutputs, train

__all__ = ["Task", "TrainingOutputs", "train", "training_identity"]
