"""Data sets and objectives of timm's weights, by tags such as `augreg_in21k_ft_in1k`.

A word of a tag that is no known data set, objective or training recipe may mean further images, so the
declaration includes "unknown"; so does that of a tag without any data set. Images that only the teacher of a
distillation has seen are not counted. Sources: timm's model cards and the papers that they cite.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.errors import unknown_name_error
from ..tasks.task import UNDECLARED

if TYPE_CHECKING:
    from timm.models import PretrainedCfg


@dataclass(frozen=True)
class WeightDeclaration:
    """Data sets (ids, or `UNDECLARED`), training objective and license of published weights.

    Objective, e.g. "self-supervised DINOv2 + supervised", and license are "unknown" where timm is silent.
    """

    corpora: tuple[str, ...]
    objective: str
    license: str

    @property
    def label(self) -> str:
        """The label for tables: data sets, and the objective where it is not plain supervision."""
        names = (
            id.replace("imagenet", "ImageNet") if is_imagenet(id) else _corpus_label(id)
            for id in self.corpora
        )
        seen = " + ".join(names)
        foreign = "" if any(is_imagenet(id) for id in self.corpora) else "not declared as ImageNet: "
        return f"{foreign}{seen}" + (f", {self.objective}" if self.objective != "supervised" else "")


def _corpus_label(id: str) -> str:
    return "unknown images" if id == UNDECLARED else id.removeprefix("web:").upper()


def is_imagenet(corpus: str) -> bool:
    """Whether an id means ImageNet in one of its sizes."""
    return corpus.startswith("imagenet-")


def beyond_imagenet(init: str, corpora: Collection[str]) -> str:
    """Describe images beyond ImageNet that weights called ImageNet's have seen; "" if none.

    Args:
        init: name of the init; of a derived one that of its source.
        corpora: ids of the data sets that it has seen.
    """
    others = [id for id in corpora if not is_imagenet(id)]
    if init.partition("/")[0] != "imagenet" or (corpora and not others):
        return ""
    named = ", ".join("undeclared images" if id == UNDECLARED else id for id in others)
    if len(others) < len(corpora):
        return f"the weights of {init} have seen more than ImageNet: {named}"
    return f"the weights of {init} are not declared as ImageNet's: {named or 'their images are not known'}"


_TEXT, _MIM, _HASHTAGS = "image-text", "masked image modeling", "weakly supervised by hashtags"
_MERGED = ("imagenet-22k", "web:cc-12m", "web:cc-3m", "coco", "ade20k", "objects-365")

# word of a tag, or a whole tag -> its data sets and objective
CORPORA: dict[str, tuple[tuple[str, ...], str]] = {
    "in1k": (("imagenet-1k",), "supervised"),
    "in12k": (("imagenet-12k",), "supervised"),
    "in21k": (("imagenet-21k",), "supervised"),
    "inw21k": (("imagenet-21k",), "supervised"),
    "in22k": (("imagenet-22k",), "supervised"),
    "dino": (("imagenet-1k",), "self-supervised DINO"),
    "mae": (("imagenet-1k",), "self-supervised MAE"),
    "fcmae": (("imagenet-1k",), "self-supervised FCMAE"),
    "ssld": (("imagenet-1k", "imagenet-22k"), "semi-supervised distillation"),
    "lvd142m": (("web:lvd-142m",), "self-supervised DINOv2"),
    "lvd1689m": (("web:lvd-1689m",), "self-supervised DINOv3"),
    "eupe_lvd1689m": (("web:lvd-1689m",), "distillation"),
    "sat493m": (("sat-493m",), "self-supervised DINOv3"),
    "seer": (("web:instagram",), "self-supervised SwAV"),
    "swag": (("web:instagram",), _HASHTAGS),
    "ig1b": (("web:instagram",), ""),
    "yfcc100m": (("yfcc-100m",), ""),
    "jft": (("web:jft-300m",), "semi-supervised noisy student"),
    "sa1b": (("imagenet-1k", "sa-1b"), "self-supervised MAE + supervised segmentation"),
    "m30m": (_MERGED, _MIM),
    "m38m": ((*_MERGED, "open-images"), _MIM),
    "openai": (("web:wit-400m",), _TEXT),
    "laion400m": (("web:laion-400m",), _TEXT),
    "laion2b": (("web:laion-2b",), _TEXT),
    "laiona": (("web:laion-aesthetic",), _TEXT),
    "datacompxl": (("web:datacomp-1b",), _TEXT),
    "datacomp1b": (("web:datacomp-1b",), _TEXT),
    "mclip": (("web:datacomp-1b",), _TEXT),
    "dfn2b": (("web:dfn-2b",), _TEXT),
    "dfndr2b": (("web:dfn-2b",), _TEXT),
    "dfn5b": (("web:dfn-5b",), _TEXT),
    "merged2b": (("web:laion-2b", "web:coyo-700m"), _TEXT),
    "metaclip": (("web:metaclip",), _TEXT),
    "metaclip2": (("web:metaclip",), _TEXT),
    "yfcc15m": (("yfcc-100m",), _TEXT),
    "cc12m": (("web:cc-12m",), _TEXT),
    "webli": (("web:webli",), _TEXT),
}
OBJECTIVES = {
    "clip": _TEXT,
    "mclip2": _TEXT,
    "mim": _MIM,
    "ijepa": "self-supervised I-JEPA",
    "wsl": _HASHTAGS,
    "swsl": "semi-weakly supervised by hashtags",
    "ssl": "semi-supervised",
    "dist": "distillation",
    "distilled": "distillation",
}
_RECIPES = """
a1 a1h a2 a2h a3 aa ad adv agc ah altogether am ap apple aug augreg augreg2 b1k b2k bd bt c1 c2 c2ns c3 ch
cvnets d d1 d1h d2 deit dinov3 dm ens fb ft gluon goog green i18n idstcv ix lamb lc lion lt ltt miil ms msft
mx nadamuon nav naver ns nv orig paddle pd plus pycls ra ra2 ra3 ra4 racm ram rewind rmsp rsb rvgg s39b sail
sam sbb sbb2 snap soup stage1 stage2 sw teacher tf timm tv tv2 usi v2 worldwide 400m 2pt5b
"""
RECIPES = frozenset(_RECIPES.split())
"""Authors, optimizers and augmentations, which add no images. "sam" is sharpness-aware minimization, not
Segment Anything; "400m" and "2pt5b" are sizes of MetaCLIP."""
_SIZES = re.compile(r"[ers]?\d+(ep|e)?|patch\d+")
"""Epochs and sizes in pixels: "e300", "r224", "300ep", "384", "patch16"."""


def check_tag(arch: str, tag: str) -> None:
    """Raise `UserError` where timm has no weights with this tag for an arch."""
    import timm

    if not timm.is_model_pretrained(f"{arch}.{tag}"):
        tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{arch}.*")]
        raise unknown_name_error(f"tag of timm's weights for {arch} called", tag, tags)


def describe_tag(tag: str) -> dict[str, list[Any]]:
    """Return what is declared of all of timm's weights with a tag, and their archs; one entry per variety.

    `UserError` where no arch has the tag.
    """
    import timm

    names = [name for name in timm.list_pretrained() if name.partition(".")[2] == tag]
    if not names:
        tags = {name.partition(".")[2] for name in timm.list_pretrained()}
        raise unknown_name_error("tag of timm's weights called", tag, tags)
    declared = [declare_tag(cfg) for name in names if (cfg := timm.get_pretrained_cfg(name))]
    return {
        "corpora": list(dict.fromkeys(each.corpora for each in declared)),
        "objectives": list(dict.fromkeys(each.objective for each in declared)),
        "licenses": list(dict.fromkeys(each.license for each in declared)),
        "archs": [name.partition(".")[0] for name in names],
    }


def declare_tag(cfg: PretrainedCfg) -> WeightDeclaration:
    """Declare data sets, objective and license of timm's weights, by tag and architecture."""
    tag, arch = cfg.tag or "", cfg.architecture or ""
    words = [tag] if tag in CORPORA else [word for word in tag.split("_") if word]
    corpora = [id for word in words for id in CORPORA.get(word, ((), ""))[0]]
    objectives = _objectives(words, arch)
    if not corpora or not all(map(_is_known, words)) or _is_hidden(arch, corpora, objectives):
        corpora.append(UNDECLARED)
    return WeightDeclaration(
        corpora=tuple(dict.fromkeys(corpora)),
        objective=" + ".join(dict.fromkeys(objectives)) or "unknown",
        license=cfg.license or "unknown",
    )


def _is_known(word: str) -> bool:
    return bool(word in CORPORA or word in OBJECTIVES or word in RECIPES or _SIZES.fullmatch(word))


def _objectives(words: list[str], arch: str) -> list[str]:
    """Return the objectives in the order of the training."""
    found = [OBJECTIVES.get(word) or CORPORA.get(word, ((), ""))[1] for word in words]
    for at, word in enumerate(words):
        before, after = words[at - 1] if at else "", words[at + 1] if at + 1 < len(words) else ""
        # ImageNet without its labels: the neighboring word is the objective
        if word[:2] == "in" and (before in ("mim", "mae") or after == "ijepa"):
            found[at] = ""
    # BEiT and EVA saw their first data set without labels, which the tag does not say
    if arch.startswith(("beit", "eva_")) and words and words[0] in ("in1k", "in22k"):
        found[0] = _MIM
    return [objective for objective in found if objective]


def _is_hidden(arch: str, corpora: list[str], objectives: list[str]) -> bool:
    """Whether weights have seen images that their tag does not name."""
    other_start = arch.startswith("beit3") or (arch.startswith("eva") and _TEXT in objectives)
    no_pairs = _TEXT in objectives and not any(id.startswith(("web:", "yfcc")) for id in corpora)
    return other_start or no_pairs
