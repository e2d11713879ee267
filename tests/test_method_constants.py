"""The constants of the methods, against those of the papers and of the released files, in a recipe of 200 epochs."""

from __future__ import annotations

from typing import Any

import pytest

from lt_core.training import RunConfig
from lt_core.training.base import base_config

# Of a classifier trained anew: a half cosine from 0.1, weight decay 5e-4, for 10 of 200 epochs (OpenLT, for CIFAR-LT).
STAGE = {"schedule": "annealing", "learning_rate": 0.1, "weight_decay": 5e-4, "epochs": 10}
PLAIN = {"loss": "ce", "mixing": "none", "epochs": 200, "weight_decay": 2e-4}  # LDAM-DRW's cifar_train.py
# What a run must have; in "base", what the run that it starts from must have. Mappings may hold more than is named.
CONSTANTS: dict[str, dict[str, Any]] = {
    # LDAM-DRW, cifar_train.py: FocalLoss(gamma=1).
    "focal": {"loss_options": {"gamma": 1.0}},
    # Saddle-LongTail, the scripts for CIFAR100-LT at factor 100.
    "sam": {"strategy_options": {"rho": 0.2}, "drw": False},
    "sam_drw": {"strategy_options": {"rho": 0.8}, "drw": True},
    # RIDE, loss.py: three experts, additional_diversity_factor -0.45, reweight_factor 0.05.
    "ride": {"loss": "ldam", "drw": True, "strategy_options": {"experts": 3, "diversity": 0.45, "tail_factor": 0.05}},
    # Long-Tailed-Recognition.pytorch, CIFAR100_LT/causal_norm_32.yaml.
    "causal_norm": {"strategy_options": {"alpha": 1.5}},
    # Meta-weight-net_class-imbalance: SGD at 1e-5 for the weight network.
    "meta_weight_net": {"strategy_options": {"learning_rate": 1e-5}},
    # RIDE and Long-Tailed-Recognition.pytorch, the configurations for CIFAR-100.
    "ce_more_decay": {"weight_decay": 5e-4},
    # classifier-balancing, ImageNet_LT/cls_crt.yaml and cls_lws.yaml: weight decay 5e-4, a half cosine to 0.
    "crt": {**STAGE, "sampler": "class_balanced", "base": PLAIN},
    "lws": {**STAGE, "sampler": "class_balanced", "base": PLAIN},
    # DisAlign: rho for ImageNet-LT.
    "disalign": {**STAGE, "sampler": "uniform", "strategy_options": {"rho": 1.2}, "base": PLAIN},
    # BalancedMetaSoftmax-Classification: 2,000 steps after 13,000, Adam at 0.01 for the rates.
    "bals": {**STAGE, "epochs": round(200 * 2 / 13), "loss": "balanced_softmax",
             "strategy_options": {"rate_learning_rate": 0.01}, "base": PLAIN},
    # MiSLAS, cifar100_imb001_stage1_mixup.yaml and _stage2_mislas.yaml: lr_factor 0.2, shift_bn.
    "mislas": {**STAGE, "weight_decay": 2e-4, "mixing": "none", "sampler": "class_balanced",
               "strategy_options": {"share": 0.2, "batchnorm": "train"}, "base": {**PLAIN, "mixing": "mixup"}},
    # The control of MiSLAS: its first stage, and cRT.
    "mixup_crt": {**STAGE, "mixing": "none", "base": {**PLAIN, "mixing": "mixup"}},
    # GCLLoss, cifar_train_classifier.py: 30 epochs, m 0.1, s 20, gamma 1. For the rate 0.1 adjust_learning_rate has a
    # half cosine from 0.02, and the classifier takes a tenth of it.
    "gcl": {"schedule": "annealing", "learning_rate": 0.002, "weight_decay": 2e-4, "epochs": 30, "mixing": "mixup",
            "sampler": "class_balanced", "loss_options": {"margin": 0.1, "scale": 20.0, "gamma": 1.0},
            "base": {**PLAIN, "loss": "gcl", "mixing": "mixup"}},
    # OpenLongTailRecognition-OLTR, ImageNet_LT/stage_1.py and stage_2_meta_embedding.py: 60 epochs after 30, rates 0.1
    # and 0.01, weight of the feature loss 0.01.
    "oltr": {**STAGE, "epochs": 400, "sampler": "class_balanced",
             "strategy_options": {"slow_rate": 0.1, "feature_weight": 0.01, "batchnorm": "train"}, "base": PLAIN},
    # LFME, run_network_LFME.py: temperature 2, threshold 0.3.
    "lfme": {"epochs": 200, "sampler": "class_balanced", "strategy_options": {"temperature": 2.0, "threshold": 0.3},
             "base": {"strategy": "lfme_experts", "epochs": 200}},
    # Feature-Space-Augmentation-for-Long-Tailed-Data: 40 epochs at 5e-4, thresholds 0.8 and 0.2, 90 % of the images.
    "fsa": {"epochs": 40, "learning_rate": 5e-4, "weight_decay": 0.0, "base": PLAIN,
            "strategy_options": {"specific": 0.8, "generic": 0.2, "common_share": 0.9}},
}  # fmt: skip


def named(run: RunConfig, wanted: dict[str, Any]) -> dict[str, Any]:
    """What a configuration has for the names that are wanted."""
    values = run.to_dict()
    return {
        key: {name: values[key].get(name) for name in value} if isinstance(value, dict) else values[key]
        for key, value in wanted.items()
    }


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_method_has_the_constants_of_its_source(name: str) -> None:
    run = RunConfig(dataset="cifar100_lt", recipe="plain", method=name)
    wanted = dict(CONSTANTS[name])
    base = wanted.pop("base", None)
    assert named(run, wanted) == wanted
    if base is not None:
        assert named(base_config(run), base) == base
