"""Runs the proof of isolation against what stands, signs what it found and keeps it.

    proof = prove(settings, ProofRequest.of_tenant("acme"))     # provisioner.proving.prover; blocks

Workers run it in a child (``child``): after every operation the changed tenant's fast subset, nightly everything.
"""
