"""Trained models of vireid, a folder each; `vireid models` lists them. Data only."""
