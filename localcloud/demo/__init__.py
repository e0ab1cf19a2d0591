"""``make demo``: three plans sold, three tenants built, each proved unable to reach the others."""
