"""What a trial says of itself, in the log and on the comparison: it shows whether things fit, not how good they are."""


def trial_notice(images: int) -> list[str]:
    """Sentences about a trial on so many images."""
    return [
        f"This is a trial: at most {images} images of each split, and a part of the updates of each training.",
        "It tells whether images, tags, points and masks are read as meant, whether every step runs on this machine,"
        " and roughly where the network looks.",
        "It cannot tell how good the masks of the full run are, which run or setting is better, or whether a rare class"
        " is learned; its times are no share of those of the full run.",
        "The full run is the same command without `trial`; its results stand in another folder.",
    ]
