"""Fetching and building models; every model ends as a Hugging Face folder."""
