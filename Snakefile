# tagmask: image tags in, instance masks out. The pipeline is in rules/, the science in stages/, under the same names.
#
#   snakemake -n                      what would run
#   snakemake -c2                     everything that config.yaml names
#   snakemake -c2 proposals           one stage for all splits and runs that need it
#   snakemake -c2 --configfile presets/voc2012.yaml
#   snakemake -c2 --config trial=50   a trial of everything on 50 images of each split, in minutes
#   snakemake -c1 settings            complete settings of each run, with the file that each value comes from
#   snakemake --report report.zip     what has been made, as a report that works offline (.html: one file)
import json
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.0")
sys.path.insert(0, workflow.basedir)

from stages.project import borrowing, graph, sources
from stages.project.methods import METHODS
from stages.project.packing import maps_to_pack, pack_settings, packed_maps
from stages.project.project import ConfigError, load_project
from stages.project.resources import memory, minutes, training_gpus
from stages.project.steps import needs_of_steps
from stages.project.terminal.handler import attach, stages_of_rules
from stages.core.artifacts.files import write_json
from stages.core.training.folder import settle_trainings
from stages.core.workflow.digest import code_digest
from stages.core.workflow.drivers import enter_folder, note_executor
from stages.core.workflow.environment import environment, launcher
from stages.core.workflow.nodes import in_slurm_job, needs_slurm
from stages.core.workflow.method import is_checkpoint
from stages.core.workflow.trial import trial_notice


configfile: str(Path(workflow.basedir) / "config.yaml")


report: "rules/report/workflow.rst"


try:
    project = borrowing.with_borrowed(
        load_project(config, overlays=map(Path, workflow.overwrite_configfiles))
    )
except ConfigError as error:
    raise WorkflowError(str(error)) from None

DATASET = project.dataset
BORROWED = borrowing.borrowed_files(project)  # by their paths below our results
# Jobs do not ask again: the other project may just be making anew what they do not read.
if workflow.is_main_process:
    if unusable := borrowing.problems_of_lenders(BORROWED, DATASET):
        raise WorkflowError("\n".join(unusable))
GPUS = 0 if project.device == "cpu" else project.gpus
NODES = 1 if project.device == "cpu" else project.nodes
# A training step is one process, or one process per GPU of each node, each with threads of its own.
LAUNCH = launcher(GPUS, project.threads, nodes=NODES)
TRAINING_GPUS = training_gpus(GPUS, NODES)
TRAINING_THREADS = max(GPUS, 1) * project.threads  # on each node

# Jobs find the stages, whatever folder --directory names, and this environment's Python, whoever starts them; or that
# of envs/tagmask.yaml where Snakemake is told to make it.
OWN_PYTHON = not workflow.deployment_settings.deployment_method
shell.prefix(
    environment(workflow.basedir, own_python=OWN_PYTHON, scratch=project.scratch)
)

# Profiles find their own files, whatever folder --directory names.
os.environ.update(TAGMASK_ROOT=workflow.basedir)
# The Slurm plugin finds the partitions of profiles/slurm whatever folder --directory names; a path of your own wins.
os.environ.setdefault(
    "SNAKEMAKE_SLURM_PARTITIONS", f"{workflow.basedir}/profiles/slurm/partitions.yaml"
)


def software(wildcards):
    """The software of every rule, where Snakemake is told to deploy it; else jobs run in this environment."""
    return None if OWN_PYTHON else f"{workflow.basedir}/envs/tagmask.yaml"


scattergather:
    shards=project.shards,


wildcard_constraints:
    dataset=re.escape(DATASET),  # files of another data set, such as its weights, are only read
    split="|".join(map(re.escape, project.images.splits)),
    run="|".join(map(re.escape, [*project.runs, *project.measured])),  # runs, and <run>/<part>
    source=r"[\w-]+",
    classifier=r"[\w-]+",
    scatteritem=r"\d+-of-\d+",


def runs_of(method):
    """Names of the runs of a method."""
    return [name for name, run in project.runs.items() if run.method == method]


def trained_here(method):
    """Names of the runs of a method that bring no weights."""
    return [name for name in runs_of(method) if project.runs[name].trains]


def predicted_here(method):
    """Names of the runs of a method whose own network is trained here or brought."""
    return [name for name in runs_of(method) if project.runs[name].predicts]


def one_of(names):
    """A wildcard's pattern: one of these runs (without Mask R-CNN) or sources; without any it matches nothing."""
    return "|".join(names) or "(?!)"


def converted_here(method):
    """Names of the runs of a method that bring a checkpoint of its official code."""
    return [name for name in runs_of(method) if project.runs[name].converts()]


def weights_of(part, made):
    """The weights that a run brings as `trained.<part>`, or else those that the graph makes at the path `made`."""

    def path(wildcards):
        run = project.runs[wildcards.run]
        if run.converts(part):
            return made.format(**wildcards)
        return getattr(run.trained, part) or made.format(**wildcards)

    return path


def checkpoint_of_run(wildcards):
    return project.runs[wildcards.run].trained.network


def supervision_of_run(wildcards):
    """What an official code has learned from, as far as a run that brings its checkpoint says so."""
    return "points" if project.runs[wildcards.run].cues == "points" else "image tags"


def weights_of_classifier(dataset, classifier):
    """The weights that a classifier brings, or else those that the graph makes."""
    brought = project.classifier[classifier].trained
    if brought is not None and not is_checkpoint(brought):
        return brought
    return f"results/{dataset}/classifier/{classifier}/weights.safetensors"


def classifier_to_start_from(wildcards, backbone, classifier):
    """The weights of the classifier where a backbone starts from them, else nothing."""
    if backbone.weights != "classifier":
        return []
    return weights_of_classifier(wildcards.dataset, classifier)


def classifier_of_run(stage):
    """What the backbone of a run's network of `stage` starts from, as an input function."""

    def weights(wildcards):
        run = project.runs[wildcards.run]
        backbone = METHODS[stage].backbone(getattr(run, stage))
        return classifier_to_start_from(wildcards, backbone, run.classifier)

    return weights


# Categories of `snakemake --report`, in the order of the graph; the report sorts them by name.
CATEGORIES = {
    "comparison": "1 Comparison of runs",
    "proposals": "2 Proposals",
    "cues": "3 Classifiers and cues",
    "semantics": "4 Semantic maps",
    "labels": "5 Pseudo labels",
    "training": "6 Trainings",
    "metrics": "7 Metrics",
    "galleries": "8 Galleries",
    "settings": "9 Settings",
}
LABELS = ("run", "cascaded", "source", "classifier", "labels", "split")


def in_report(path, category, shows, caption):
    """Mark an output for `snakemake --report`: `shows` is its label, `caption` the text rules/report/<caption>.rst.

    Wildcards of the path that `shows` does not name are labels of their own. Pages that are marked hold all that they
    show: a report of one file cannot hold files beside a page.
    """
    named = [f"{{{name}}}" for name in LABELS]
    own = {name[1:-1]: name for name in named if name in path and name not in shows}
    return report(
        path,
        category=CATEGORIES[category],
        caption=f"report/{caption}.rst",
        labels={**own, "shows": shows},
    )


include: "rules/images.smk"
include: "rules/borrowing.smk"
include: "rules/proposals.smk"
include: "rules/classifier.smk"
include: "rules/semantics.smk"


for name in METHODS:

    include: f"rules/{name}.smk"


include: "rules/tiles.smk"
include: "rules/evaluation.smk"
include: "rules/inspection.smk"
include: "rules/exports.smk"


# What is borrowed is not made; no network predicts a whole image of which there are tiles.
FIRST = ("borrow_artifact", "merge_tiles")
workflow.ruleorder(*FIRST, *(r.name for r in workflow.rules if r.name not in FIRST))


rule all:
    default_target: True
    input:
        rules.evaluation.input,
        rules.inspection.input,
    localrule: True


rule settings:
    input:
        expand(
            "results/{dataset}/{run}/settings.yaml", dataset=DATASET, run=project.runs
        ),
    localrule: True


# Everything, and the settings of each run, for `snakemake report --report report.zip`.
rule report:
    input:
        rules.all.input,
        rules.settings.input,
        galleries_for_the_report(),
    localrule: True


# Without inputs, since braces in the paths of configuration files would be wildcards: `settings` holds what they say.
rule explain_settings:
    output:
        report(
            "results/{dataset}/{run}/settings.yaml",
            category=CATEGORIES["settings"],
            caption="rules/report/settings.rst",
            labels={"run": "{run}", "shows": "settings"},
        ),
    log:
        "results/{dataset}/logs/{run}/explain_settings.log",
    wildcard_constraints:
        run=one_of(project.runs),
    localrule: True
    conda:
        software
    params:
        # Functions, since Snakemake takes braces in a text, such as ${TAGMASK_DATA}, for wildcards.
        settings=lambda wildcards: json.dumps(config, sort_keys=True),
        files=lambda wildcards: [str(path) for path in workflow.overwrite_configfiles],
        config=lambda wildcards: [
            f"{key}={json.dumps(value)}"
            for key, value in workflow.config_settings.config.items()
        ],
    shell:
        "python -m stages.project.explain_settings --run {wildcards.run:q} --configfile {params.files:q}"
        " --config {params.config:q} 2> {log:q} | tee {output:q}"


if workflow.is_main_process and not workflow.output_settings.dryrun:
    enter_folder()


onstart:
    note_executor(workflow.executor_plugin.name)
    planned = workflow.dag.needrun_jobs()
    over_nodes = {job.rule.name for job in planned if "nodes" in job.rule.resources}
    if over_nodes and not (
        workflow.executor_plugin.name == "slurm" or in_slurm_job()
    ):
        raise WorkflowError(needs_slurm(NODES, over_nodes))
    if project.trial is not None:
        for sentence in trial_notice(project.trial):
            logger.info(sentence)


# One calm view of the run in the place of Snakemake's own output; docs/terminal_and_report.md.
STAGE_OF_RULE = stages_of_rules(workflow)
HEADLINE = project.evaluation.comparison.headline
try:
    VIEW = attach(workflow, STAGE_OF_RULE, f"tagmask {DATASET}", column=HEADLINE)
except ValueError as error:
    raise WorkflowError(str(error)) from None


onsuccess:
    if VIEW is not None:
        VIEW.finish()
    # Every output of the graph is whole now: no training needs its last checkpoint any more.
    settle_trainings(path for job in workflow.dag.jobs for path in job.output)
    benchmarks = f"results/{DATASET}/benchmarks"
    write_json(
        Path(benchmarks) / "needs.json", needs_of_steps(workflow.dag, benchmarks)
    )
    shell(
        "python -m stages.inspection.summarise {folder:q} --headline {headline:q} --stages {stages:q}",
        folder=f"results/{DATASET}",
        headline=HEADLINE,
        stages=[f"{rule}={stage}" for rule, stage in STAGE_OF_RULE.items()],
    )


onerror:
    if VIEW is not None:
        VIEW.finish()
