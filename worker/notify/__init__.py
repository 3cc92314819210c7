"""Telling the CRM: each file hands over rows that it is given, and knows nothing of where they came from."""
