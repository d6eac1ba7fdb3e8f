# Masks for other programs, and finished networks in one folder. Nothing here reads annotations or belongs to `all`.


# Labels that are exported: run or part, and the name of their folder.
LABELS = graph.exported_labels(project)


def exports_of(files, runs, splits):
    return expand(
        "results/{dataset}/{run}/{split}/exports/{file}",
        dataset=DATASET,
        run=runs,
        split=splits,
        file=files,
    )


def packing(wildcards):
    """Settings of `pack_model`."""
    stage = project.stage_of(wildcards.run)
    steps = {
        step: code_digest(f"stages.{stage}.{step}_{stage}")
        for step in ("train", "predict")
    }
    names = {"runs": config["runs"], "splits": config["images"]["folder"]["splits"]}
    return pack_settings(project, wildcards.run, code=steps, **names).canonical()


def proposals_of_packed_run(wildcards):
    """The proposals that the run's network chose among, else nothing."""
    run = project.runs[wildcards.run.partition("/")[0]]
    if not run.uses("proposals"):
        return []
    return f"results/{wildcards.dataset}/{project.splits.train}/proposals/{run.proposals}.h5"


def maps_of_packed_run(wildcards):
    """The weights of the network whose maps a packed run brings."""
    return weights_of_semantics(wildcards.dataset, maps_to_pack(project, wildcards.run))


PACKED_WITH_MAPS = [name for name in project.packed if packed_maps(project, name)]


rule segment:
    input:
        exports_of(
            ["coco.json", "overlays", "ids"], project.outcomes, project.splits.evaluate
        ),
    localrule: True


rule exports:
    input:
        exports_of(
            ["coco.json", "overlays", "ids"], project.measured, project.splits.evaluate
        ),
        exports_of(
            ["voc", "yolo", "label_studio", "cvat"],
            project.measured,
            project.splits.evaluate,
        ),
        # Only data sets in COCO's format have official image ids, and of them not the tiles.
        exports_of(
            ["results.json"] if project.images.kind == "coco" else [],
            project.measured,
            [
                split
                for split in project.splits.evaluate
                if split not in project.images.tiled.values()
            ],
        ),
        [
            f"results/{DATASET}/{run}/{labels}/exports/{project.splits.train}.{form}"
            for run, labels in LABELS
            for form in ("coco.json", "voc", "yolo", "label_studio", "cvat")
        ],
        expand(
            "results/{dataset}/{run}/model/weights.safetensors",
            dataset=DATASET,
            run=project.packed,
        ),
    localrule: True


rule export_coco:
    input:
        images="results/{dataset}/{split}/images.h5",
        instances="results/{dataset}/{run}/{split}/instances.h5",
    output:
        "results/{dataset}/{run}/{split}/exports/coco.json",
    log:
        "results/{dataset}/logs/{run}/export_coco.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/export_coco.{split}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=20),
    params:
        settings=lambda wildcards: project.exports.coco_of("predictions").canonical(),
        code=code_digest("stages.exports.export_coco"),
    shell:
        "python -m stages.exports.export_coco --images {input.images:q} --instances {input.instances:q} --output {output:q}"
        " --settings {params.settings:q} --log {log:q}"


use rule export_coco as export_pseudo_coco with:
    input:
        images="results/{dataset}/{split}/images.h5",
        instances="results/{dataset}/{run}/{labels}/{split}.h5",
    output:
        "results/{dataset}/{run}/{labels}/exports/{split}.coco.json",
    log:
        "results/{dataset}/logs/{run}/export_pseudo_coco.{labels}.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/export_pseudo_coco.{labels}.{split}.tsv"
    wildcard_constraints:
        run=one_of([run for run, _ in LABELS]),
        labels=one_of({labels for _, labels in LABELS}),
    params:
        settings=lambda wildcards: project.exports.coco_of("pseudo_masks").canonical(),
        code=code_digest("stages.exports.export_coco"),


rule export_results:
    input:
        images="results/{dataset}/{split}/images.h5",
        instances="results/{dataset}/{run}/{split}/instances.h5",
    output:
        "results/{dataset}/{run}/{split}/exports/results.json",
    log:
        "results/{dataset}/logs/{run}/export_results.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/export_results.{split}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=20),
    params:
        settings=lambda wildcards: project.exports.results.canonical(),
        code=code_digest("stages.exports.export_results"),
    shell:
        "python -m stages.exports.export_results --images {input.images:q} --instances {input.instances:q}"
        " --output {output:q} --settings {params.settings:q} --log {log:q}"


rule export_voc:
    input:
        images="results/{dataset}/{split}/images.h5",
        instances="results/{dataset}/{run}/{split}/instances.h5",
    output:
        directory("results/{dataset}/{run}/{split}/exports/voc"),
    log:
        "results/{dataset}/logs/{run}/export_voc.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/export_voc.{split}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=20),
    params:
        settings=lambda wildcards: project.exports.predictions.canonical(),
        code=code_digest("stages.exports.export_voc"),
    shell:
        "python -m stages.exports.export_voc --images {input.images:q} --instances {input.instances:q} --output {output:q}"
        " --settings {params.settings:q} --log {log:q}"


use rule export_voc as export_pseudo_voc with:
    input:
        images="results/{dataset}/{split}/images.h5",
        instances="results/{dataset}/{run}/{labels}/{split}.h5",
    output:
        directory("results/{dataset}/{run}/{labels}/exports/{split}.voc"),
    log:
        "results/{dataset}/logs/{run}/export_pseudo_voc.{labels}.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/export_pseudo_voc.{labels}.{split}.tsv"
    wildcard_constraints:
        run=one_of([run for run, _ in LABELS]),
        labels=one_of({labels for _, labels in LABELS}),
    params:
        settings=lambda wildcards: project.exports.pseudo_masks.canonical(),
        code=code_digest("stages.exports.export_voc"),


rule export_yolo:
    input:
        images="results/{dataset}/{split}/images.h5",
        instances="results/{dataset}/{run}/{split}/instances.h5",
    output:
        directory("results/{dataset}/{run}/{split}/exports/yolo"),
    log:
        "results/{dataset}/logs/{run}/export_yolo.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/export_yolo.{split}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=20),
    params:
        settings=lambda wildcards: project.exports.yolo_of("predictions").canonical(),
        code=code_digest("stages.exports.export_yolo"),
    shell:
        "python -m stages.exports.export_yolo --images {input.images:q} --instances {input.instances:q}"
        " --output {output:q} --settings {params.settings:q} --log {log:q}"


use rule export_yolo as export_pseudo_yolo with:
    input:
        images="results/{dataset}/{split}/images.h5",
        instances="results/{dataset}/{run}/{labels}/{split}.h5",
    output:
        directory("results/{dataset}/{run}/{labels}/exports/{split}.yolo"),
    log:
        "results/{dataset}/logs/{run}/export_pseudo_yolo.{labels}.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/export_pseudo_yolo.{labels}.{split}.tsv"
    wildcard_constraints:
        run=one_of([run for run, _ in LABELS]),
        labels=one_of({labels for _, labels in LABELS}),
    params:
        settings=lambda wildcards: project.exports.yolo_of("pseudo_masks").canonical(),
        code=code_digest("stages.exports.export_yolo"),


rule export_label_studio:
    input:
        images="results/{dataset}/{split}/images.h5",
        instances="results/{dataset}/{run}/{split}/instances.h5",
    output:
        directory("results/{dataset}/{run}/{split}/exports/label_studio"),
    log:
        "results/{dataset}/logs/{run}/export_label_studio.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/export_label_studio.{split}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=20),
    params:
        settings=lambda wildcards: project.exports.label_studio_of(
            "predictions"
        ).canonical(),
        code=code_digest("stages.exports.export_label_studio"),
    shell:
        "python -m stages.exports.export_label_studio --images {input.images:q} --instances {input.instances:q}"
        " --output {output:q} --settings {params.settings:q} --log {log:q}"


use rule export_label_studio as export_pseudo_label_studio with:
    input:
        images="results/{dataset}/{split}/images.h5",
        instances="results/{dataset}/{run}/{labels}/{split}.h5",
    output:
        directory("results/{dataset}/{run}/{labels}/exports/{split}.label_studio"),
    log:
        "results/{dataset}/logs/{run}/export_pseudo_label_studio.{labels}.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/export_pseudo_label_studio.{labels}.{split}.tsv"
    wildcard_constraints:
        run=one_of([run for run, _ in LABELS]),
        labels=one_of({labels for _, labels in LABELS}),
    params:
        settings=lambda wildcards: project.exports.label_studio_of(
            "pseudo_masks"
        ).canonical(),
        code=code_digest("stages.exports.export_label_studio"),


rule export_cvat:
    input:
        images="results/{dataset}/{split}/images.h5",
        instances="results/{dataset}/{run}/{split}/instances.h5",
    output:
        directory("results/{dataset}/{run}/{split}/exports/cvat"),
    log:
        "results/{dataset}/logs/{run}/export_cvat.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/export_cvat.{split}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=20),
    params:
        settings=lambda wildcards: project.exports.predictions.canonical(),
        code=code_digest("stages.exports.export_cvat"),
    shell:
        "python -m stages.exports.export_cvat --images {input.images:q} --instances {input.instances:q}"
        " --output {output:q} --settings {params.settings:q} --log {log:q}"


use rule export_cvat as export_pseudo_cvat with:
    input:
        images="results/{dataset}/{split}/images.h5",
        instances="results/{dataset}/{run}/{labels}/{split}.h5",
    output:
        directory("results/{dataset}/{run}/{labels}/exports/{split}.cvat"),
    log:
        "results/{dataset}/logs/{run}/export_pseudo_cvat.{labels}.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/export_pseudo_cvat.{labels}.{split}.tsv"
    wildcard_constraints:
        run=one_of([run for run, _ in LABELS]),
        labels=one_of({labels for _, labels in LABELS}),
    params:
        settings=lambda wildcards: project.exports.pseudo_masks.canonical(),
        code=code_digest("stages.exports.export_cvat"),


rule export_ids:
    input:
        images="results/{dataset}/{split}/images.h5",
        instances="results/{dataset}/{run}/{split}/instances.h5",
    output:
        directory("results/{dataset}/{run}/{split}/exports/ids"),
    log:
        "results/{dataset}/logs/{run}/export_ids.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/export_ids.{split}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=20),
    params:
        settings=lambda wildcards: project.exports.predictions.canonical(),
        code=code_digest("stages.exports.export_ids"),
    shell:
        "python -m stages.exports.export_ids --images {input.images:q} --instances {input.instances:q} --output {output:q}"
        " --settings {params.settings:q} --log {log:q}"


rule export_overlays:
    input:
        images="results/{dataset}/{split}/images.h5",
        instances="results/{dataset}/{run}/{split}/instances.h5",
    output:
        directory("results/{dataset}/{run}/{split}/exports/overlays"),
    log:
        "results/{dataset}/logs/{run}/export_overlays.{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/export_overlays.{split}.tsv"
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=20),
    params:
        settings=lambda wildcards: project.exports.overlays_of(
            "predictions"
        ).canonical(),
        code=code_digest("stages.exports.export_overlays"),
    shell:
        "python -m stages.exports.export_overlays --images {input.images:q} --instances {input.instances:q}"
        " --output {output:q} --settings {params.settings:q} --log {log:q}"


rule pack_model:
    input:
        weights="results/{dataset}/{run}/network/weights.safetensors",
        images=f"results/{{dataset}}/{project.splits.train}/images.h5",
        proposals=proposals_of_packed_run,
        metrics=expand(
            "results/{{dataset}}/{{run}}/{split}/metrics.json",
            split=project.splits.evaluate,
        ),
    output:
        weights="results/{dataset}/{run}/model/weights.safetensors",
        card="results/{dataset}/{run}/model/README.md",
        metrics="results/{dataset}/{run}/model/metrics.json",
        segment="results/{dataset}/{run}/model/segment.yaml",
    log:
        "results/{dataset}/logs/{run}/pack_model.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/pack_model.tsv"
    wildcard_constraints:
        run=one_of([name for name in project.packed if name not in PACKED_WITH_MAPS]),
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
    params:
        settings=packing,
        maps=[],
        code=code_digest("stages.exports.pack_model"),
    shell:
        "python -m stages.exports.pack_model --weights {input.weights:q} --images {input.images:q}"
        " --proposals {input.proposals:q} --metrics {input.metrics:q} --output-weights {output.weights:q}"
        " --output-card {output.card:q} --output-metrics {output.metrics:q} --output-segment {output.segment:q}"
        " {params.maps:q} --settings {params.settings:q} --log {log:q}"


use rule pack_model as pack_model_with_maps with:
    input:
        weights=rules.pack_model.input.weights,
        images=rules.pack_model.input.images,
        proposals=proposals_of_packed_run,
        metrics=rules.pack_model.input.metrics,
        semantics=maps_of_packed_run,
    output:
        weights="results/{dataset}/{run}/model/weights.safetensors",
        card="results/{dataset}/{run}/model/README.md",
        metrics="results/{dataset}/{run}/model/metrics.json",
        segment="results/{dataset}/{run}/model/segment.yaml",
        semantics="results/{dataset}/{run}/model/semantics.safetensors",
    log:
        "results/{dataset}/logs/{run}/pack_model_with_maps.log",
    benchmark:
        "results/{dataset}/benchmarks/{run}/pack_model_with_maps.tsv"
    wildcard_constraints:
        run=one_of(PACKED_WITH_MAPS),
    params:
        settings=packing,
        maps=lambda wildcards, input, output: [
            "--semantics",
            input.semantics,
            "--output-semantics",
            output.semantics,
        ],
        code=code_digest("stages.exports.pack_model"),
