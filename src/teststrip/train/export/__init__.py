"""A checkpoint as the file that another program reads, checked before it is given out.

source     which checkpoint, at which scale, and what is known of it
written    LoRA files: diffusers' keys, kohya's keys (A1111, ComfyUI)
metadata   what such a file says of itself: ss_*, modelspec.*, sshs hashes
merged     the whole model with the LoRA in its weights
onnx       the UNet of that for onnxruntime, with its numbers compared
checks     everything is read back by another program's code and compared
formats    the table of all that
"""
