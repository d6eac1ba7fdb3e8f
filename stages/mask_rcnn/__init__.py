"""Mask R-CNN (He et al., ICCV 2017) on the masks that any run predicts on its training split.

Steps: make_pseudo_masks, train_mask_rcnn, predict_mask_rcnn. Parts: pseudo_masks chooses among the run's predictions;
network and heads are torchvision's, with a weight per pseudo mask; detection makes masks at full size.
"""
