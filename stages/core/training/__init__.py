"""The training loop of every network, and what belongs to it.

run is what every step that trains calls; loop trains a Task for a fixed number of updates on fabric (devices,
precision); batches and order feed it, gradients serves parts without a loss, parameter_groups and schedules set its
rates; checkpoints and identity let a killed training go on; snapshots and curves are its traces.
"""
