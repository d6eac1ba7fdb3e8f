"""Label-PEnet (Ge et al., ICCV 2019): tags become boxes, boxes become masks, module by module.

Steps: pretrain_module and propagate_labels for each module of the cascade (classification, detection, refinement,
segmentation), train_label_penet (mixed fine-tuning of all), predict_label_penet. Parts, in the order of the paper:
network and boxes are the modules, passes their losses (equations 1 to 4); excitation and calibration make objects of
scores; labelling asks a module about an image; curriculum runs forward and backward; cascade is the whole network; task
feeds images; weights reads files back.
"""
