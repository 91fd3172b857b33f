"""Scorers: each judges a batch of pictures and gives numbers in columns with name and version.

technical   defects that arithmetic can see: clipping, blur, noise, flatness (numpy only)
clip        how well the picture fits its prompt; pickscore, aesthetic: learned preferences
judge       a vision model behind an OpenAI-compatible endpoint
phash       near-duplicates within a set of pictures
model_folder, preprocess, clip_model   what the learned scorers share
"""
