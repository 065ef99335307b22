"""x"""
FAULTS = {}
