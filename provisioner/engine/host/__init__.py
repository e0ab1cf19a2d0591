"""Pulumi's language host for Python, where the engine found does not bundle its own.

The files are started by path by the executables that ``provisioner.engine.shims`` writes, and import nothing of ours.
"""
