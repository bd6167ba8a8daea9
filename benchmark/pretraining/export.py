"""`export`: a MedNet for programs that do not have this package."""

from pathlib import Path
from typing import Literal

from ...baselines.weights.archs import feature_width
from ...core.errors import clean
from ...core.files import new_folder, write_bytes
from .cardtext import markdown_table
from .export_onnx import FILE, INPUT, OUTPUT, input_text, require_onnx, write_onnx
from .export_timm import write_timm
from .mednet_folder import FinishedMedNet, read_mednet

README = "README.md"
ExportFormat = Literal["timm", "onnx"]


def export_mednet(folder: Path, to: ExportFormat, out: Path) -> Path:
    """Write the MedNet in `folder` as a new folder `out`; returns the path of its README.

    A folder without all of its files is never left at `out`.

    Raises:
        UserError: `folder` holds no MedNet, `out` exists, or the format cannot hold the network.
        DiskFullError: the disk is full.
    """
    if to == "onnx":
        require_onnx()
    mednet = read_mednet(folder)
    write, usage = (write_timm, _timm_usage) if to == "timm" else (write_onnx, _onnx_usage)
    with new_folder(out) as making:
        write(mednet, making)
        write_bytes(making / README, clean(export_card(mednet, usage(mednet))).encode())
    return out / README


def export_card(mednet: FinishedMedNet, usage: str) -> str:
    """Return the model card of an export, as Markdown; `usage` is the text on how to load it."""
    parts = (
        _title(mednet),
        f"## How to load it\n\n{usage}",
        _sources(mednet),
        _training(mednet),
        _terms(mednet),
    )
    return "\n\n".join(parts) + "\n"


def _title(mednet: FinishedMedNet) -> str:
    card = mednet.card
    tone, side = f"{card.variant} " if card.variant else "", card.input_size
    return f"""# {card.name}

A {card.arch} without classifier that turns {tone}medical images of {side} x {side} pixels into features:
a MedNet ([arXiv 2110.06512](https://arxiv.org/abs/2110.06512)), pretrained by mednet-bench.
**Not for diagnosis, screening, triage or any other clinical decision.**"""


def _timm_usage(mednet: FinishedMedNet) -> str:
    side, width = mednet.card.input_size, feature_width(mednet.backbone)
    mode = "gray (`L`)" if mednet.channels == 1 else "RGB (`image.convert('RGB')`, gray ones too)"
    return f"""With timm 1.0.16 or newer, in this folder; elsewhere, its path replaces the dot:

```python
network = timm.create_model("local-dir:.", pretrained=True).eval()
```

Without `pretrained=True` the weights would be random. `network(images)` turns images
[batch, {mednet.channels}, {side}, {side}] into features [batch, {width}].
`num_classes=5` adds a new classifier.
This prepares a PIL image, {mode}:

```python
prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
```"""


def _onnx_usage(mednet: FinishedMedNet) -> str:
    return f"""With onnxruntime (`pip install onnxruntime`), in this folder:

```python
{OUTPUT} = onnxruntime.InferenceSession("{FILE}").run(None, {{"{INPUT}": {INPUT}}})[0]
```

{input_text(mednet)} Resize images to the size before
({mednet.card.input.interpolation}). The file's metadata repeat this, the sources and the license."""


def _sources(mednet: FinishedMedNet) -> str:
    card = mednet.card
    rows = [(each.id, f"{each.images:,}", each.license or "unknown") for each in card.corpus]
    held_out = ", ".join(card.leave_out) or "none"
    return f"""## Training data

{markdown_table(rows, ("source", "images seen", "license"))}

These weights have seen images of: {", ".join(card.corpora) or "unknown"}. On tasks made from any of them they
are no fair start. Tasks that were held out, with all sources that may contain their images: {held_out}."""


def _training(mednet: FinishedMedNet) -> str:
    facts = mednet.card.training.items()
    rows = [(key, value) for key, value in facts if isinstance(value, (int, float, str)) and value != ""]
    return f"## Training\n\n{markdown_table(rows, ('setting or result', 'value'))}"


def _terms(mednet: FinishedMedNet) -> str:
    card = mednet.card
    citation = f"\n\nPlease cite: {card.citation}" if card.citation else ""
    return f"""## License

By the strictest of the sources' terms, {card.license}.
This is a summary of what the sources state and no legal advice.{citation}

Weights before the export: sha256 `{card.sha256}`."""
