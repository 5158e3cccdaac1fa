"""Stand-in; see the package `rasa` beside this one."""
