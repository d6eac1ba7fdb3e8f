# BESTIE (CVPR 2022): components of semantic maps with one cue teach centers and offsets, which refine themselves.


def iterating():
    """Names of the runs that are trained on another run's predictions."""
    return [
        name
        for name in trained_here("bestie")
        if project.runs[name].iterates is not None
    ]


def refining():
    """Names of the runs that refine their own labels."""
    return [
        name
        for name in trained_here("bestie")
        if project.runs[name].bestie.train.refinement.enabled
    ]


def instances_to_iterate(wildcards):
    before = project.runs[wildcards.run].iterates
    return f"results/{wildcards.dataset}/{before}/{wildcards.split}/instances.h5"


def points_of_run(wildcards):
    """The points of the split where the run's prediction groups pixels to them, else nothing."""
    if not project.runs[wildcards.run].bestie.predict.use_points:
        return []
    return cues_of_run(wildcards)


rule bestie:
    input:
        expand(
            "results/{dataset}/{run}/{split}/instances.h5",
            dataset=DATASET,
            run=predicted_here("bestie"),
            split=project.splits.evaluate,
        ),
    localrule: True


rule transfer_semantics:
    input:
        images="results/{dataset}/{split}/images.h5",
        semantics=semantics_of_run,
        cues=cues_of_run,
    output:
        "results/{dataset}/{run}/pseudo_instances/{split}.h5",
    log:
        "results/{dataset}/logs/{run}/transfer_semantics.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/transfer_semantics.{split}.tsv"
    wildcard_constraints:
        run=one_of(sorted(set(trained_here("bestie")) - set(iterating()))),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=20),
    params:
        settings=lambda wildcards: project.runs[
            wildcards.run
        ].bestie.transfer.canonical(),
        code=code_digest("stages.bestie.transfer_semantics"),
    shell:
        "python -m stages.bestie.transfer_semantics --images {input.images:q} --semantics {input.semantics:q}"
        " --cues {input.cues:q} --output {output:q} --run {wildcards.run:q} --settings {params.settings:q} --log {log:q}"


rule iterate_instances:
    input:
        images="results/{dataset}/{split}/images.h5",
        semantics=semantics_of_run,
        instances=instances_to_iterate,
    output:
        "results/{dataset}/{run}/pseudo_instances/{split}.h5",
    log:
        "results/{dataset}/logs/{run}/iterate_instances.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/iterate_instances.{split}.tsv"
    wildcard_constraints:
        run=one_of(iterating()),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=20),
    params:
        settings=lambda wildcards: project.runs[
            wildcards.run
        ].bestie.iteration.canonical(),
        code=code_digest("stages.bestie.iterate_instances"),
    shell:
        "python -m stages.bestie.iterate_instances --images {input.images:q} --semantics {input.semantics:q}"
        " --instances {input.instances:q} --output {output:q} --run {wildcards.run:q} --settings {params.settings:q}"
        " --log {log:q}"


rule train_bestie:
    input:
        images=f"results/{{dataset}}/{project.splits.train}/images.h5",
        pseudo_instances=f"results/{{dataset}}/{{run}}/pseudo_instances/{project.splits.train}.h5",
        backbone_weights=classifier_of_run("bestie"),
    output:
        weights="results/{dataset}/{run}/network/weights.safetensors",
        curves="results/{dataset}/{run}/network/curves.json",
        plot=in_report(
            "results/{dataset}/{run}/network/curves.png",
            "training",
            "run {run}",
            "curves",
        ),
        snapshots="results/{dataset}/{run}/network/snapshots.safetensors",
    log:
        "results/{dataset}/logs/{run}/train_bestie.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/train_bestie.tsv"
    wildcard_constraints:
        run=one_of(trained_here("bestie")),
    conda:
        software
    threads: TRAINING_THREADS
    resources:
        **TRAINING_GPUS,
        mem_mb=memory(24000),
        runtime=minutes(2880),
    params:
        settings=lambda wildcards: project.runs[wildcards.run].bestie.train.canonical(),
        code=code_digest("stages.bestie.train_bestie"),
    shell:
        LAUNCH
        + " stages.bestie.train_bestie --images {input.images:q} --pseudo-instances {input.pseudo_instances:q}"
        " --backbone-weights {input.backbone_weights:q} --output-weights {output.weights:q}"
        " --output-curves {output.curves:q} --output-plot {output.plot:q} --output-snapshots {output.snapshots:q}"
        f" --settings {{params.settings:q}} --device {project.device} --log {{log:q}}"


# Made to be looked at: nothing is learnt from it.
rule refine_labels:
    input:
        images="results/{dataset}/{split}/images.h5",
        pseudo_instances="results/{dataset}/{run}/pseudo_instances/{split}.h5",
        weights="results/{dataset}/{run}/network/weights.safetensors",
        snapshots="results/{dataset}/{run}/network/snapshots.safetensors",
    output:
        "results/{dataset}/{run}/refined_labels/{split}.h5",
    log:
        "results/{dataset}/logs/{run}/refine_labels.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/refine_labels.{split}.tsv"
    wildcard_constraints:
        run=one_of(refining()),
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
        ].bestie.refined_maps.canonical(),
        code=code_digest("stages.bestie.refine_labels"),
    shell:
        "python -m stages.bestie.refine_labels --images {input.images:q} --pseudo-instances {input.pseudo_instances:q}"
        " --weights {input.weights:q} --snapshots {input.snapshots:q} --output {output:q}"
        f" --settings {{params.settings:q}} --device {project.device} --log {{log:q}}"


rule convert_bestie:
    input:
        checkpoint=checkpoint_of_run,
        images=f"results/{{dataset}}/{project.predicted_splits[0]}/images.h5",
    output:
        weights="results/{dataset}/{run}/network/weights.safetensors",
        card="results/{dataset}/{run}/network/README.md",
    log:
        "results/{dataset}/logs/{run}/convert_bestie.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/convert_bestie.tsv"
    wildcard_constraints:
        run=one_of(converted_here("bestie")),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime=minutes(30),
    params:
        settings=lambda wildcards: project.runs[wildcards.run].bestie.train.canonical(),
        supervision=supervision_of_run,
        code=code_digest("stages.bestie.convert_bestie"),
    shell:
        "python -m stages.bestie.convert_bestie --checkpoint {input.checkpoint:q} --images {input.images:q}"
        " --output-weights {output.weights:q} --output-card {output.card:q} --settings {params.settings:q}"
        " --supervision {params.supervision:q} --log {log:q}"


rule predict_bestie:
    input:
        images="results/{dataset}/{split}/images.h5",
        weights=weights_of(
            "network", "results/{dataset}/{run}/network/weights.safetensors"
        ),
        cues=points_of_run,
        semantics=maps_of_prediction("{run}"),
    output:
        instances="results/{dataset}/{run}/{split}/instances.h5",
        maps="results/{dataset}/{run}/{split}/maps.h5",
    log:
        "results/{dataset}/logs/{run}/predict_bestie.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/predict_bestie.{split}.tsv"
    wildcard_constraints:
        run=one_of(predicted_here("bestie")),
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
        ].bestie.predict.canonical(),
        code=code_digest("stages.bestie.predict_bestie"),
    shell:
        "python -m stages.bestie.predict_bestie --images {input.images:q} --weights {input.weights:q}"
        " --cues {input.cues:q} --semantics {input.semantics:q} --output {output.instances:q}"
        " --output-maps {output.maps:q} --run {wildcards.run:q}"
        f" --settings {{params.settings:q}} --device {project.device} --log {{log:q}}"
