"""Tags of images from where people keep them: tables, folders of classes, exports of tools of annotation, boxes."""
