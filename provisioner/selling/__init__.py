"""Selling plans: what an application asks for through our API, done in Stripe. No part of it imports ``stripe``."""
