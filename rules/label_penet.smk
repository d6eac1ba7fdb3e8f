# Label-PEnet (ICCV 2019): four modules, each trained on what the one before says of the images, then all together.
from stages.label_penet.settings import MODULES


def part_of(wildcards):
    """The module that a part of a run is, and whether after fine-tuning; the run itself is the last, fine-tuned."""
    run, _, part = wildcards.run.partition("/")
    name = part.removesuffix("_finetuned") or MODULES[-1]
    return run, name, part not in MODULES


def parts_of_runs():
    """Names of the runs and of their parts."""
    return [
        name for name in project.measured if project.stage_of(name) == "label_penet"
    ]


def labels_before_module(wildcards):
    """The labels that a module learns from; nothing for the first."""
    place = MODULES.index(wildcards.cascaded)
    if place == 0:
        return []
    return f"results/{wildcards.dataset}/{wildcards.run}/{MODULES[place - 1]}_labels/{project.splits.train}.h5"


def proposals_of_first_module(wildcards):
    return (
        training_proposals_of_run(wildcards) if wildcards.cascaded == MODULES[0] else []
    )


def proposals_of_part(wildcards):
    run, name, _ = part_of(wildcards)
    if name != MODULES[0]:
        return []
    return f"results/{wildcards.dataset}/{wildcards.split}/proposals/{project.runs[run].proposals}.h5"


def weights_of_part(wildcards):
    run, name, finetuned = part_of(wildcards)
    folder = f"results/{wildcards.dataset}/{run}"
    if not finetuned:
        return f"{folder}/{name}/network/weights.safetensors"
    return project.runs[run].trained.network or f"{folder}/network/weights.safetensors"


rule label_penet:
    input:
        expand(
            "results/{dataset}/{run}/{split}/instances.h5",
            dataset=DATASET,
            run=parts_of_runs(),
            split=project.splits.evaluate,
        ),
    localrule: True


rule pretrain_module:
    input:
        images=f"results/{{dataset}}/{project.splits.train}/images.h5",
        proposals=proposals_of_first_module,
        labels=labels_before_module,
        backbone_weights=classifier_of_run("label_penet"),
    output:
        weights="results/{dataset}/{run}/{cascaded}/network/weights.safetensors",
        curves="results/{dataset}/{run}/{cascaded}/network/curves.json",
        plot=in_report(
            "results/{dataset}/{run}/{cascaded}/network/curves.png",
            "training",
            "run {run}, {cascaded}",
            "curves",
        ),
    log:
        "results/{dataset}/logs/{run}/pretrain_module.{cascaded}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/pretrain_module.{cascaded}.tsv"
    wildcard_constraints:
        run=one_of(trained_here("label_penet")),
        cascaded="|".join(MODULES),
    conda:
        software
    threads: TRAINING_THREADS
    resources:
        **TRAINING_GPUS,
        mem_mb=memory(24000),
        runtime=minutes(1440),
    params:
        settings=lambda wildcards: project.runs[wildcards.run]
        .label_penet.train.of(wildcards.cascaded)
        .canonical(),
        code=code_digest("stages.label_penet.pretrain_module"),
    shell:
        LAUNCH
        + " stages.label_penet.pretrain_module --images {input.images:q} --proposals {input.proposals:q}"
        " --labels {input.labels:q} --backbone-weights {input.backbone_weights:q}"
        " --output-weights {output.weights:q} --output-curves {output.curves:q} --output-plot {output.plot:q}"
        f" --settings {{params.settings:q}} --device {project.device} --log {{log:q}}"


rule propagate_labels:
    input:
        images="results/{dataset}/{split}/images.h5",
        proposals=proposals_of_run,
        weights="results/{dataset}/{run}/{cascaded}/network/weights.safetensors",
    output:
        "results/{dataset}/{run}/{cascaded}_labels/{split}.h5",
    log:
        "results/{dataset}/logs/{run}/propagate_labels.{cascaded}.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/propagate_labels.{cascaded}.{split}.tsv"
    wildcard_constraints:
        run=one_of(trained_here("label_penet")),
        cascaded="|".join(MODULES[:-1]),
    conda:
        software
    threads: project.threads
    resources:
        gpu=min(GPUS, 1),
        mem_mb=memory(8000),
        runtime=minutes(30, per_1000_images=120),
    params:
        settings=lambda wildcards: project.runs[wildcards.run]
        .label_penet.labels.of(wildcards.cascaded)
        .canonical(),
        code=code_digest("stages.label_penet.propagate_labels"),
    shell:
        "python -m stages.label_penet.propagate_labels --images {input.images:q} --proposals {input.proposals:q}"
        " --weights {input.weights:q} --output {output:q} --run {wildcards.run:q}"
        f" --settings {{params.settings:q}} --device {project.device} --log {{log:q}}"


rule train_label_penet:
    input:
        images=f"results/{{dataset}}/{project.splits.train}/images.h5",
        proposals=training_proposals_of_run,
        modules=expand(
            "results/{{dataset}}/{{run}}/{cascaded}/network/weights.safetensors",
            cascaded=MODULES,
        ),
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
        "results/{dataset}/logs/{run}/train_label_penet.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/train_label_penet.tsv"
    wildcard_constraints:
        run=one_of(trained_here("label_penet")),
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
        ].label_penet.finetuning.canonical(),
        code=code_digest("stages.label_penet.train_label_penet"),
    shell:
        LAUNCH
        + " stages.label_penet.train_label_penet --images {input.images:q} --proposals {input.proposals:q}"
        " --modules {input.modules:q} --output-weights {output.weights:q} --output-curves {output.curves:q}"
        " --output-plot {output.plot:q} --output-snapshots {output.snapshots:q}"
        f" --settings {{params.settings:q}} --device {project.device} --log {{log:q}}"


rule follow_labels:
    input:
        images="results/{dataset}/{split}/images.h5",
        proposals=proposals_of_run,
        weights="results/{dataset}/{run}/network/weights.safetensors",
        snapshots="results/{dataset}/{run}/network/snapshots.safetensors",
    output:
        "results/{dataset}/{run}/{cascaded}_followed/{split}.h5",
    log:
        "results/{dataset}/logs/{run}/follow_labels.{cascaded}.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/follow_labels.{cascaded}.{split}.tsv"
    wildcard_constraints:
        run=one_of(trained_here("label_penet")),
        cascaded="|".join(MODULES),
    conda:
        software
    threads: project.threads
    resources:
        gpu=min(GPUS, 1),
        mem_mb=memory(8000),
        runtime=minutes(30, per_1000_images=240),
    params:
        settings=lambda wildcards: project.runs[wildcards.run]
        .label_penet.labels.of(wildcards.cascaded)
        .canonical(),
        code=code_digest("stages.label_penet.follow_labels"),
    shell:
        "python -m stages.label_penet.follow_labels --images {input.images:q} --proposals {input.proposals:q}"
        " --weights {input.weights:q} --snapshots {input.snapshots:q} --output {output:q} --run {wildcards.run:q}"
        f" --settings {{params.settings:q}} --device {project.device} --log {{log:q}}"


rule predict_label_penet:
    input:
        images="results/{dataset}/{split}/images.h5",
        proposals=proposals_of_part,
        weights=weights_of_part,
        semantics=maps_of_prediction("{run}"),
    output:
        "results/{dataset}/{run}/{split}/instances.h5",
    log:
        "results/{dataset}/logs/{run}/predict_label_penet.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/predict_label_penet.{split}.tsv"
    wildcard_constraints:
        run=one_of(parts_of_runs()),
    conda:
        software
    threads: project.threads
    resources:
        gpu=min(GPUS, 1),
        mem_mb=memory(8000),
        runtime=minutes(30, per_1000_images=120),
    params:
        settings=lambda wildcards: project.runs[
            part_of(wildcards)[0]
        ].label_penet.predict.canonical(),
        asked=lambda wildcards: part_of(wildcards)[1],
        code=code_digest("stages.label_penet.predict_label_penet"),
    shell:
        "python -m stages.label_penet.predict_label_penet --images {input.images:q} --proposals {input.proposals:q}"
        " --weights {input.weights:q} --semantics {input.semantics:q} --output {output:q}"
        " --module {params.asked:q} --run {wildcards.run:q}"
        f" --settings {{params.settings:q}} --device {project.device} --log {{log:q}}"
