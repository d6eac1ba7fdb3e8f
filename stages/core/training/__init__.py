from stages.core.training.loop import Task, TrainingOutputs, train

__all__ = ["Task", "TrainingOutputs", "train"]
