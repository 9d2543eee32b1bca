"""Dockerfile: parse, plan, solve, cache."""
