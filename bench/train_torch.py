"""train_torch.py CONFIG.json SEQUENCE BATCH STEPS THREADS: training steps of Hugging Face transformers, in PyTorch on the processor.

bf16 autocast with f32 weights and AdamW, as trainers of that ecosystem do. Prints JSON: tokens a second of the median step.
"""
import json
import statistics
import sys
import time

import torch
import transformers


def main(config_file, sequence, batch, steps, threads):
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    fields = json.loads(open(config_file).read())
    # Its own fields only: architectures and types are said by the class, and weights are f32.
    fields = {k: v for k, v in fields.items() if k not in ("architectures", "torch_dtype")}
    config = transformers.AutoConfig.for_model(**fields)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    seconds = []
    for step in range(steps + 1):
        tokens = torch.randint(0, config.vocab_size, (batch, sequence))
        start = time.monotonic()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step > 0:  # the first makes room
            seconds.append(time.monotonic() - start)
    print(json.dumps({"tokens_per_second": batch * sequence / statistics.median(seconds), "torch": torch.__version__,
                      "transformers": transformers.__version__, "loss": loss.item()}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
