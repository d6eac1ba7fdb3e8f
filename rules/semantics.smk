# Semantic maps by named sources: labels of pixels from cues, a segmentation network trained on them, PNG maps of another
# method, or (declared as such) the annotated maps.


def semantics_in_use():
    return sources.semantics_in_use(project)


def semantics_of_kind(*kinds):
    """Pattern of the names of the sources of these kinds; matches nothing where there are none."""
    return one_of([name for name, it in project.semantics.items() if it.kind in kinds])


def agreeing(wanted):
    """Pattern of the names of the networks whose labels are, or are not, those of an agreement."""
    networks = {
        name: it for name, it in project.semantics.items() if it.kind == "network"
    }
    return one_of(
        [name for name, it in networks.items() if (it.agreement is not None) == wanted]
    )


def semantics_trained_here():
    """Names of the sources in use that train a network."""
    return [
        name for name in semantics_in_use() if project.semantics[name].kind == "network"
    ]


def cues_of_source(split):
    """The response maps that the labels come from, on a split or that of the wildcards."""

    def path(wildcards):
        of = split or wildcards.split
        classifier = project.semantics[wildcards.source].cues
        return f"results/{wildcards.dataset}/{of}/cues/{classifier}.h5"

    return path


def backbone_of_source(wildcards):
    """The classifier's weights where the network's backbone starts from them, else nothing."""
    source = project.semantics[wildcards.source]
    if source.starts_from is not None:
        return []
    return classifier_to_start_from(wildcards, source.train.backbone, source.cues)


def weights_of_semantics(dataset, source):
    """The weights that a source brings, or those that the graph makes."""
    if project.semantics[source].kind == "weights":
        return project.semantics[source].weights
    return f"results/{dataset}/semantics/{source}/weights.safetensors"


def weights_of_source(wildcards):
    return weights_of_semantics(wildcards.dataset, wildcards.source)


def network_to_start_from(wildcards):
    """The weights of the source that the network goes on from, else nothing."""
    before = project.semantics[wildcards.source].starts_from
    return [] if before is None else weights_of_semantics(wildcards.dataset, before)


def maps_to_agree_with(wildcards):
    before = project.semantics[wildcards.source].agreement.semantics
    return f"results/{wildcards.dataset}/{project.splits.train}/semantics/{before}.h5"


def instances_to_agree_with(wildcards):
    run = project.semantics[wildcards.source].agreement.run
    return f"results/{wildcards.dataset}/{run}/{project.splits.train}/instances.h5"


def semantics_of_run(wildcards):
    return f"results/{wildcards.dataset}/{wildcards.split}/semantics/{project.runs[wildcards.run].semantics}.h5"


def maps_of_prediction(pattern):
    """The maps that prediction of a run, or of what is on top of it, reads, as an input function; else nothing."""

    def path(wildcards):
        source = sources.maps_of_prediction(project, pattern.format(**wildcards))
        if source is None:
            return []
        return f"results/{wildcards.dataset}/{wildcards.split}/semantics/{source}.h5"

    return path


rule semantics:
    input:
        expand(
            "results/{dataset}/{split}/semantics/{source}.{kind}",
            dataset=DATASET,
            split=project.worked_splits,
            source=semantics_in_use(),
            kind=["h5", "report.json"],
        ),
        expand(
            "results/{dataset}/semantics/{source}/labels.report.json",
            dataset=DATASET,
            source=semantics_trained_here(),
        ),
    localrule: True


rule label_pixels:
    input:
        images=f"results/{{dataset}}/{project.splits.train}/images.h5",
        cues=cues_of_source(project.splits.train),
    output:
        "results/{dataset}/semantics/{source}/labels.h5",
    log:
        "results/{dataset}/logs/label_pixels.{source}.log",
    benchmark:
        "results/{dataset}/benchmarks/label_pixels.{source}.tsv"
    wildcard_constraints:
        source=agreeing(False),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=60),
    params:
        settings=lambda wildcards: sources.labelling(
            project, wildcards.source
        ).canonical(),
        code=code_digest("stages.semantics.label_pixels"),
    shell:
        "python -m stages.semantics.label_pixels --images {input.images:q} --cues {input.cues:q} --output {output:q}"
        " --source {wildcards.source:q} --settings {params.settings:q} --log {log:q}"


# The same labels as maps of any split.
use rule label_pixels as label_split with:
    input:
        images="results/{dataset}/{split}/images.h5",
        cues=cues_of_source(None),
    output:
        "results/{dataset}/{split}/semantics/{source}.h5",
    log:
        "results/{dataset}/logs/label_split.{split}.{source}.log",
    benchmark:
        "results/{dataset}/benchmarks/label_split.{split}.{source}.tsv"
    wildcard_constraints:
        source=semantics_of_kind("cues"),


# Labels where two views of the training split agree.
rule label_agreement:
    input:
        images=f"results/{{dataset}}/{project.splits.train}/images.h5",
        semantics=maps_to_agree_with,
        instances=instances_to_agree_with,
    output:
        "results/{dataset}/semantics/{source}/labels.h5",
    log:
        "results/{dataset}/logs/label_agreement.{source}.log",
    benchmark:
        "results/{dataset}/benchmarks/label_agreement.{source}.tsv"
    wildcard_constraints:
        source=agreeing(True),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=20),
    params:
        settings=lambda wildcards: project.semantics[
            wildcards.source
        ].agreement.canonical(),
        code=code_digest("stages.semantics.label_agreement"),
    shell:
        "python -m stages.semantics.label_agreement --images {input.images:q} --semantics {input.semantics:q}"
        " --instances {input.instances:q} --output {output:q} --source {wildcards.source:q}"
        " --settings {params.settings:q} --log {log:q}"


rule train_semantics:
    input:
        images=f"results/{{dataset}}/{project.splits.train}/images.h5",
        labels="results/{dataset}/semantics/{source}/labels.h5",
        backbone_weights=backbone_of_source,
        start=network_to_start_from,
    output:
        weights="results/{dataset}/semantics/{source}/weights.safetensors",
        curves="results/{dataset}/semantics/{source}/curves.json",
        plot=in_report(
            "results/{dataset}/semantics/{source}/curves.png",
            "training",
            "maps {source}",
            "curves",
        ),
    log:
        "results/{dataset}/logs/train_semantics.{source}.log",
    benchmark:
        "results/{dataset}/benchmarks/train_semantics.{source}.tsv"
    wildcard_constraints:
        source=semantics_of_kind("network"),
    conda:
        software
    threads: TRAINING_THREADS
    resources:
        **TRAINING_GPUS,
        mem_mb=memory(16000),
        runtime=minutes(1440),
    params:
        settings=lambda wildcards: project.semantics[wildcards.source].train.canonical(),
        code=code_digest("stages.semantics.train_semantics"),
    shell:
        LAUNCH
        + " stages.semantics.train_semantics --images {input.images:q} --labels {input.labels:q}"
        " --backbone-weights {input.backbone_weights:q} --start {input.start:q} --output-weights {output.weights:q}"
        " --output-curves {output.curves:q} --output-plot {output.plot:q} --settings {params.settings:q}"
        f" --device {project.device} --log {{log:q}}"


rule predict_semantics:
    input:
        images="results/{dataset}/{split}/images.h5",
        weights=weights_of_source,
    output:
        "results/{dataset}/{split}/semantics/{source}.h5",
    log:
        "results/{dataset}/logs/predict_semantics.{split}.{source}.log",
    benchmark:
        "results/{dataset}/benchmarks/predict_semantics.{split}.{source}.tsv"
    wildcard_constraints:
        source=semantics_of_kind("network", "weights"),
    conda:
        software
    threads: project.threads
    resources:
        gpu=min(GPUS, 1),
        mem_mb=memory(8000),
        runtime=minutes(30, per_1000_images=120),
    params:
        settings=lambda wildcards: sources.map_prediction(
            project, wildcards.source
        ).canonical(),
        code=code_digest("stages.semantics.predict_semantics"),
    shell:
        "python -m stages.semantics.predict_semantics --images {input.images:q} --weights {input.weights:q} --output {output:q}"
        " --source {wildcards.source:q}"
        f" --settings {{params.settings:q}} --device {project.device} --log {{log:q}}"


rule import_semantics:
    input:
        images="results/{dataset}/{split}/images.h5",
    output:
        "results/{dataset}/{split}/semantics/{source}.h5",
    log:
        "results/{dataset}/logs/import_semantics.{split}.{source}.log",
    benchmark:
        "results/{dataset}/benchmarks/import_semantics.{split}.{source}.tsv"
    wildcard_constraints:
        source=semantics_of_kind("png"),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=20),
    params:
        settings=lambda wildcards: sources.imported_maps(
            project, wildcards.source, wildcards.split
        ).canonical(),
        code=code_digest("stages.semantics.import_semantics"),
    shell:
        "python -m stages.semantics.import_semantics --images {input.images:q} --output {output:q} --source {wildcards.source:q}"
        " --settings {params.settings:q} --log {log:q}"


# Annotations, declared as such: the supervision of all that is made of these maps is "masks" (law 1).
rule take_annotations:
    input:
        images="results/{dataset}/{split}/images.h5",
        annotations="results/{dataset}/{split}/semantic_annotations.h5",
    output:
        "results/{dataset}/{split}/semantics/{source}.h5",
    log:
        "results/{dataset}/logs/take_annotations.{split}.{source}.log",
    benchmark:
        "results/{dataset}/benchmarks/take_annotations.{split}.{source}.tsv"
    wildcard_constraints:
        source=semantics_of_kind("oracle"),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=10),
    params:
        code=code_digest("stages.semantics.take_annotations"),
    shell:
        "python -m stages.semantics.take_annotations --images {input.images:q} --annotations {input.annotations:q}"
        " --output {output:q} --source {wildcards.source:q} --log {log:q}"
