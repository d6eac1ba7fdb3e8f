"""Everything that tagmask computes.

Stages, one per rule file of the same name: images, proposals, classifier, semantics; the methods cim, bestie, prm, and
mask_rcnn on top of any of them; evaluation, inspection, exports. They meet in files alone. Foundations, which import no
stage: core (artifacts, settings, networks, training, workflow) and ops (arrays in, arrays out). The root, which stands
on all of them: project. In a stage a file named like a rule is a step; the other files are its parts.
"""
