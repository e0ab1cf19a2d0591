"""Three-way reconciliation: what Stripe sells, what the registry says, what stands. Findings, each with its fix."""
