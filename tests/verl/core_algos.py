"""Run by verl's Python: what verl makes of a batch that the local trainer recorded.

`python core_algos.py BATCH RESULT`. BATCH: a critic as a token classifier's folder, sequences,
values, rewards, mask and the section `ppo`. RESULT: verl's values, advantages, returns, loss.
"""

import sys

import torch
from tensordict import TensorDict
from transformers import AutoConfig, AutoModelForTokenClassification
from verl.trainer.ppo.core_algos import compute_gae_advantage_return, compute_value_loss
from verl.workers.utils.padding import no_padding_2_padding


def values_of(batch):
    """(K, N) values by the class and the alignment of verl's critic."""
    config = AutoConfig.from_pretrained(batch["critic"])
    config.num_labels, config.classifier_dropout = 1, 0.0
    model = AutoModelForTokenClassification.from_pretrained(batch["critic"], config=config).eval()
    jagged = {
        name: torch.nested.nested_tensor(
            [torch.tensor(row) for row in batch[name]], layout=torch.jagged
        )
        for name in ("prompts", "responses")
    }
    with torch.no_grad():
        each = [
            model(input_ids=torch.tensor([[*prompt, *response]])).logits[0, :, 0]
            for prompt, response in zip(batch["prompts"], batch["responses"], strict=True)
        ]
    return no_padding_2_padding(torch.cat(each), TensorDict(jagged, batch_size=len(each)))


def main(source, target):
    batch = torch.load(source, weights_only=True)
    mask = batch["mask"].float()
    ppo = batch["ppo"]
    advantages, returns = compute_gae_advantage_return(
        batch["rewards"], batch["values"], mask, ppo["discount"], ppo["gae_lambda"]
    )
    losses = [
        compute_value_loss(
            vpreds=predicted, returns=returns, values=batch["values"],
            response_mask=mask, cliprange_value=ppo["clip_value"],
        )[0]
        for predicted in (batch["values"], batch["later"])
    ]  # fmt: skip
    found = {"values": values_of(batch), "advantages": advantages, "returns": returns}
    torch.save({**found, "losses": torch.stack(losses)}, target)


main(*sys.argv[1:])
