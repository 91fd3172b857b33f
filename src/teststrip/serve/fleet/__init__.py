"""The service as a Generator: a study's pictures are made by its workers."""

from teststrip.serve.fleet.generator import ServiceGenerator

__all__ = ["ServiceGenerator"]
