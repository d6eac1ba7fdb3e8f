# Artifacts of other projects: checked and copied to where our own would stand. No rule makes the files of the others.


def borrowed_file(wildcards):
    return BORROWED[wildcards.borrowed]


def own_list(wildcards):
    """The images that a borrowed artifact must be of; weights must know their classes."""
    split = borrowed_file(wildcards).split or project.splits.train
    return f"results/{wildcards.dataset}/{split}/images.h5"


def earlier_note(wildcards):
    """The note beside the artifact where the other project has borrowed it, too, else nothing."""
    note = borrowing.note_of(borrowed_file(wildcards).source)
    return note if Path(note).is_file() else []


def notes_of_borrowed(wildcards):
    """Where each borrowed artifact comes from."""
    return [
        f"results/{wildcards.dataset}/{borrowing.note_of(path)}" for path in BORROWED
    ]


rule borrowing:
    input:
        [f"results/{DATASET}/{path}" for path in BORROWED],
    localrule: True


rule borrow_artifact:
    input:
        artifact=lambda wildcards: borrowed_file(wildcards).source,
        listed=lambda wildcards: borrowed_file(wildcards).listed or [],
        earlier=earlier_note,
        images=own_list,
    output:
        artifact="results/{dataset}/{borrowed}",
        note=in_report(
            f"results/{{dataset}}/{borrowing.note_of('{borrowed}')}",
            "settings",
            "{borrowed}",
            "borrowed",
        ),
    log:
        "results/{dataset}/logs/{borrowed}/borrow_artifact.log",
    benchmark:
        "results/{dataset}/benchmarks/{borrowed}/borrow_artifact.tsv"
    wildcard_constraints:
        borrowed=one_of(map(re.escape, BORROWED)),
    priority: 1  # what cannot be borrowed stops the graph before hours are spent
    conda:
        software
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30, per_1000_images=5),
    params:
        settings=lambda wildcards: borrowed_file(wildcards).settings.canonical(),
        code=code_digest("stages.borrowing.borrow_artifact"),
    shell:
        "python -m stages.borrowing.borrow_artifact --artifact {input.artifact:q} --listed {input.listed:q}"
        " --earlier {input.earlier:q} --images {input.images:q} --output {output.artifact:q}"
        " --output-note {output.note:q} --settings {params.settings:q} --log {log:q}"
