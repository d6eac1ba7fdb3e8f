# CIM (IJCAI 2023): AGPL labels proposals from cues, the network mines complete instances, prediction picks proposals.


def runs_with_labels():
    """Names of the runs that train on AGPL's labels."""
    return graph.runs_that_make(project, "{run}/cluster_labels/{split}.h5")


def labels_of_run(wildcards):
    """AGPL's labels of the training split, or nothing in the ablation without them."""
    if wildcards.run not in runs_with_labels():
        return []
    return f"results/{wildcards.dataset}/{wildcards.run}/cluster_labels/{project.splits.train}.h5"


rule cim:
    input:
        expand(
            "results/{dataset}/{run}/{split}/instances.h5",
            dataset=DATASET,
            run=predicted_here("cim"),
            split=project.splits.evaluate,
        ),
    localrule: True


rule label_clusters:
    input:
        images="results/{dataset}/{split}/images.h5",
        proposals=proposals_of_run,
        cues=cues_of_run,
    output:
        "results/{dataset}/{run}/cluster_labels/{split}.h5",
    log:
        "results/{dataset}/logs/{run}/label_clusters.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/label_clusters.{split}.tsv"
    wildcard_constraints:
        run=one_of(trained_here("cim")),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=20),
    params:
        settings=lambda wildcards: project.runs[wildcards.run].cim.agpl.canonical(),
        code=code_digest("stages.cim.label_clusters"),
    shell:
        "python -m stages.cim.label_clusters --images {input.images:q} --proposals {input.proposals:q}"
        " --cues {input.cues:q} --output {output:q} --settings {params.settings:q} --log {log:q}"


rule train_cim:
    input:
        images=f"results/{{dataset}}/{project.splits.train}/images.h5",
        proposals=training_proposals_of_run,
        cluster_labels=labels_of_run,
        backbone_weights=classifier_of_run("cim"),
    output:
        weights="results/{dataset}/{run}/network/weights.safetensors",
        curves="results/{dataset}/{run}/network/curves.json",
        plot=in_report(
            "results/{dataset}/{run}/network/curves.png",
            "training",
            "run {run}",
            "curves",
        ),
    log:
        "results/{dataset}/logs/{run}/train_cim.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/train_cim.tsv"
    wildcard_constraints:
        run=one_of(trained_here("cim")),
    conda:
        software
    threads: TRAINING_THREADS
    resources:
        **TRAINING_GPUS,
        mem_mb=memory(24000),
        runtime=minutes(2880),
    params:
        settings=lambda wildcards: project.runs[wildcards.run].cim.train.canonical(),
        code=code_digest("stages.cim.train_cim"),
    shell:
        LAUNCH
        + " stages.cim.train_cim --images {input.images:q} --proposals {input.proposals:q}"
        " --cluster-labels {input.cluster_labels:q} --backbone-weights {input.backbone_weights:q}"
        " --output-weights {output.weights:q} --output-curves {output.curves:q} --output-plot {output.plot:q}"
        f" --settings {{params.settings:q}} --device {project.device} --log {{log:q}}"


rule convert_cim:
    input:
        checkpoint=checkpoint_of_run,
        images=f"results/{{dataset}}/{project.predicted_splits[0]}/images.h5",
    output:
        weights="results/{dataset}/{run}/network/weights.safetensors",
        card="results/{dataset}/{run}/network/README.md",
    log:
        "results/{dataset}/logs/{run}/convert_cim.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/convert_cim.tsv"
    wildcard_constraints:
        run=one_of(converted_here("cim")),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime=minutes(30),
    params:
        settings=lambda wildcards: project.runs[wildcards.run].cim.train.canonical(),
        supervision=supervision_of_run,
        code=code_digest("stages.cim.convert_cim"),
    shell:
        "python -m stages.cim.convert_cim --checkpoint {input.checkpoint:q} --images {input.images:q}"
        " --output-weights {output.weights:q} --output-card {output.card:q} --settings {params.settings:q}"
        " --supervision {params.supervision:q} --log {log:q}"


rule predict_cim:
    input:
        images="results/{dataset}/{split}/images.h5",
        proposals=proposals_of_run,
        semantics=maps_of_prediction("{run}"),
        weights=weights_of(
            "network", "results/{dataset}/{run}/network/weights.safetensors"
        ),
    output:
        "results/{dataset}/{run}/{split}/instances.h5",
    log:
        "results/{dataset}/logs/{run}/predict_cim.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/predict_cim.{split}.tsv"
    wildcard_constraints:
        run=one_of(predicted_here("cim")),
    conda:
        software
    threads: project.threads
    resources:
        gpu=min(GPUS, 1),
        mem_mb=memory(12000),
        runtime=minutes(30, per_1000_images=120),
    params:
        settings=lambda wildcards: project.runs[wildcards.run].cim.predict.canonical(),
        code=code_digest("stages.cim.predict_cim"),
    shell:
        "python -m stages.cim.predict_cim --images {input.images:q} --proposals {input.proposals:q} --weights {input.weights:q}"
        " --semantics {input.semantics:q}"
        " --output {output:q} --run {wildcards.run:q}"
        f" --settings {{params.settings:q}} --device {project.device} --log {{log:q}}"
