# Galleries: one page per run, one row per image, from what it starts from to predictions and ground truth.

GALLERY_SPLIT = project.predicted_splits[0]


def runs_to_show():
    """Names of the runs with all that a gallery shows; without training there are no cues."""
    return [name for name, run in project.runs.items() if run.trains]


def artifacts_to_show(wildcards):
    paths = graph.shown_of_run(project, wildcards.run, GALLERY_SPLIT)
    return [f"results/{wildcards.dataset}/{path}" for path in paths]


rule inspection:
    input:
        expand(
            "results/{dataset}/{run}/gallery/index.html",
            dataset=DATASET,
            run=runs_to_show(),
        ),
    localrule: True


rule build_gallery:
    input:
        images=f"results/{{dataset}}/{GALLERY_SPLIT}/images.h5",
        artifacts=artifacts_to_show,
        ground_truth=f"results/{{dataset}}/{GALLERY_SPLIT}/ground_truth.h5",
        metrics=f"results/{{dataset}}/{{run}}/{GALLERY_SPLIT}/metrics.json",
    output:
        in_report(
            "results/{dataset}/{run}/gallery/index.html",
            "galleries",
            "gallery",
            "gallery",
        ),
    log:
        "results/{dataset}/logs/{run}/build_gallery.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/build_gallery.tsv"
    wildcard_constraints:
        run=one_of(runs_to_show()),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=5),
    params:
        settings=lambda wildcards: project.inspection.canonical(),
        code=code_digest("stages.inspection.build_gallery"),
    shell:
        "python -m stages.inspection.build_gallery --images {input.images:q} --artifacts {input.artifacts:q}"
        " --ground-truth {input.ground_truth:q} --metrics {input.metrics:q} --output {output:q}"
        " --settings {params.settings:q} --log {log:q}"


# Off the main path: nothing needs it. The tags that a user should look at first.
rule suspect_tags:
    input:
        expand("results/{dataset}/suspect_tags/index.html", dataset=DATASET),
    localrule: True


rule report_suspect_tags:
    input:
        images=f"results/{{dataset}}/{project.splits.train}/images.h5",
        scores=expand(
            "results/{{dataset}}/suspect_tags/fold_{fold}/scores.h5",
            fold=range(project.suspect_tags.folds.count),
        ),
    output:
        report="results/{dataset}/suspect_tags/report.json",
        list="results/{dataset}/suspect_tags/suspect_tags.csv",
        page="results/{dataset}/suspect_tags/index.html",
    log:
        "results/{dataset}/logs/report_suspect_tags.log",
    benchmark:
        "results/{dataset}/benchmarks/report_suspect_tags.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=5),
    params:
        settings=project.suspect_tags.page.canonical(),
        code=code_digest("stages.inspection.report_suspect_tags"),
    shell:
        "python -m stages.inspection.report_suspect_tags --images {input.images:q} --scores {input.scores:q}"
        " --output-report {output.report:q} --output-list {output.list:q} --output-page {output.page:q}"
        " --settings {params.settings:q} --log {log:q}"
