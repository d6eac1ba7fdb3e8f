# The baseline: each peak of the classifier takes the proposal that fits its response best (PRM, CVPR 2018).


rule prm:
    input:
        expand(
            "results/{dataset}/{run}/{split}/instances.h5",
            dataset=DATASET,
            run=predicted_here("prm"),
            split=project.splits.evaluate,
        ),
    localrule: True


rule retrieve_prm:
    input:
        images="results/{dataset}/{split}/images.h5",
        proposals=proposals_of_run,
        cues=cues_of_run,
    output:
        "results/{dataset}/{run}/{split}/instances.h5",
    log:
        "results/{dataset}/logs/{run}/retrieve_prm.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/retrieve_prm.{split}.tsv"
    wildcard_constraints:
        run=one_of(predicted_here("prm")),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=20),
    params:
        settings=lambda wildcards: project.runs[wildcards.run].prm.canonical(),
        code=code_digest("stages.prm.retrieve_prm"),
    shell:
        "python -m stages.prm.retrieve_prm --images {input.images:q} --proposals {input.proposals:q} --cues {input.cues:q}"
        " --output {output:q} --run {wildcards.run:q} --settings {params.settings:q} --log {log:q}"
