"""Step: masks as one PNG of instance ids per image, with a list of what the ids are."""

import logging
from pathlib import Path

from stages.core.artifacts.folders import file_in, whole_folder
from stages.core.workflow import step
from stages.exports.maps import instance_map, write_number_png
from stages.exports.predictions import read_predictions
from stages.exports.settings import SelectionSettings
from stages.exports.tables import instances_table

log = logging.getLogger(__name__)


def export_ids(*, images: Path, instances: Path, output: Path, settings: SelectionSettings) -> None:
    """Write <image>.png (0: background; 8 bits, or 16 where there are over 255 instances) and instances.csv.

    Where instances overlap the best score wins; ids are 1, 2, ... of the visible ones, best first. The folder is what
    `masks` of a folder of own images reads, so masks can be corrected and given back.
    """
    with read_predictions(images, instances, settings) as predictions, whole_folder(output) as folder:
        classes, hidden = predictions.header["classes"], 0
        with instances_table(folder) as add:
            for found in step.progress(predictions, total=len(predictions), label="images exported"):
                image = found.image.image
                numbers, visible = instance_map(found.regions)
                write_number_png(file_in(folder, image, ".png"), numbers)
                for number, i in enumerate(visible, start=1):
                    add(image, number, classes[found.classes[i]], found.scores[i])
                hidden += len(found.scores) - len(visible)
    log.info("%d instances are hidden by better ones", hidden)


if __name__ == "__main__":
    step.run(export_ids)
