"""Foundation: what stages share and what has to do with files, settings, networks or the graph.

Shelves: artifacts (what stages exchange), coco (its JSON), config (sections of settings), images (reading them), matlab
(variables of its files), networks, training, workflow (from a rule to a function). It imports no stage and names no
method.
"""
