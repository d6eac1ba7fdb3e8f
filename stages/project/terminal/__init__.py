"""What a running graph shows: one calm view on a terminal, plain lines everywhere else.

`attach` puts it in the place of Snakemake's own output. Parts: handler takes Snakemake's events (it implements the
interface of logger plugins); state knows stages and jobs; tail, progress and cautions read the jobs' log files; capture
holds back what jobs write themselves; live and frame draw, plain prints.
"""
