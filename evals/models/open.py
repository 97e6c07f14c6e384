"""Open the model of a specification."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

from evals.checksums import ChangedFileError, check_folder
from evals.models.base import Model, ModelError
from evals.models.spec import ModelSpec

BACKENDS = {
    "hf": "evals.models.transformers:TransformersModel",
    "openai": "evals.models.openai:EndpointModel",
    "vllm": "evals.models.vllm:VllmModel",
}


def open_model(spec: ModelSpec) -> Model:
    """Return an opened model.

    Raises:
        ModelError: The model cannot be opened.
    """
    if spec.backend == "vllm" and find_spec("vllm") is None:
        raise ModelError("backend vllm needs vLLM, which is not installed: pip install 'capo-bench[vllm]'")
    try:
        check_folder(Path(spec.model))
    except ChangedFileError as error:
        raise ModelError(str(error)) from error
    model: Model = resolve_name(BACKENDS[spec.backend]).open(spec)
    return model
