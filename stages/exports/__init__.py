"""Masks for other programs, and networks for other places. Nothing here reads annotations.

Steps: export_coco, export_results, export_voc, export_yolo, export_label_studio, export_cvat, export_ids,
export_overlays; pack_model. Parts: predictions chooses the instances; polygons, outlines, brush, maps and names give
them their forms; image_files puts images beside them; escaping keeps names whole; streams and tables write lists;
model_card describes a network.
"""
