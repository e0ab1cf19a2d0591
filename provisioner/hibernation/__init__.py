"""Instances that sleep: kept stopped while their tenant hibernates, started before anything else is asked of them."""
