"""Fine-tuning whose checkpoint is chosen by evidence.

data/     pictures and captions, split, prepared, kept as latents and text embeddings
loop.py   the training loop, from top to bottom; adapters, noise, optimizers, guard, checkpoints
measure/  held-out loss, validation images and their scores, what a run leaves in its folder
select/   which checkpoint at which scale, by paired evidence, or a refusal
tune/     one objective, in this process (Optuna) or on a Ray cluster
export/   the adapter as other programs read it, merged, and as ONNX
"""
