#!/usr/bin/env python3
"""with_peft.py MODEL ADAPTER OUT: reference tensors of a model with an adapter, by Hugging Face's PEFT.

MODEL is a Hugging Face folder (`minke convert` makes one of a GGUF file). Needs torch, transformers and peft. Afterwards

    minke verify MODEL OUT --lora ADAPTER

compares layer by layer: the embedding, what each layer gives, and logits, as described in tests/golden/README.md.
"""
import sys

import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM


def main(model, adapter, out):
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="eager").eval()
    adapted = PeftModel.from_pretrained(base, adapter).eval()
    ids = torch.randint(0, base.config.vocab_size, (1, 48))
    with torch.no_grad():
        seen = adapted(ids, output_hidden_states=True)
        with adapted.disable_adapter():
            plain = base(ids).logits
    # transformers' last hidden state is behind the final norm.
    tensors = {f"hidden_{i:02}": h[0].contiguous() for i, h in enumerate(seen.hidden_states[:-1])}
    tensors |= {"input_ids": ids[0], "final_norm": seen.hidden_states[-1][0].contiguous(), "logits": seen.logits[0].contiguous()}
    save_file(tensors, out)
    print(f"logits up to {seen.logits.abs().max():.2f}, changed by the adapter by up to {(seen.logits - plain).abs().max():.2f}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
