"""What people have given for an artifact, as its header says it."""

TAGS = "image tags"


def joint_supervision(*given: str) -> str:
    """What people have given for things that are used together: tags alone, or what each says beyond them, once."""
    more = dict.fromkeys(kind for supervision in given for kind in supervision.split(" and "))
    more.pop(TAGS, None)
    return " and ".join(more) or TAGS
