# Everything that compares with annotations: metrics of instances, proposals, cues and pseudo labels.


def labels_to_report(wildcards):
    """Artifacts with the masks that a run is trained on: those that they continue, then their own."""
    own = "{run}/{labels}/{split}.h5".format(**wildcards)
    before = graph.labels_before(project, wildcards.run, wildcards.labels)
    paths = [own] if before is None else [before.format(**wildcards), own]
    return [f"results/{wildcards.dataset}/{path}" for path in paths]


def of_training_split(pattern):
    """What CorLoc reads of the training split, as an input function; nothing where it is not measured."""

    def path(wildcards):
        if not project.evaluation.corloc:
            return []
        made = pattern.format(split=project.splits.train, run=wildcards.run)
        return f"results/{wildcards.dataset}/{made}"

    return path


rule evaluation:
    input:
        rules.proposals.input,
        rules.cues.input,
        rules.semantics.input,
        expand(
            "results/{dataset}/{run}/{split}/metrics.json",
            dataset=DATASET,
            run=project.measured,
            split=project.splits.evaluate,
        ),
        [f"results/{DATASET}/{report}" for report in graph.reports_of_runs(project)],
        f"results/{DATASET}/comparison.md",
    localrule: True


rule evaluate_instances:
    input:
        instances="results/{dataset}/{run}/{split}/instances.h5",
        images="results/{dataset}/{split}/images.h5",
        ground_truth="results/{dataset}/{split}/ground_truth.h5",
        boxes="results/{dataset}/{split}/boxes.h5",
        training_instances=of_training_split("{run}/{split}/instances.h5"),
        training_boxes=of_training_split("{split}/boxes.h5"),
    output:
        metrics=in_report(
            "results/{dataset}/{run}/{split}/metrics.json",
            "metrics",
            "all metrics",
            "metrics",
        ),
        plot=in_report(
            "results/{dataset}/{run}/{split}/precision_recall.png",
            "metrics",
            "precision and recall",
            "precision_recall",
        ),
    log:
        "results/{dataset}/logs/{run}/evaluate_instances.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/evaluate_instances.{split}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(8000, per_image=0.05),
        runtime=minutes(30, per_1000_images=20),
    params:
        settings=lambda wildcards: project.evaluation.instances.canonical(),
        code=code_digest("stages.evaluation.evaluate_instances"),
    shell:
        "python -m stages.evaluation.evaluate_instances --instances {input.instances:q} --images {input.images:q}"
        " --ground-truth {input.ground_truth:q} --boxes {input.boxes:q}"
        " --training-instances {input.training_instances:q} --training-boxes {input.training_boxes:q}"
        " --output-metrics {output.metrics:q} --output-plot {output.plot:q}"
        " --settings {params.settings:q} --log {log:q}"


# What is wrong with a run's instances: numbers, and pictures of them.
rule chart_instances:
    input:
        instances="results/{dataset}/{run}/{split}/instances.h5",
        images="results/{dataset}/{split}/images.h5",
        ground_truth="results/{dataset}/{split}/ground_truth.h5",
    output:
        data="results/{dataset}/{run}/{split}/charts.json",
        classes=in_report(
            "results/{dataset}/{run}/{split}/charts/classes.svg",
            "metrics",
            "AP by class",
            "charts",
        ),
        errors=in_report(
            "results/{dataset}/{run}/{split}/charts/errors.svg",
            "metrics",
            "kinds of errors",
            "charts",
        ),
        reliability=in_report(
            "results/{dataset}/{run}/{split}/charts/reliability.svg",
            "metrics",
            "reliability of scores",
            "charts",
        ),
        sizes=in_report(
            "results/{dataset}/{run}/{split}/charts/sizes.svg",
            "metrics",
            "AP by size",
            "charts",
        ),
        overlaps=in_report(
            "results/{dataset}/{run}/{split}/charts/overlaps.svg",
            "metrics",
            "best overlaps",
            "charts",
        ),
    log:
        "results/{dataset}/logs/{run}/chart_instances.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/chart_instances.{split}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(4000, per_image=0.05),
        runtime=minutes(30, per_1000_images=10),
    params:
        settings=lambda wildcards: project.evaluation.charted.canonical(),
        code=code_digest("stages.evaluation.chart_instances"),
    shell:
        "python -m stages.evaluation.chart_instances --instances {input.instances:q} --images {input.images:q}"
        " --ground-truth {input.ground_truth:q} --output {output.data:q} --output-classes {output.classes:q}"
        " --output-errors {output.errors:q} --output-reliability {output.reliability:q}"
        " --output-sizes {output.sizes:q} --output-overlaps {output.overlaps:q}"
        " --settings {params.settings:q} --log {log:q}"


rule report_proposals:
    input:
        proposals="results/{dataset}/{split}/proposals/{source}.h5",
        ground_truth="results/{dataset}/{split}/ground_truth.h5",
    output:
        report=in_report(
            "results/{dataset}/{split}/proposals/{source}.report.json",
            "proposals",
            "recall and overlap",
            "proposals",
        ),
        plot=in_report(
            "results/{dataset}/{split}/proposals/{source}.recall.svg",
            "proposals",
            "recall over number",
            "proposals",
        ),
    log:
        "results/{dataset}/logs/report_proposals.{split}.{source}.log",
    benchmark:
        "results/{dataset}/benchmarks/report_proposals.{split}.{source}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(120),
    params:
        settings=lambda wildcards: project.evaluation.proposals.canonical(),
        code=code_digest("stages.evaluation.report_proposals"),
    shell:
        "python -m stages.evaluation.report_proposals --proposals {input.proposals:q}"
        " --ground-truth {input.ground_truth:q} --output {output.report:q} --output-plot {output.plot:q}"
        " --settings {params.settings:q} --log {log:q}"


rule report_cues:
    input:
        images="results/{dataset}/{split}/images.h5",
        cues="results/{dataset}/{split}/cues/{classifier}.h5",
        ground_truth="results/{dataset}/{split}/ground_truth.h5",
    output:
        in_report(
            "results/{dataset}/{split}/cues/{classifier}.report.json",
            "cues",
            "classification and peaks",
            "cues",
        ),
    log:
        "results/{dataset}/logs/report_cues.{split}.{classifier}.log",
    benchmark:
        "results/{dataset}/benchmarks/report_cues.{split}.{classifier}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=5),
    params:
        code=code_digest("stages.evaluation.report_cues"),
    shell:
        "python -m stages.evaluation.report_cues --images {input.images:q} --cues {input.cues:q}"
        " --ground-truth {input.ground_truth:q} --output {output:q} --log {log:q}"


rule report_semantics:
    input:
        maps="results/{dataset}/{split}/semantics/{source}.h5",
        ground_truth="results/{dataset}/{split}/ground_truth.h5",
    output:
        in_report(
            "results/{dataset}/{split}/semantics/{source}.report.json",
            "semantics",
            "IoU of maps",
            "semantics",
        ),
    log:
        "results/{dataset}/logs/report_semantics.{split}.{source}.log",
    benchmark:
        "results/{dataset}/benchmarks/report_semantics.{split}.{source}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(120),
    params:
        code=code_digest("stages.evaluation.report_semantics"),
    shell:
        "python -m stages.evaluation.report_semantics --maps {input.maps:q} --ground-truth {input.ground_truth:q}"
        " --output {output:q} --log {log:q}"


# The same for the labels that a source's network is trained on.
use rule report_semantics as report_pixel_labels with:
    input:
        maps="results/{dataset}/semantics/{source}/labels.h5",
        ground_truth=f"results/{{dataset}}/{project.splits.train}/ground_truth.h5",
    output:
        in_report(
            "results/{dataset}/semantics/{source}/labels.report.json",
            "semantics",
            "IoU of training labels",
            "semantics",
        ),
    log:
        "results/{dataset}/logs/report_pixel_labels.{source}.log",
    benchmark:
        "results/{dataset}/benchmarks/report_pixel_labels.{source}.tsv"


rule report_cluster_labels:
    input:
        cluster_labels="results/{dataset}/{run}/cluster_labels/{split}.h5",
        proposals=proposals_of_run,
        ground_truth="results/{dataset}/{split}/ground_truth.h5",
    output:
        in_report(
            "results/{dataset}/{run}/cluster_labels/{split}.report.json",
            "labels",
            "AGPL labels",
            "cluster_labels",
        ),
    log:
        "results/{dataset}/logs/{run}/report_cluster_labels.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/report_cluster_labels.{split}.tsv"
    wildcard_constraints:
        run=one_of(graph.reported_by(project, "cluster_labels")[0]),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(120),
    params:
        settings=lambda wildcards: project.evaluation.cluster_labels.canonical(),
        code=code_digest("stages.evaluation.report_cluster_labels"),
    shell:
        "python -m stages.evaluation.report_cluster_labels --cluster-labels {input.cluster_labels:q}"
        " --proposals {input.proposals:q} --ground-truth {input.ground_truth:q} --output {output:q}"
        " --settings {params.settings:q} --log {log:q}"


# Masks that a run is trained on, whoever made them: components, pseudo masks, refined labels.
rule report_masks:
    input:
        labels=labels_to_report,
        ground_truth="results/{dataset}/{split}/ground_truth.h5",
    output:
        report=in_report(
            "results/{dataset}/{run}/{labels}/{split}.report.json",
            "labels",
            "counts",
            "masks",
        ),
        plot=in_report(
            "results/{dataset}/{run}/{labels}/{split}.png",
            "labels",
            "right and wrong",
            "masks",
        ),
    log:
        "results/{dataset}/logs/{run}/report_masks.{labels}.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/report_masks.{labels}.{split}.tsv"
    wildcard_constraints:
        run=one_of(graph.reported_by(project, "masks")[0]),
        labels=one_of(graph.reported_by(project, "masks")[1]),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(120),
    params:
        settings=lambda wildcards: project.evaluation.pseudo_masks.canonical(),
        code=code_digest("stages.evaluation.report_masks"),
    shell:
        "python -m stages.evaluation.report_masks --labels {input.labels:q} --ground-truth {input.ground_truth:q}"
        " --output {output.report:q} --output-plot {output.plot:q} --settings {params.settings:q} --log {log:q}"


rule compare_runs:
    input:
        metrics=expand(
            "results/{{dataset}}/{run}/{split}/metrics.json",
            run=project.measured,
            split=project.splits.evaluate,
        ),
        charts=expand(
            "results/{{dataset}}/{run}/{split}/charts.json",
            run=project.measured,
            split=project.splits.evaluate,
        ),
        borrowed=notes_of_borrowed,
    output:
        markdown="results/{dataset}/comparison.md",
        html=in_report(
            "results/{dataset}/comparison.html", "comparison", "all runs", "comparison"
        ),
        json="results/{dataset}/comparison.json",
    log:
        "results/{dataset}/logs/compare_runs.log",
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        settings=lambda wildcards: project.comparison(
            steps=[r.name for r in workflow.rules]
        ).canonical(),
        code=code_digest("stages.evaluation.compare_runs"),
    shell:
        "python -m stages.evaluation.compare_runs --metrics {input.metrics:q} --charts {input.charts:q}"
        " --borrowed {input.borrowed:q} --benchmarks results/{wildcards.dataset:q}/benchmarks --output-markdown {output.markdown:q}"
        " --output-html {output.html:q} --output-json {output.json:q} --settings {params.settings:q} --log {log:q}"
