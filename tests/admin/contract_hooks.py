"""Loaded by schemathesis: puts one good request for each operation into the document.

They are in the file that CONTRACT_EXAMPLES names: operation to `path`, `header`, `body`. The token
with the id CONTRACT_SPARED is not revoked.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import schemathesis


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    examples = json.loads(Path(os.environ["CONTRACT_EXAMPLES"]).read_text())
    for methods in raw_schema["paths"].values():
        for operation in methods.values():
            example = examples.get(operation["operationId"], {})
            for parameter in operation.get("parameters", []):
                given = example.get(parameter["in"], {})
                if parameter["name"] in given:
                    parameter["example"] = given[parameter["name"]]
            if "body" in example:
                content = operation["requestBody"]["content"]["application/json"]
                content["example"] = example["body"]


@schemathesis.hook
def before_call(context: Any, case: Any, **kwargs: Any) -> None:
    """It takes ids from answers: whoever revokes the token of the run itself sees 401 from then."""
    if (case.path_parameters or {}).get("id") == os.environ["CONTRACT_SPARED"]:
        case.path_parameters["id"] = "0" * 12
