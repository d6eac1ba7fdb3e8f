# Retraining: a Mask R-CNN trained on a run's own masks of the training split. Its instances stand under <run>/mask_rcnn.


def marks_to_read(wildcards):
    """What people have marked in the run's gallery of the training split, where the run leaves it out; else nothing."""
    settings = project.runs[wildcards.run].mask_rcnn
    if (
        not METHODS["mask_rcnn"].reads_marks(settings)
        or wildcards.split != project.splits.train
    ):
        return []
    return project.inspection.marks[wildcards.run]


rule mask_rcnn:
    input:
        expand(
            "results/{dataset}/{run}/mask_rcnn/{split}/instances.h5",
            dataset=DATASET,
            run=project.retrained("mask_rcnn"),
            split=project.splits.evaluate,
        ),
    localrule: True


rule make_pseudo_masks:
    input:
        images="results/{dataset}/{split}/images.h5",
        instances="results/{dataset}/{run}/{split}/instances.h5",
        marks=marks_to_read,
    output:
        "results/{dataset}/{run}/mask_rcnn/pseudo_masks/{split}.h5",
    log:
        "results/{dataset}/logs/{run}/make_pseudo_masks.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/make_pseudo_masks.{split}.tsv"
    wildcard_constraints:
        run=one_of(project.retrained_here("mask_rcnn")),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=5),
    params:
        settings=lambda wildcards: project.runs[
            wildcards.run
        ].mask_rcnn.pseudo_masks.canonical(),
        code=code_digest("stages.mask_rcnn.make_pseudo_masks"),
    shell:
        "python -m stages.mask_rcnn.make_pseudo_masks --images {input.images:q} --instances {input.instances:q}"
        " --marks {input.marks:q} --output {output:q} --settings {params.settings:q} --log {log:q}"


rule train_mask_rcnn:
    input:
        images=f"results/{{dataset}}/{project.splits.train}/images.h5",
        pseudo_masks=f"results/{{dataset}}/{{run}}/mask_rcnn/pseudo_masks/{project.splits.train}.h5",
        backbone_weights=classifier_of_run("mask_rcnn"),
    output:
        weights="results/{dataset}/{run}/mask_rcnn/network/weights.safetensors",
        curves="results/{dataset}/{run}/mask_rcnn/network/curves.json",
        plot=in_report(
            "results/{dataset}/{run}/mask_rcnn/network/curves.png",
            "training",
            "Mask R-CNN of {run}",
            "curves",
        ),
    log:
        "results/{dataset}/logs/{run}/train_mask_rcnn.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/train_mask_rcnn.tsv"
    wildcard_constraints:
        run=one_of(project.retrained_here("mask_rcnn")),
    conda:
        software
    threads: TRAINING_THREADS
    resources:
        **TRAINING_GPUS,
        mem_mb=memory(24000),
        runtime=minutes(2880),
    params:
        settings=lambda wildcards: project.runs[
            wildcards.run
        ].mask_rcnn.train.canonical(),
        code=code_digest("stages.mask_rcnn.train_mask_rcnn"),
    shell:
        LAUNCH
        + " stages.mask_rcnn.train_mask_rcnn --images {input.images:q} --pseudo-masks {input.pseudo_masks:q}"
        " --backbone-weights {input.backbone_weights:q} --output-weights {output.weights:q}"
        " --output-curves {output.curves:q} --output-plot {output.plot:q} --settings {params.settings:q}"
        f" --device {project.device} --log {{log:q}}"


rule predict_mask_rcnn:
    input:
        images="results/{dataset}/{split}/images.h5",
        weights=weights_of(
            "mask_rcnn",
            "results/{dataset}/{run}/mask_rcnn/network/weights.safetensors",
        ),
        semantics=maps_of_prediction("{run}/mask_rcnn"),
    output:
        "results/{dataset}/{run}/mask_rcnn/{split}/instances.h5",
    log:
        "results/{dataset}/logs/{run}/predict_mask_rcnn.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/predict_mask_rcnn.{split}.tsv"
    wildcard_constraints:
        run=one_of(project.retrained("mask_rcnn")),
    conda:
        software
    threads: project.threads
    resources:
        gpu=min(GPUS, 1),
        mem_mb=memory(8000),
        runtime=minutes(30, per_1000_images=60),
    params:
        settings=lambda wildcards: project.runs[
            wildcards.run
        ].mask_rcnn.predict.canonical(),
        code=code_digest("stages.mask_rcnn.predict_mask_rcnn"),
    shell:
        "python -m stages.mask_rcnn.predict_mask_rcnn --images {input.images:q} --weights {input.weights:q}"
        " --semantics {input.semantics:q} --output {output:q} --run {wildcards.run:q}/mask_rcnn"
        f" --settings {{params.settings:q}} --device {project.device} --log {{log:q}}"
