"""BESTIE (Kim et al., CVPR 2022): finds centers of instances and each pixel's offset to its own.

Steps: transfer_semantics or iterate_instances (pseudo instances), train_bestie, refine_labels (to look at),
predict_bestie. Parts: network with decoders; targets, losses and refinement for training; components, centers and
grouping go from maps to instances, decoding adds their scores; augmentation and inputs prepare what a pass sees.
"""
