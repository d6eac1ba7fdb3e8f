"""Reads JSON files that people bring."""

import json
import reprlib
from pathlib import Path
from typing import Any

SHORT = reprlib.Repr()  # bounds depth as well: a deep list cannot be written as a whole
SHORT.maxstring = SHORT.maxother = 60


def load_json(path: Path) -> Any:
    """The content of a JSON file in UTF-8 or UTF-16, with or without a byte order mark.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no JSON, is cut off, or is nested too deeply.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist; set the path of the JSON file") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); set the path of a JSON file") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not JSON in UTF-8 ({error}); save it as UTF-8") from error
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply for JSON of this kind; restore it") from error
    except ValueError as error:
        raise ValueError(f"{path} is not JSON, or was cut off ({error}); restore it") from error


def shown(value: Any) -> str:
    """A value in short, for messages."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return SHORT.repr(value)
