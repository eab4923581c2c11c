"""What turns pictures and a prompt into text: an OpenAI-compatible server, or models of `transformers` in this process.

What packages that bring a captioner need is named here.
"""

from curation_resources.captioners.base import CaptionAnswer, Captioner, CaptionRequest, LazyCaptioner

__all__ = ["CaptionAnswer", "CaptionRequest", "Captioner", "LazyCaptioner"]
