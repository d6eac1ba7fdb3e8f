# Galleries: one page a run, one row a picture, from proposals to predictions and truth.

GALLERY_SPLIT = project.splits.evaluate[0]


def labels_to_show(wildcards):
    if wildcards.run not in runs_with_labels():
        return []
    return (
        f"results/{wildcards.dataset}/{wildcards.run}/cluster_labels/{GALLERY_SPLIT}.h5"
    )


def refined_instances(wildcards):
    """Mask R-CNN's instances where the run is refined, else nothing."""
    if wildcards.run not in project.refined:
        return []
    return f"results/{wildcards.dataset}/{wildcards.run}/mask_rcnn/{GALLERY_SPLIT}/instances.h5"


def shown(pattern, field):
    """Path of the artifact that a run takes from upstream, on the gallery's split."""

    def path(wildcards):
        name = getattr(project.runs[wildcards.run], field)
        return f"results/{wildcards.dataset}/{GALLERY_SPLIT}/" + pattern.format(
            name=name
        )

    return path


def runs_to_show():
    """Names of the runs with all that a gallery shows; without training there are no cues."""
    return [name for name, run in project.runs.items() if run.trains and run.uses_proposals]


rule inspection:
    input:
        expand(
            "results/{dataset}/{run}/gallery/index.html",
            dataset=DATASET,
            run=runs_to_show(),
        ),


rule build_gallery:
    input:
        images=f"results/{{dataset}}/{GALLERY_SPLIT}/images.h5",
        proposals=shown("proposals/{name}.h5", "proposals"),
        cues=shown("cues/{name}.h5", "cues"),
        cluster_labels=labels_to_show,
        instances=f"results/{{dataset}}/{{run}}/{GALLERY_SPLIT}/instances.h5",
        refined=refined_instances,
        ground_truth=f"results/{{dataset}}/{GALLERY_SPLIT}/ground_truth.h5",
        metrics=f"results/{{dataset}}/{{run}}/{GALLERY_SPLIT}/metrics.json",
        # Not read through an import, so the digest of the code does not see it.
        template=workflow.source_path("../stages/inspection/gallery.html.jinja"),
    output:
        "results/{dataset}/{run}/gallery/index.html",
    log:
        "results/{dataset}/logs/{run}/build_gallery.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/build_gallery.tsv"
    wildcard_constraints:
        run=one_of(runs_to_show()),
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=lambda wildcards: project.inspection.canonical(),
        code=code_digest("stages.inspection.gallery"),
    shell:
        "python -m stages.inspection.gallery --images {input.images} --proposals {input.proposals} --cues {input.cues}"
        " --cluster-labels {input.cluster_labels} --instances {input.instances} --refined {input.refined}"
        " --ground-truth {input.ground_truth} --metrics {input.metrics} --output {output} --settings {params.settings:q} --log {log}"


rule draw_overlays:
    input:
        images="results/{dataset}/{split}/images.h5",
        instances="results/{dataset}/{run}/{split}/instances.h5",
    output:
        directory("results/{dataset}/{run}/{split}/exports/overlays"),
    log:
        "results/{dataset}/logs/{run}/draw_overlays.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/draw_overlays.{split}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        settings=lambda wildcards: project.exports.overlays_of(
            "predictions"
        ).canonical(),
        code=code_digest("stages.inspection.draw_overlays"),
    shell:
        "python -m stages.inspection.draw_overlays --images {input.images} --instances {input.instances}"
        " --output {output} --settings {params.settings:q} --log {log}"
