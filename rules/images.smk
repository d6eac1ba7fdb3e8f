# Images and tags of a split; annotations go to artifacts of their own (law 1).


rule images:
    input:
        expand(
            "results/{dataset}/{split}/images.h5",
            dataset=DATASET,
            split=dict.fromkeys([*project.all_splits, *project.worked_splits]),
        ),
    localrule: True


def images_settings(wildcards):
    return project.images.chosen(wildcards.split, project.splits.train).canonical()


rule list_images:
    output:
        images="results/{dataset}/{split}/images.h5",
        ground_truth="results/{dataset}/{split}/ground_truth.h5",
        points="results/{dataset}/{split}/points.h5",
    log:
        "results/{dataset}/logs/list_images.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/list_images.{split}.tsv"
    conda:
        software
    threads: 4
    resources:
        mem_mb=memory(4000),
        runtime=minutes(240),
    params:
        settings=images_settings,
        code=code_digest("stages.images.list_images"),
    shell:
        "python -m stages.images.list_images --split {wildcards.split:q} --threads {threads} --output-images {output.images:q}"
        " --output-ground-truth {output.ground_truth:q} --output-points {output.points:q}"
        " --settings {params.settings:q} --log {log:q}"


# Annotated boxes, which many images have without masks. Only the evaluation reads them (law 1).
rule list_boxes:
    input:
        images="results/{dataset}/{split}/images.h5",
        ground_truth="results/{dataset}/{split}/ground_truth.h5",
    output:
        "results/{dataset}/{split}/boxes.h5",
    log:
        "results/{dataset}/logs/list_boxes.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/list_boxes.{split}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60),
    params:
        settings=images_settings,
        code=code_digest("stages.images.list_boxes"),
    shell:
        "python -m stages.images.list_boxes --images {input.images:q} --ground-truth {input.ground_truth:q}"
        " --output {output:q} --split {wildcards.split:q} --settings {params.settings:q} --log {log:q}"


# The annotated instances as semantic maps. Only a source of maps of kind oracle reads them, and only as such (law 1).
rule annotate_semantics:
    input:
        ground_truth="results/{dataset}/{split}/ground_truth.h5",
    output:
        "results/{dataset}/{split}/semantic_annotations.h5",
    log:
        "results/{dataset}/logs/annotate_semantics.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/annotate_semantics.{split}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(120),
    params:
        code=code_digest("stages.images.annotate_semantics"),
    shell:
        "python -m stages.images.annotate_semantics --ground-truth {input.ground_truth:q} --output {output:q} --log {log:q}"
