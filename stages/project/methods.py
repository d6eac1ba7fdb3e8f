"""The methods that there are. A new one is a folder in `stages` with a module `method`, a rule file, and its name here.

Its section stands in config.yaml, or in the presets of its users: a section that no run needs may be left out.
"""

from importlib import import_module

from stages.core.workflow.method import Method

NAMES = ("cim", "prm", "bestie", "label_penet", "mask_rcnn")

METHODS: dict[str, Method] = {name: import_module(f"stages.{name}.method").METHOD for name in NAMES}
ON_TOP = tuple(name for name, method in METHODS.items() if method.on_top)
ALONE = tuple(name for name, method in METHODS.items() if not method.on_top)
