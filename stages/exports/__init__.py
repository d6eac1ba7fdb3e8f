"""Masks for other programs, and networks for other places. Nothing here reads annotations.

Steps: export_coco, export_results, export_voc, export_ids, export_overlays; pack_model. Parts: predictions chooses the
instances; polygons, maps and names give them their forms; streams writes large JSON; model_card describes a network.
"""
