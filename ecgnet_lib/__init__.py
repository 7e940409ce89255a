"""The small library behind the reproducibility book of FoundationalECGNet (arXiv 2509.08961).

Importing it costs nothing: every page imports just the module that it teaches.
"""

__version__ = "0.1.0"
