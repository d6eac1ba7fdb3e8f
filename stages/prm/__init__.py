"""PRM (Zhou et al., CVPR 2018), the baseline: each peak takes the proposal that fits its response best.

Step: retrieve_prm. It trains nothing more than the classifier of its cues. Part: retrieval.
"""
