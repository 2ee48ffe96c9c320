"""Parley's core: everything that is not drawn in a browser. It never imports Gradio."""

__version__ = "0.1.0"
