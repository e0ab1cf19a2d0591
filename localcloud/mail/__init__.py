"""A laptop's mail server: takes every message in, delivers none, and shows what came."""
