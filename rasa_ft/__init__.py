"""rasa_ft: from passing E2E tests to a small command model of your own, with proof that it is good enough."""

__version__ = "0.1.0"
