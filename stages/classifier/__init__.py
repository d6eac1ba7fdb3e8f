"""Where each class is seen: trains a network on tags and makes {split}/cues/{classifier}.h5.

Steps: train_classifier, then find_cues (response maps and peaks); take_points puts points that people set in their
place. Parts: network has the heads CAM, PRM and PAM; peak_rules goes from maps to peaks.
"""
