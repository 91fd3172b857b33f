"""Evidence of one study, interactive: each section at an address of its own.

routes    the pages                        reading   the analysis, read off the request's thread
links     from a number to its images      section   what each section's template is given
recipes   the ranking: sorted, filtered    two       one recipe against another, prompt by prompt
pairs     two parameters together          plan      what N prompts x S seeds could tell
sofar     a study that has no result yet

Numbers, drawings and most templates are the report's own (`teststrip.evidence`).
"""

from teststrip.studio.findings.routes import router

__all__ = ["router"]
