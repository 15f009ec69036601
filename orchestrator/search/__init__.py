"""Decides which trial comes next. The only package that imports optuna."""
