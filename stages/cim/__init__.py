"""CIM (Li et al., IJCAI 2023): scores proposals, so that complete instances win over their parts.

Steps: label_clusters (AGPL), train_cim, predict_cim. Parts, in the order of a training pass: agpl makes the labels;
task and inputs prepare what the network sees; network scores proposals; mining finds pseudo ground truth, targets
spreads it to all proposals, losses compares, objective puts these together; decoding goes from scores to instances.
"""
