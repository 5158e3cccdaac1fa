"""Stand-ins for the few functions of the closed runtime's package that actions of public assistants import.

Only on the path of the action servers that the tests start; written for these tests from the way they are called.
"""
