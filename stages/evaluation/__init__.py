"""How right everything is: compares with annotations; makes metrics, reports and the comparison of runs.

Steps: evaluate_instances; report_proposals, report_cues, report_semantics, report_cluster_labels, report_masks;
compare_runs. Parts: overlaps, matching and average_precision are the metrics (docs/metrics.md), with best_overlap, coco
and mask_counts; curves, plots, table, settings_table and wording write them down.
"""
