"""Fits what the service ships fitted: weights that are few, on data that may be trained on, with their record."""
