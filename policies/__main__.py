"""The policy pack, and nothing else: ``pulumi up --policy-pack policies``. Constructing it starts a server."""

import sys
from pathlib import Path

from pulumi_policy import EnforcementLevel, PolicyPack

# The engine starts the pack by its directory, which is then sys.path[0]; the rules live in the package above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from policies.pack import policies
from policies.pack_stack import listen
from policies.rules import RULES

listen()
PolicyPack(name="tenantry", enforcement_level=EnforcementLevel.MANDATORY, policies=policies(RULES))
