# Galleries: one page a run, one row a picture, from what it starts from to predictions and truth.

GALLERY_SPLIT = project.splits.evaluate[0]


def shown(pattern, field):
    """Path of the artifact that a run takes from upstream, on the gallery's split, or nothing where it takes none."""

    def path(wildcards):
        run = project.runs[wildcards.run]
        name = getattr(run, field)
        if name is None or (field == "proposals" and not run.uses_proposals):
            return []
        return f"results/{wildcards.dataset}/{GALLERY_SPLIT}/" + pattern.format(
            name=name
        )

    return path


def runs_to_show():
    """Names of the runs with all that a gallery shows; without training there are no cues."""
    return [name for name, run in project.runs.items() if run.trains]


def shown_of_run(pattern, names):
    """Path of an artifact of the run on the gallery's split, for the runs that have it, else nothing."""

    def path(wildcards):
        if wildcards.run not in names:
            return []
        return pattern.format(**wildcards, split=GALLERY_SPLIT)

    return path


def semantic_cues_to_show(wildcards):
    """Cues of the classifier that the run's semantic maps come from, where its own cues are another's, else nothing."""
    run = project.runs[wildcards.run]
    source = project.semantics[run.semantics] if run.uses_semantics else None
    head = getattr(source, "cues", run.cues)
    if head == run.cues:
        return []
    return f"results/{wildcards.dataset}/{GALLERY_SPLIT}/cues/{head}.h5"


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
        semantics=shown("semantics/{name}.h5", "semantics"),
        semantic_cues=semantic_cues_to_show,
        cues=shown("cues/{name}.h5", "cues"),
        cluster_labels=shown_of_run(
            "results/{dataset}/{run}/cluster_labels/{split}.h5", runs_with_labels()
        ),
        pseudo_instances=shown_of_run(
            "results/{dataset}/{run}/pseudo_instances/{split}.h5",
            trained_here("bestie"),
        ),
        refined_labels=shown_of_run(
            "results/{dataset}/{run}/refined_labels/{split}.h5", refining()
        ),
        maps=shown_of_run(
            "results/{dataset}/{run}/{split}/maps.h5", trained_here("bestie")
        ),
        instances=f"results/{{dataset}}/{{run}}/{GALLERY_SPLIT}/instances.h5",
        refined=shown_of_run(
            "results/{dataset}/{run}/mask_rcnn/{split}/instances.h5", project.refined
        ),
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
        code=code_digest("stages.inspection.build_gallery"),
    shell:
        "python -m stages.inspection.build_gallery --images {input.images} --proposals {input.proposals}"
        " --semantics {input.semantics} --semantic-cues {input.semantic_cues} --cues {input.cues}"
        " --cluster-labels {input.cluster_labels} --pseudo-instances {input.pseudo_instances}"
        " --refined-labels {input.refined_labels} --maps {input.maps} --instances {input.instances}"
        " --refined {input.refined} --ground-truth {input.ground_truth} --metrics {input.metrics} --output {output}"
        " --settings {params.settings:q} --log {log}"
