# Galleries: a page for each run, a row an image, from what it starts from to predictions and ground truth; and one on
# which the runs stand side by side.

GALLERY_SPLIT = project.inspection.split or project.predicted_splits[0]


def runs_to_show():
    """Names of the runs with all that a gallery shows; without training there are no cues."""
    return [name for name, run in project.runs.items() if run.trains]


def artifacts_to_show(wildcards):
    paths = graph.shown_of_run(project, wildcards.run, GALLERY_SPLIT)
    return [f"results/{wildcards.dataset}/{path}" for path in paths]


def galleries_for_the_report():
    return [
        f"results/{DATASET}/{run}/gallery/sample/index.html" for run in runs_to_show()
    ]


def joint_gallery():
    """The page on which the runs are compared, where there are several."""
    of = {name.partition("/")[0] for name in project.outcomes}
    return [f"results/{DATASET}/gallery/index.html"] if len(of) > 1 else []


rule inspection:
    input:
        expand(
            "results/{dataset}/{run}/gallery/index.html",
            dataset=DATASET,
            run=runs_to_show(),
        ),
        joint_gallery(),
    localrule: True


rule build_gallery:
    input:
        images=f"results/{{dataset}}/{GALLERY_SPLIT}/images.h5",
        artifacts=artifacts_to_show,
        ground_truth=f"results/{{dataset}}/{GALLERY_SPLIT}/ground_truth.h5",
        metrics=f"results/{{dataset}}/{{run}}/{GALLERY_SPLIT}/metrics.json",
    output:
        page="results/{dataset}/{run}/gallery/index.html",
        data=directory("results/{dataset}/{run}/gallery/data"),
    log:
        "results/{dataset}/logs/{run}/build_gallery.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/build_gallery.tsv"
    wildcard_constraints:
        run=one_of(runs_to_show()),
    conda:
        software
    threads: 2
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=5),
    params:
        settings=project.inspection.gallery.canonical(),
        code=code_digest("stages.inspection.build_gallery"),
    shell:
        "python -m stages.inspection.build_gallery --threads {threads} --images {input.images:q} --artifacts {input.artifacts:q}"
        " --ground-truth {input.ground_truth:q} --metrics {input.metrics:q} --output {output.page:q}"
        " --output-data {output.data:q} --settings {params.settings:q} --log {log:q}"


# Some images, all on one page, for the report, in which nothing lies beside a page.
use rule build_gallery as build_sample_gallery with:
    output:
        page=in_report(
            "results/{dataset}/{run}/gallery/sample/index.html",
            "galleries",
            "gallery",
            "gallery",
        ),
        data=directory("results/{dataset}/{run}/gallery/sample/data"),
    log:
        "results/{dataset}/logs/{run}/build_sample_gallery.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/build_sample_gallery.tsv"
    params:
        settings=project.inspection.sample.canonical(),
        code=code_digest("stages.inspection.build_gallery"),


# The predictions of all runs, and of what is on top of them, on one page.
use rule build_gallery as build_joint_gallery with:
    input:
        images=f"results/{{dataset}}/{GALLERY_SPLIT}/images.h5",
        artifacts=expand(
            f"results/{{{{dataset}}}}/{{run}}/{GALLERY_SPLIT}/instances.h5",
            run=project.outcomes,
        ),
        ground_truth=f"results/{{dataset}}/{GALLERY_SPLIT}/ground_truth.h5",
        metrics=[],
    output:
        page="results/{dataset}/gallery/index.html",
        data=directory("results/{dataset}/gallery/data"),
    log:
        "results/{dataset}/logs/build_joint_gallery.log",
    benchmark:
        "results/{dataset}/benchmarks/build_joint_gallery.tsv"


# Off the main path: what people have said of predictions in the galleries.
rule marks:
    input:
        expand(
            "results/{dataset}/{run}/gallery/marks.report.json",
            dataset=DATASET,
            run=project.inspection.marks,
        ),
    localrule: True


rule report_marks:
    input:
        images=f"results/{{dataset}}/{GALLERY_SPLIT}/images.h5",
        instances=f"results/{{dataset}}/{{run}}/{GALLERY_SPLIT}/instances.h5",
        marks=lambda wildcards: project.inspection.marks[wildcards.run],
    output:
        "results/{dataset}/{run}/gallery/marks.report.json",
    log:
        "results/{dataset}/logs/{run}/report_marks.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/report_marks.tsv"
    wildcard_constraints:
        run=one_of(list(project.inspection.marks)),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
    params:
        code=code_digest("stages.inspection.report_marks"),
    shell:
        "python -m stages.inspection.report_marks --images {input.images:q} --instances {input.instances:q}"
        " --marks {input.marks:q} --output {output:q} --log {log:q}"


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
