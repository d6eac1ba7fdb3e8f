# Candidate regions: generated or imported in shards, side by side, then merged into one artifact per split.


def sources_in_use():
    return sources.proposals_in_use(project)


def sources_of_kind(*kinds):
    """Pattern of the names of the sources of these kinds; matches nothing where there are none."""
    names = [name for name, source in project.proposals.items() if source.kind in kinds]
    return one_of(names)


def source_settings(wildcards):
    return project.proposals[wildcards.source].canonical()


def proposals_of_run(wildcards):
    return f"results/{wildcards.dataset}/{wildcards.split}/proposals/{project.runs[wildcards.run].proposals}.h5"


def training_proposals_of_run(wildcards):
    source = project.runs[wildcards.run].proposals
    return f"results/{wildcards.dataset}/{project.splits.train}/proposals/{source}.h5"


def named_by_source(section):
    """The proposals, or the maps, that a ranked source names, as an input function."""

    def path(wildcards):
        name = getattr(project.proposals[wildcards.source], section)
        return f"results/{wildcards.dataset}/{wildcards.split}/{section}/{name}.h5"

    return path


rule proposals:
    input:
        expand(
            "results/{dataset}/{split}/proposals/{source}.h5",
            dataset=DATASET,
            split=project.worked_splits,
            source=sources_in_use(),
        ),
        expand(
            "results/{dataset}/{split}/proposals/{source}.report.json",
            dataset=DATASET,
            split=project.worked_splits,
            source=sources_in_use(),
        ),
    localrule: True


rule generate_proposals:
    input:
        images="results/{dataset}/{split}/images.h5",
    output:
        temp("results/{dataset}/{split}/proposals/{source}/{scatteritem}.h5"),
    log:
        "results/{dataset}/logs/generate_proposals.{split}.{source}.{scatteritem}.log",
    benchmark:
        "results/{dataset}/benchmarks/generate_proposals.{split}.{source}.{scatteritem}.tsv"
    wildcard_constraints:
        source=sources_of_kind("heg"),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=minutes(30, per_1000_images=60),
    params:
        settings=source_settings,
        code=code_digest("stages.proposals.generate_proposals"),
    shell:
        "python -m stages.proposals.generate_proposals --images {input.images:q} --shard {wildcards.scatteritem:q} --output {output:q}"
        " --source {wildcards.source:q} --settings {params.settings:q} --log {log:q}"


rule import_proposals:
    input:
        images="results/{dataset}/{split}/images.h5",
    output:
        temp("results/{dataset}/{split}/proposals/{source}/{scatteritem}.h5"),
    log:
        "results/{dataset}/logs/import_proposals.{split}.{source}.{scatteritem}.log",
    benchmark:
        "results/{dataset}/benchmarks/import_proposals.{split}.{source}.{scatteritem}.tsv"
    wildcard_constraints:
        source=sources_of_kind("mat", "coco_json"),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=minutes(30, per_1000_images=60),
    params:
        settings=source_settings,
        code=code_digest("stages.proposals.import_proposals"),
    shell:
        "python -m stages.proposals.import_proposals --images {input.images:q} --shard {wildcards.scatteritem:q} --output {output:q}"
        " --source {wildcards.source:q} --settings {params.settings:q} --log {log:q}"


rule merge_proposals:
    input:
        images="results/{dataset}/{split}/images.h5",
        shards=gather.shards(
            "results/{{dataset}}/{{split}}/proposals/{{source}}/{scatteritem}.h5"
        ),
    output:
        "results/{dataset}/{split}/proposals/{source}.h5",
    log:
        "results/{dataset}/logs/merge_proposals.{split}.{source}.log",
    benchmark:
        "results/{dataset}/benchmarks/merge_proposals.{split}.{source}.tsv"
    wildcard_constraints:
        source=sources_of_kind("heg", "mat", "coco_json"),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=10),
    params:
        code=code_digest("stages.proposals.merge_proposals"),
    shell:
        "python -m stages.proposals.merge_proposals --images {input.images:q} --shards {input.shards:q} --output {output:q} --log {log:q}"


rule rank_proposals:
    input:
        images="results/{dataset}/{split}/images.h5",
        proposals=named_by_source("proposals"),
        semantics=named_by_source("semantics"),
    output:
        "results/{dataset}/{split}/proposals/{source}.h5",
    log:
        "results/{dataset}/logs/rank_proposals.{split}.{source}.log",
    benchmark:
        "results/{dataset}/benchmarks/rank_proposals.{split}.{source}.tsv"
    wildcard_constraints:
        source=sources_of_kind("ranked"),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=20),
    params:
        settings=source_settings,
        code=code_digest("stages.proposals.rank_proposals"),
    shell:
        "python -m stages.proposals.rank_proposals --images {input.images:q} --proposals {input.proposals:q}"
        " --semantics {input.semantics:q} --output {output:q} --source {wildcards.source:q}"
        " --settings {params.settings:q} --log {log:q}"
