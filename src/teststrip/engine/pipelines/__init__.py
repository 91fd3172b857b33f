"""One model family each, behind StepPipeline: encode, denoise one step, decode."""
