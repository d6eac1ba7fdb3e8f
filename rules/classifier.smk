# The classifier of the tags, and the cues (class response maps and peaks) that it gives; or cues from points.


def classifiers_in_use():
    """Names of the classifiers that some run takes cues, a backbone or semantic maps from."""
    return graph.classifiers_in_use(project)


def cues_in_use():
    """Names of the cues of the runs that bring no weights, and of the sources of semantic maps in use."""
    return graph.cues_in_use(project)


def brought(checkpoints):
    """Names of the classifiers that bring finished weights: checkpoints of official codes, or what we have written."""
    return [
        name
        for name, one in project.classifier.items()
        if one.trained is not None and is_checkpoint(one.trained) == checkpoints
    ]


def trained_classifiers():
    """Names of the classifiers that are trained here."""
    return [name for name, one in project.classifier.items() if one.trained is None]


def judge_of_tags():
    """The classifier whose training judges the tags."""
    return project.classifier[project.suspect_tags.classifier]


def cues_of_run(wildcards):
    return f"results/{wildcards.dataset}/{wildcards.split}/cues/{project.runs[wildcards.run].cues}.h5"


rule classifier:
    input:
        [weights_of_classifier(DATASET, name) for name in classifiers_in_use()],
    localrule: True


rule cues:
    input:
        expand(
            "results/{dataset}/{split}/cues/{classifier}.h5",
            dataset=DATASET,
            split=project.worked_splits,
            classifier=cues_in_use(),
        ),
        expand(
            "results/{dataset}/{split}/cues/{classifier}.report.json",
            dataset=DATASET,
            split=project.worked_splits,
            classifier=classifiers_in_use(),
        ),
    localrule: True


rule train_classifier:
    input:
        images=f"results/{{dataset}}/{project.splits.train}/images.h5",
    output:
        weights="results/{dataset}/classifier/{classifier}/weights.safetensors",
        curves="results/{dataset}/classifier/{classifier}/curves.json",
        plot=in_report(
            "results/{dataset}/classifier/{classifier}/curves.png",
            "training",
            "classifier {classifier}",
            "curves",
        ),
    log:
        "results/{dataset}/logs/train_classifier.{classifier}.log",
    benchmark:
        "results/{dataset}/benchmarks/train_classifier.{classifier}.tsv"
    wildcard_constraints:
        classifier=one_of(trained_classifiers()),
    conda:
        software
    threads: TRAINING_THREADS
    resources:
        **TRAINING_GPUS,
        mem_mb=memory(16000),
        runtime=minutes(1440),
    params:
        settings=lambda wildcards: project.classifier[
            wildcards.classifier
        ].train.canonical(),
        code=code_digest("stages.classifier.train_classifier"),
    shell:
        LAUNCH
        + " stages.classifier.train_classifier --images {input.images:q} --output-weights {output.weights:q}"
        " --output-curves {output.curves:q} --output-plot {output.plot:q} --settings {params.settings:q}"
        f" --device {project.device} --log {{log:q}}"


rule convert_classifier:
    input:
        checkpoint=lambda wildcards: project.classifier[wildcards.classifier].trained,
        images=f"results/{{dataset}}/{project.splits.train}/images.h5",
    output:
        weights="results/{dataset}/classifier/{classifier}/weights.safetensors",
        card="results/{dataset}/classifier/{classifier}/README.md",
    log:
        "results/{dataset}/logs/convert_classifier.{classifier}.log",
    benchmark:
        "results/{dataset}/benchmarks/convert_classifier.{classifier}.tsv"
    wildcard_constraints:
        classifier=one_of(brought(checkpoints=True)),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=minutes(30),
    params:
        settings=lambda wildcards: project.classifier[
            wildcards.classifier
        ].train.canonical(),
        code=code_digest("stages.classifier.convert_classifier"),
    shell:
        "python -m stages.classifier.convert_classifier --checkpoint {input.checkpoint:q} --images {input.images:q}"
        " --output-weights {output.weights:q} --output-card {output.card:q} --settings {params.settings:q} --log {log:q}"


rule find_cues:
    input:
        images="results/{dataset}/{split}/images.h5",
        weights=lambda wildcards: weights_of_classifier(
            wildcards.dataset, wildcards.classifier
        ),
    output:
        "results/{dataset}/{split}/cues/{classifier}.h5",
    log:
        "results/{dataset}/logs/find_cues.{split}.{classifier}.log",
    benchmark:
        "results/{dataset}/benchmarks/find_cues.{split}.{classifier}.tsv"
    wildcard_constraints:
        classifier=r"(?!points\.|points_or_)[\w-]+",
    conda:
        software
    threads: project.threads
    resources:
        gpu=min(GPUS, 1),
        mem_mb=memory(8000),
        runtime=minutes(30, per_1000_images=60),
    params:
        settings=lambda wildcards: project.classifier[
            wildcards.classifier
        ].cues.canonical(),
        code=code_digest("stages.classifier.find_cues"),
    shell:
        "python -m stages.classifier.find_cues --images {input.images:q} --weights {input.weights:q} --output {output:q}"
        f" --settings {{params.settings:q}} --device {project.device} --log {{log:q}}"


# Off the main path: what the report of suspect tags asks for.
rule train_fold:
    input:
        images=f"results/{{dataset}}/{project.splits.train}/images.h5",
    output:
        weights="results/{dataset}/suspect_tags/fold_{fold}/weights.safetensors",
        curves="results/{dataset}/suspect_tags/fold_{fold}/curves.json",
        plot="results/{dataset}/suspect_tags/fold_{fold}/curves.png",
    log:
        "results/{dataset}/logs/train_fold.{fold}.log",
    benchmark:
        "results/{dataset}/benchmarks/train_fold.{fold}.tsv"
    wildcard_constraints:
        fold=r"\d+",
    conda:
        software
    threads: TRAINING_THREADS
    resources:
        **TRAINING_GPUS,
        mem_mb=memory(16000),
        runtime=minutes(1440),
    params:
        settings=lambda wildcards: judge_of_tags()
        .without_fold(int(wildcards.fold), project.suspect_tags.folds)
        .canonical(),
        code=code_digest("stages.classifier.train_fold"),
    shell:
        LAUNCH
        + " stages.classifier.train_fold --images {input.images:q} --output-weights {output.weights:q}"
        " --output-curves {output.curves:q} --output-plot {output.plot:q} --settings {params.settings:q}"
        f" --device {project.device} --log {{log:q}}"


rule score_fold:
    input:
        images=f"results/{{dataset}}/{project.splits.train}/images.h5",
        weights="results/{dataset}/suspect_tags/fold_{fold}/weights.safetensors",
    output:
        "results/{dataset}/suspect_tags/fold_{fold}/scores.h5",
    log:
        "results/{dataset}/logs/score_fold.{fold}.log",
    benchmark:
        "results/{dataset}/benchmarks/score_fold.{fold}.tsv"
    wildcard_constraints:
        fold=r"\d+",
    conda:
        software
    threads: project.threads
    resources:
        gpu=min(GPUS, 1),
        mem_mb=memory(8000),
        runtime=minutes(30, per_1000_images=60),
    params:
        settings=lambda wildcards: judge_of_tags().cues.canonical(),
        code=code_digest("stages.classifier.score_fold"),
    shell:
        "python -m stages.classifier.score_fold --images {input.images:q} --weights {input.weights:q} --output {output:q}"
        f" --settings {{params.settings:q}} --device {project.device} --log {{log:q}}"


# Point supervision: the run's metrics say so (law 1).
rule take_points:
    input:
        images="results/{dataset}/{split}/images.h5",
        points="results/{dataset}/{split}/points.h5",
    output:
        "results/{dataset}/{split}/cues/points.h5",
    log:
        "results/{dataset}/logs/take_points.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/take_points.{split}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=5),
    params:
        code=code_digest("stages.classifier.take_points"),
    shell:
        "python -m stages.classifier.take_points --images {input.images:q} --points {input.points:q} --output {output:q}"
        " --log {log:q}"


# Point supervision of some images: the run's metrics say of how many (law 1).
rule join_points:
    input:
        images="results/{dataset}/{split}/images.h5",
        points="results/{dataset}/{split}/points.h5",
        cues="results/{dataset}/{split}/cues/{classifier}.h5",
    output:
        "results/{dataset}/{split}/cues/points_or_{classifier}.h5",
    log:
        "results/{dataset}/logs/join_points.{split}.{classifier}.log",
    benchmark:
        "results/{dataset}/benchmarks/join_points.{split}.{classifier}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=5),
    params:
        code=code_digest("stages.classifier.join_points"),
    shell:
        "python -m stages.classifier.join_points --images {input.images:q} --points {input.points:q} --cues {input.cues:q}"
        " --output {output:q} --log {log:q}"
