# Instances of whole images from those of their tiles, for every run and part. A split of tiles is listed as any other.


rule tiles:
    input:
        expand(
            "results/{dataset}/{run}/{split}/instances.h5",
            dataset=DATASET,
            run=project.measured,
            split=[s for s in project.splits.evaluate if s in project.images.tiled],
        ),
    localrule: True


rule merge_tiles:
    input:
        images="results/{dataset}/{split}/images.h5",
        tiles=lambda wildcards: f"results/{wildcards.dataset}/{project.images.tiled[wildcards.split]}/images.h5",
        instances=lambda wildcards: f"results/{wildcards.dataset}/{wildcards.run}/{project.images.tiled[wildcards.split]}/instances.h5",
    output:
        "results/{dataset}/{run}/{split}/instances.h5",
    log:
        "results/{dataset}/logs/{run}/merge_tiles.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/merge_tiles.{split}.tsv"
    wildcard_constraints:
        split=one_of(map(re.escape, project.images.tiled)),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60, per_1000_images=500),
    params:
        settings=project.tiles.canonical(),
        code=code_digest("stages.tiles.merge_tiles"),
    shell:
        "python -m stages.tiles.merge_tiles --images {input.images:q} --tiles {input.tiles:q}"
        " --instances {input.instances:q} --output {output:q} --settings {params.settings:q} --log {log:q}"
