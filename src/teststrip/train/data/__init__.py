"""Training pictures: found, checked, split, and made into batches.

picture       one training picture; what is looked at before it is accepted
folder, saved where pictures come from: an image folder, a Hugging Face dataset saved to disk
split         which pictures are never trained on
prepare       all of the above for a run, and manifest, which says what it was
classes       pictures of a subject's class, made by the base model
shapes        sizes, crops and flips; examples: batches of latents and words for the loop
"""
