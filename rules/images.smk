# Images and tags of a split; annotations go to artifacts of their own (law 1).


rule images:
    input:
        expand(
            "results/{dataset}/{split}/images.h5",
            dataset=DATASET,
            split=project.all_splits,
        ),
    localrule: True


rule list_images:
    output:
        images="results/{dataset}/{split}/images.h5",
        ground_truth="results/{dataset}/{split}/ground_truth.h5",
        points="results/{dataset}/{split}/points.h5",
    log:
        "results/{dataset}/logs/list_images.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/list_images.{split}.tsv"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        settings=lambda wildcards: project.images.chosen(wildcards.split).canonical(),
        code=code_digest("stages.images.list_images"),
    shell:
        "python -m stages.images.list_images --split {wildcards.split} --threads {threads} --output-images {output.images}"
        " --output-ground-truth {output.ground_truth} --output-points {output.points}"
        " --settings {params.settings:q} --log {log}"


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
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        code=code_digest("stages.images.annotate_semantics"),
    shell:
        "python -m stages.images.annotate_semantics --ground-truth {input.ground_truth} --output {output} --log {log}"
