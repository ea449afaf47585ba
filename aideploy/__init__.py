"""Continuous delivery of AI systems to plain Linux servers, with Fabric."""
