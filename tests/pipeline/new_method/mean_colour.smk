# The toy method: one colour per class.


rule mean_colour:
    input:
        expand(
            "results/{dataset}/{run}/{split}/instances.h5",
            dataset=DATASET,
            run=predicted_here("mean_colour"),
            split=project.splits.evaluate,
        ),
    localrule: True


rule train_mean_colour:
    input:
        images=f"results/{{dataset}}/{project.splits.train}/images.h5",
    output:
        "results/{dataset}/{run}/network/weights.safetensors",
    log:
        "results/{dataset}/logs/{run}/train_mean_colour.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/train_mean_colour.tsv"
    wildcard_constraints:
        run=one_of(trained_here("mean_colour")),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(60),
    params:
        settings=lambda wildcards: project.runs[
            wildcards.run
        ].mean_colour.train.canonical(),
        code=code_digest("stages.mean_colour.train_mean_colour"),
    shell:
        "python -m stages.mean_colour.train_mean_colour --images {input.images:q} --output-weights {output:q}"
        " --settings {params.settings:q} --log {log:q}"


rule predict_mean_colour:
    input:
        images="results/{dataset}/{split}/images.h5",
        weights=weights_of(
            "network", "results/{dataset}/{run}/network/weights.safetensors"
        ),
    output:
        instances="results/{dataset}/{run}/{split}/instances.h5",
        wide="results/{dataset}/{run}/wide/{split}/instances.h5",
    log:
        "results/{dataset}/logs/{run}/predict_mean_colour.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/predict_mean_colour.{split}.tsv"
    wildcard_constraints:
        run=one_of(predicted_here("mean_colour")),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(60),
    params:
        settings=lambda wildcards: project.runs[
            wildcards.run
        ].mean_colour.predict.canonical(),
        code=code_digest("stages.mean_colour.predict_mean_colour"),
    shell:
        "python -m stages.mean_colour.predict_mean_colour --images {input.images:q} --weights {input.weights:q}"
        " --output {output.instances:q} --output-wide {output.wide:q} --run {wildcards.run:q}"
        " --settings {params.settings:q} --log {log:q}"
