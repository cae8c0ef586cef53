"""turnlog keeps the conversations of LLM agents and bots; the stores are in turnlog.session."""

__version__ = "0.1.0"
