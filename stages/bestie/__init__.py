"""BESTIE (Kim et al., CVPR 2022): finds centers of instances and each pixel's offset to its own.

Steps: transfer_semantics or iterate_instances (pseudo instances), train_bestie, refine_labels (to look at),
predict_bestie. Parts: network with decoders; task with augmentation, targets, losses and refinement for training; maps
runs a trained network; components, centers and grouping go from maps to instances, decoding adds their scores from
probabilities; inputs checks artifacts.
"""
